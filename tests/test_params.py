"""The schema of params.yaml: every preset loads, and every mistake is one line that names the key."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import call, committed
from ruamel.yaml import YAML

from hrrl.errors import UserError
from hrrl.settings.schema import load
from hrrl.transfer.search import parse

ROOT = Path(__file__).parent.parent
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


CLAIM = {"name": "a", "source": "Table 4", "better": "hrrl", "than": "erm", "endpoint": "svm", "target": "digits"}

TREND = {"name": "a", "source": "Fig. 4", "trend": "tau", "endpoint": "augmented"}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_load(preset):
    assert load(preset).name == preset.stem


def test_params_are_the_quick_preset():
    assert committed("params.yaml") == committed("presets/quick.yaml")


EMPTY = ("claims", "search.points", "search.seeds", "pretrain.milestones", "finetune.milestones", "theory.mu")
LISTS = [*(f"{key}=[]" for key in EMPTY), "targets=[digits]", "seeds=[7]"]


@pytest.fixture(scope="module")
def overridden(tmp_path_factory):
    """A folder with each preset as one `dvc exp run -S` leaves it: with another tau, and with shorter lists."""
    folder = tmp_path_factory.mktemp("overrides")
    words, files = [], []
    for preset in PRESETS:
        variant = "el" if "el" in load(preset).variants else "hrrl"
        for change, values in {"tau": [f"variants.{variant}.example.gradient.tau=0.25"], "lists": LISTS}.items():
            files.append(f"{change}-{preset.name}")
            shutil.copy(preset, folder / files[-1])
            words += [word for value in values for word in ("-S", f"{files[-1]}:{value}")]
    stage = {"cmd": "true", "params": [{file: ["name"]} for file in files]}
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"nothing": stage}}))
    call(folder, "git", "init", "-q")
    call(folder, "dvc", "init", "-q")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "nothing")
    call(folder, "dvc", "exp", "run", "-q", *words)
    return folder


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_dvc_changes_the_line_of_a_parameter_alone(preset, overridden):
    """`dvc exp run -S` writes the whole file anew: presets are in DVC's style, so that `git diff` shows one line.

    DVC keeps no comment and no empty line that follows a list.
    """
    before, after = (file.read_text().splitlines() for file in (preset, overridden / f"tau-{preset.name}"))
    assert len(before) == len(after)
    [line] = [b for a, b in zip(before, after, strict=True) if a != b]
    assert line.strip() in ("el: {example: {gradient: {tau: 0.25}}}", "example: {gradient: {tau: 0.25}}")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_dvc_writes_a_shorter_list_and_keeps_the_comments(preset, overridden):
    """What stands behind the key of a list, or after a list, DVC would lose, or break the file over it."""
    written = overridden / f"lists-{preset.name}"
    comments = [re.findall("#.*", file.read_text()) for file in (preset, written)]
    assert comments[0] == comments[1]
    content = YAML(typ="safe").load(written)
    assert (content["claims"], content["search"]["points"], content["seeds"]) == ([], [], [7])


def test_paper_preset_is_section_4():
    params = load(ROOT / "presets/paper.yaml")
    schedule = params.pretrain
    assert (schedule.backbone, schedule.image_size, schedule.epochs, schedule.batch_size) == (
        "resnet18",
        224,
        90,
        256,
    )
    assert (schedule.lr, schedule.milestones, schedule.weight_decay) == (0.1, [30, 60], 1e-4)
    assert (params.finetune.epochs, params.finetune.lr, params.finetune.milestones) == (100, 0.01, [50])
    assert params.variants["hrrl"].concept.hrrl.model_dump() == {
        "lam": "searched",
        "c": "10/lam",
        "s": 1000,
        "q0": "empirical",
    }
    grid = {10.0**i for i in range(-3, 2)}
    tau, lam = ({point[i] for point in map(parse, params.search.points)} for i in range(2))
    assert tau == lam == grid | {None}
    assert params.svm.C == [0.001, 0.01, 0.1, 1.0, 10.0]
    assert [params.datasets[target].kind for target in params.targets] == ["cifar10", "sop", "svhn"]


def change(content, key, value):
    """Sets the dotted key in nested dicts, or deletes it where the value is None."""
    *path, last = key.split(".")
    for part in path:
        content = content[part]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "variants.el.example.gradient.tau",
            -0.1,
            "variants.el.example.gradient.tau: .* greater than or equal to 0",
        ),
        ("variants.el.example.gradient.tau", "serched", "gradient.tau: Input should be a valid number, got 'serched'"),
        ("search.points", ["tau0"], "search.points.0: takes erm, tau0.1, lam1, tau0.1_lam1 and the like"),
        ("search.points", ["erm", "tau1"], r"variants.cl: searched: search.points has none with tau = None and lam"),
        ("search.seeds", [0], "search.seeds: 0 is one of seeds"),
        ("variants.el.concept", {"balanced": {}}, "variants.el: searched: takes a variant with no other methods"),
        ("svm.shots", {"mnist": 5}, "svm.shots: 'mnist' is not defined; known: same"),
        ("pretrain.backbone_args", {"width": 1e300}, "pretrain.backbone_args: takes sizes from"),
        ("search.c", "10/lamb", "search.c: Input should be a valid number, got '10/lamb'"),
        (
            "variants.cl.concept.hrrl",
            {"lam": 1.0, "c": "10/lam"},
            "concept.hrrl.c: 10/lam takes lam: searched",
        ),
        ("variants.cl.concept.hrrl.lam", 0.0, "variants.cl.concept.hrrl.lam: .* greater than 0"),
        (
            "variants.cl.concept.hrrl.lamb",
            1.0,
            "variants.cl.concept.hrrl.lamb: unknown key; known: lam, c, s",
        ),
        ("variants.el.example", {}, "variants.el: example takes exactly one of gradient"),
        ("pretrain.epochs", "ten", "pretrain.epochs: .* integer, got 'ten'"),
        ("finetune.epochs", 3, "finetune: takes epochs, or steps together with eval_every, and not both"),
        ("finetune.eval_every", None, "finetune: takes epochs, or steps together with eval_every, and not both"),
        ("finetune.milestones", [30], "finetune: steps and milestones are multiples of eval_every = 40, got 30"),
        ("pretrain.lr", None, "pretrain.lr: Field required"),
        ("pretrain.init", {"file": "a", "hub": "a/b@c"}, "pretrain.init: takes exactly one of file"),
        ("pretrain.init", {"file": "a", "sha256": "x"}, "sha256: String should match"),
        ("pretrain.init", "resnet18", "pretrain.init: takes none, or weights"),
        ("pretrain.optimizer", "adamw", "momentum: sgd takes it, and adamw does not"),
        ("pretrain.schedule", "cosine", r"milestones: takes \[\] with schedule: cosine"),
        ("variants.erm", {"epochs": 0, "example": {"gradient": {"tau": 0.1}}}, "epochs: 0 takes"),
        ("lr", 0.1, "lr: unknown key; known: name, seeds"),
        ("seeds", [0, 0], "seeds: every value may appear only once"),
        ("targets", ["lowres", "mnist"], "targets: 'mnist' is not defined; known: .*lowres"),
        ("runs.svm", ["erm", "hrlr"], "runs.svm: 'hrlr' is not defined; known: .*erm"),
        ("headline", "el_small", "headline: 'el_small' is not defined; known: erm, el, cl, hrrl"),
        ("datasets.digits.kind", "mnist", "datasets.digits.kind: 'mnist' is no kind of dataset; known: cifar10"),
        ("datasets.digits.train", "train[::2]", "datasets.digits.train: "),
        ("concepts", "tabel1", "concepts: takes table1, a list of {name, synset}"),
        ("compute.precision", "fp8", "compute.precision: "),
        ("shifts.digits", None, "shifts: 'digits' is missing; every target takes none, images, concepts or both"),
        ("shifts.mnist", "both", "shifts: 'mnist' is not defined; known: same"),
        ("shifts.digits", "style", "shifts.digits: Input should be 'none', 'images', 'concepts' or 'both'"),
        ("claims", [CLAIM | {"better": "hrlr"}], "claims.a: 'hrlr' is not defined; known: erm, el, cl, hrrl"),
        ("claims", [CLAIM | {"better": "erm"}], "claims.a: every name may appear only once"),
        ("claims", [CLAIM | {"target": "mnist"}], "claims.a.target: 'mnist' is not defined; known: same"),
        ("claims", [CLAIM | {"target": None}], "claims.0: a: endpoints svm and finetune take a target"),
        ("claims", [CLAIM | {"endpoint": "worst_concept"}], "claims.0: a: .* no other does"),
        ("claims", [CLAIM | {"endpoint": "concept_gap"}], "claims.0.endpoint: .*'worst_concept', got 'concept_gap'"),
        ("claims", [CLAIM | {"than": ["el", "cl"]}], "claims.0: a: a list takes relation better .* or no_worse"),
        ("claims", [CLAIM | {"relation": "similar"}], "claims.0: a: relations no_worse and similar take a margin"),
        ("claims", [CLAIM | {"margin": 0.5}], "claims.0: a: .* take a margin in points, and better none"),
        ("claims", [TREND | {"target": "digits"}], "claims.0.target: unknown key; known: name, source, trend"),
        ("claims", [TREND | {"trend": "c"}], "claims.0.trend: Input should be 'tau' or 'lam', got 'c'"),
        (
            "search.points",
            ["erm", "tau0.1", "lam1", "lam10"],
            "claims.el_dose: takes erm and two or more tau in search",
        ),
        (
            "claims",
            [CLAIM | {"better": "el", "endpoint": "finetune"}],
            "claims.a: 'el' is not defined; known: erm, hrrl",
        ),
        ("claims", [CLAIM, CLAIM], "claims: every name may appear only once, got a, a"),
    ],
)
def test_mistakes_are_named(tmp_path, key, value, message):
    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "presets/quick.yaml").read_text(encoding="utf-8"))
    change(content, key, value)
    path = tmp_path / "params.yaml"
    yaml.dump(content, path)
    with pytest.raises(UserError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_files_that_are_no_params(tmp_path):
    with pytest.raises(UserError, match="no such file; copy one of presets"):
        load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [quick\nseeds: 1")
    with pytest.raises(UserError, match=r"broken.yaml: not YAML, .* in line \d"):
        load(broken)
