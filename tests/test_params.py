"""params.yaml and machine.yaml: presets load, every mistake is one line with its key, and so is what is not there."""

import contextlib
import json
import re
import shutil

from stages import resolve
from stages.common import Settings, put

import pytest
from conftest import ROOT, call, committed, refused, set_key
from ruamel.yaml import YAML

from hrrl.errors import UserError
from hrrl.report import statistics
from hrrl.settings import machine, params_file, preflight
from hrrl.settings.schema import Params, load
from hrrl.transfer.search import parse

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
CLAIM = {"name": "a", "source": "Table 4", "better": "hrrl", "than": "erm", "endpoint": "svm", "target": "digits"}
TREND = {"name": "a", "source": "Fig. 4", "trend": "tau", "endpoint": "augmented"}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_load_and_a_stage_takes_back_from_resolve_what_they_say(preset, capsys):
    """With keys in their order, which outputs have; but for the folder of weights to start from."""
    given = params_file.read(preset)
    params = Params.model_validate(given)
    assert params.name == preset.stem
    for variant in params.runs.pretrain:
        own = given["variants"][variant] or {}
        assert resolve.variant(params, variant)["epochs"] == own.get("epochs", params.pretrain.epochs)
    given.get("pretrain", {}).pop("init", None)
    for stage in resolve.STAGES:
        taken = json.loads(json.dumps(given))
        for key, value in json.loads(json.dumps(resolve.settings(Settings(given), stage))).items():
            put(taken, key, value)
        assert json.dumps(taken) == json.dumps(given), stage
    assert capsys.readouterr().out == ""
    put(taken, "svm.folds", 99)
    assert taken["svm"]["folds"] == 99
    assert "svm.folds was edited since" in capsys.readouterr().out


def test_params_are_the_quick_preset():
    assert committed("params.yaml") == committed("presets/quick.yaml")


EMPTY = ("claims", "search.points", "search.seeds", "pretrain.milestones", "finetune.milestones", "theory.mu")
LISTS = [*(f"{key}=[]" for key in EMPTY), "targets=[digits]", "seeds=[7]"]


def test_dvc_changes_the_lines_of_its_parameters_alone_and_keeps_the_comments(tmp_path):
    """`dvc exp run -S` writes the whole file anew: presets are in DVC's style, so that `git diff` shows one line.

    What stands behind the key of a list, or after a list, DVC would lose, or break the file over it.
    """
    words, files = [], []
    for preset in PRESETS:
        variant = "el" if "\n  el: " in preset.read_text() else "hrrl"
        for change, values in {"tau": [f"variants.{variant}.example.gradient.tau=0.25"], "lists": LISTS}.items():
            files.append(f"{change}-{preset.name}")
            shutil.copy(preset, tmp_path / files[-1])
            words += [word for value in values for word in ("-S", f"{files[-1]}:{value}")]
    stage = {"cmd": "true", "params": [{file: ["name"]} for file in files]}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"nothing": stage}}))
    for command in ("git init -q", "dvc init -q", "git add -A", "git commit -qm nothing"):
        call(tmp_path, *command.split())
    call(tmp_path, "dvc", "exp", "run", "-q", *words)
    for preset in PRESETS:
        tau, lists = (tmp_path / f"{change}-{preset.name}" for change in ("tau", "lists"))
        [line] = [b for a, b in zip(*(f.read_text().splitlines() for f in (preset, tau)), strict=True) if a != b]
        assert line.strip() in ("el: {example: {gradient: {tau: 0.25}}}", "example: {gradient: {tau: 0.25}}")
        assert re.findall("#.*", preset.read_text()) == re.findall("#.*", lists.read_text())
        content = YAML(typ="safe").load(lists)
        assert (content["claims"], content["search"]["points"], content["seeds"]) == ([], [], [7])


def test_paper_preset_is_section_4():
    params = load(ROOT / "presets/paper.yaml")
    schedule = params.pretrain
    assert (schedule.backbone, schedule.image_size, schedule.epochs, schedule.batch_size) == ("resnet18", 224, 90, 256)
    assert (schedule.lr, schedule.milestones, schedule.weight_decay) == (0.1, [30, 60], 1e-4)
    assert (params.finetune.epochs, params.finetune.lr, params.finetune.milestones) == (100, 0.01, [50])
    hrrl = {"lam": "searched", "c": "10/lam", "s": 1000, "q0": "empirical"}
    assert params.variants["hrrl"].concept.hrrl.model_dump() == hrrl
    grid = {10.0**i for i in range(-3, 2)}
    tau, lam = ({point[i] for point in map(parse, params.search.points)} for i in range(2))
    assert tau == lam == grid | {None}
    assert params.svm.C == [0.001, 0.01, 0.1, 1.0, 10.0]
    assert [params.datasets[target].kind for target in params.targets] == ["cifar10", "sop", "svhn"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("variants.el.example.gradient.tau", -0.1, "variants.el.example.gradient.tau: .* than or equal to 0"),
        ("variants.el.example.gradient.tau", "serched", "gradient.tau: Input should be a valid number, got 'serched'"),
        ("search.points", ["tau0"], "search.points.0: takes erm, tau0.1, lam1, tau0.1_lam1 and the like"),
        ("search.points", ["erm", "tau1"], r"variants.cl: searched: search.points has none with tau = None and lam"),
        ("search.seeds", [0], "search.seeds: 0 is one of seeds"),
        ("variants.el.concept", {"balanced": {}}, "variants.el: searched: takes a variant with no other methods"),
        ("svm.shots", {"mnist": 5}, "svm.shots: 'mnist' is not defined; known: same"),
        ("pretrain.backbone_args", {"width": 1e300}, "pretrain.backbone_args: takes sizes from"),
        ("search.c", "10/lamb", "search.c: Input should be a valid number, got '10/lamb'"),
        ("variants.cl.concept.hrrl", {"lam": 1.0, "c": "10/lam"}, "concept.hrrl.c: 10/lam takes lam: searched"),
        ("variants.cl.concept.hrrl.lam", 0.0, "variants.cl.concept.hrrl.lam: .* greater than 0"),
        ("variants.cl.concept.hrrl.lamb", 1.0, "variants.cl.concept.hrrl.lamb: unknown key; known: lam, c, s"),
        ("variants.el.example", {}, "variants.el: example takes exactly one of gradient"),
        ("variants.el.example", {"gradient": None}, r"variants.el: .* one of gradient, .*, with its settings or \{\}"),
        ("pretrain.epochs", "ten", "pretrain.epochs: .* integer, got 'ten'"),
        ("finetune.epochs", 3, "finetune: takes epochs, or steps together with eval_every, and not both"),
        ("finetune.milestones", [30], "finetune: steps and milestones are multiples of eval_every = 40, got 30"),
        ("pretrain.ema", 1.0, "pretrain.ema: .* less than 1, got 1.0"),
        ("svm.folds", 1, "svm.folds: .* greater than or equal to 2, got 1"),
        ("concepts", {"auto": 1}, "concepts: auto: .* greater than or equal to 2, got 1"),
        ("variants.cl.concept.hrrl", {"lam": 1.0, "q0": {"garment": 0.9}}, "q0: takes shares whose sum is 1"),
        ("pretrain.lr", None, "pretrain.lr: Field required"),
        ("pretrain.milestones", [5, 5], "pretrain.milestones: takes numbers in ascending order, each once"),
        ("pretrain.augment", {"crop": "random_resized", "scale": [0.9, 0.2], "flip": True}, "scale: takes the least"),
        ("pretrain.augment", {"crop": "padded", "padding": 29, "flip": True}, "padding: takes at most pretrain.image"),
        ("pretrain.backbone_args", {"pretrained": True}, "pretrained: weights to start from stand in pretrain.init"),
        ("launch", {"nproc": 8, "nnodes": 99}, "pretrain.batch_size: takes 792 or more, an image for each process"),
        ("compute.threads", 2, "threads: takes 1 with portable arithmetic, got 2"),
        ("runs.given", ["erm", "el", "cl", "hrrl"], "runs: 'el' takes a place in one of given and searched"),
        ("variants.erm", {"example": {"gradient": {"tau": "searched"}}}, "runs.given: 'erm' leaves tau or lam to the"),
        ("search.points", ["tau0.1", "lam1", "tau0.1000001"], "search.points: every point may appear only once"),
        ("robustness.steps", [0.0, 0.1, 0.1000001], "robustness.steps: every value may appear only once, numbers by"),
        ("datasets.digits.train", "train[5:5]", r"'train\[5:5\]' selects nothing"),
        ("pretrain.init", {"file": "a", "hub": "a/b@c"}, "pretrain.init: takes exactly one of file"),
        ("pretrain.init", {"file": "a", "sha256": "x"}, "sha256: String should match"),
        ("pretrain.init", "resnet18", "pretrain.init: takes none, or weights"),
        ("pretrain.optimizer", "adamw", "momentum: sgd takes it, and adamw does not"),
        ("pretrain.schedule", "cosine", r"milestones: takes \[\] with schedule: cosine"),
        ("pretrain.warmup", 99, "pretrain: a warmup of 99 takes all of a run of .*, which never is at lr"),
        ("finetune.warmup", 200, "finetune: a warmup of 200 takes all of a run of 200"),
        ("datasets.digits.train", "train/0", "datasets.digits.train: "),
        ("variants.erm", {"epochs": 0, "example": {"gradient": {"tau": 0.1}}}, "epochs: 0 takes"),
        ("seeds", [0, 0], "seeds: every value may appear only once"),
        ("targets", ["lowres", "mnist"], "targets: 'mnist' is not defined; known: .*lowres"),
        ("headline", "el_small", "headline: 'el_small' is not defined; known: erm, el, cl, hrrl"),
        ("datasets.digits.kind", "mnist", "datasets.digits.kind: 'mnist' is no kind of dataset; known: cifar10"),
        ("datasets.digits.train", "train[::2]", "datasets.digits.train: "),
        ("concepts", "tabel1", "concepts: takes table1, a list of {name, synset}"),
        ("shifts.digits", None, "shifts: 'digits' is missing; every target takes none, images, concepts or both"),
        ("shifts.mnist", "both", "shifts: 'mnist' is not defined; known: same"),
        ("claims", [CLAIM | {"better": "hrlr"}], "claims.a: 'hrlr' is not defined; known: erm, el, cl, hrrl"),
        ("claims", [CLAIM | {"better": "erm"}], "claims.a: every name may appear only once"),
        ("claims", [CLAIM | {"target": "mnist"}], "claims.a.target: 'mnist' is not defined; known: same"),
        ("claims", [CLAIM | {"target": None}], "claims.0: a: endpoints svm and finetune take a target"),
        ("claims", [CLAIM | {"endpoint": "worst_concept"}], "claims.0: a: .* no other does"),
        ("claims", [CLAIM | {"than": ["el", "cl"]}], "claims.0: a: a list takes relation better .* or no_worse"),
        ("claims", [CLAIM | {"relation": "similar"}], "claims.0: a: relations no_worse and similar take a margin"),
        ("claims", [CLAIM | {"margin": 0.5}], "claims.0: a: .* take a margin in points, and better none"),
        ("claims", [TREND | {"target": "digits"}], "claims.0.target: unknown key; known: name, source, trend"),
        ("claims", [TREND | {"trend": "c"}], "claims.0.trend: Input should be 'tau' or 'lam', got 'c'"),
        ("search.points", ["erm", "tau0.1", "lam1", "lam10"], "claims.el_dose: takes erm and two or more tau in s"),
        ("claims", [CLAIM | {"better": "el", "endpoint": "finetune"}], "claims.a: 'el' is .*; known: erm, hrrl$"),
        ("claims", [CLAIM, CLAIM], "claims: every name may appear only once, got a, a"),
    ],
)
def test_mistakes_are_named(tmp_path, key, value, message):
    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "presets/quick.yaml").read_text(encoding="utf-8"))
    set_key(content, key, value)
    path = tmp_path / "params.yaml"
    yaml.dump(content, path)
    with refused(message):
        load(path)


def test_a_warmup_is_shorter_than_a_variants_own_epochs():
    content = params_file.read(ROOT / "presets/quick.yaml")
    set_key(content, "pretrain.warmup", 2)
    for epochs, fits in ((3, True), (2, False)):
        set_key(content, "variants.cl.epochs", epochs)
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="cl: a warmup of 2 takes"):
            Params.model_validate(content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file; copy one of presets"):
        load(tmp_path / "none.yaml")


SMOKE = load(ROOT / "presets/smoke.yaml")


@pytest.mark.parametrize(("seeds", "said"), [(1, "1 decide no claim"), (4, "4 decide a claim only by"), (5, "")])
def test_few_seeds_are_said_to_be_few(seeds, said, capsys):
    preflight.check(Params.model_validate(SMOKE.as_dict() | {"seeds": list(range(seeds))}))
    found = capsys.readouterr().err
    assert said in found
    assert bool(said) == ("seeds:" in found)
    assert preflight.ADVISED_SEEDS == statistics.ADVISED_SEEDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain.backbone": "resnet19"}, "pretrain.backbone: cannot build 'resnet19'"),
        ({"pretrain.backbone_args": {"chanels": [8]}}, "pretrain.backbone: cannot build .*chanels"),
        ({"pretrain.backbone": "squeezenet1_0", "pretrain.backbone_args": {}}, "ends in no linear layer"),
        ({"pretrain.backbone": "vgg11", "pretrain.backbone_args": {}}, "'vgg11' cannot train on .* 28 pixels"),
        ({"pretrain.backbone": "googlenet", "pretrain.backbone_args": {}, "pretrain.image_size": 64}, "one logit"),
        ({"finetune.batch_size": 1}, "finetune: .* cannot train on batches of 1 image"),
        ({"pretrain.batch_size": 3, "launch.nproc": 2, "compute.device": "cpu"}, "pretrain: .* on batches of 3 image"),
        ({"datasets.garments.root": "/no/such/folder"}, "datasets.garments.root: /no/such/folder does not exist"),
        ({"datasets.lowres.root": "$NO_SUCH/x"}, "datasets.lowres.root: .* variable in it is not set"),
        ({"datasets.digits.root": "/tmp"}, "datasets.digits.root: .*set it to null"),
        ({"datasets.digits.kind": "torchvision/Nothing"}, "kind: torchvision/Nothing"),
        ({"datasets.lowres.synsets": {"Bag": "bagg.n.01"}}, "datasets.lowres.synsets.Bag: .*'bagg.n.01'"),
        ({"concepts": [{"name": "a", "synset": "clothng.n.01"}]}, "concepts: a: .*'clothng.n.01'"),
        ({"concepts": {"csv": "no/such.csv"}}, "no/such.csv: cannot be read"),
        ({"compute.sync_batchnorm": True, "compute.device": "cpu", "launch.nproc": 2}, "compute.sync_batchnorm"),
    ],
)
def test_what_is_not_there_is_named(changes, message):
    content = SMOKE.as_dict()
    for key, value in changes.items():
        set_key(content, key, value)
    with refused(message):
        preflight.check(Params.model_validate(content))


def test_the_example_has_the_values_without_a_file(tmp_path):
    assert machine.load(ROOT / "machine.example.yaml") == machine.load(tmp_path / "none.yaml") == machine.Machine()


OF_STAGES = "time: 24:00:00\nstages: {svm: {time: 30, gpus: [1]}}\n"
GIVEN = [(OF_STAGES, "svm", {"time": 30, "gpus": [1]}), (OF_STAGES, "pretrain", {"time": "24:00:00"})]
GIVEN += [("jobs: 4\nmaster_addr: node-1.local\n", "", {"jobs": 4, "master_addr": "node-1.local"})]


@pytest.mark.parametrize(("text", "stage", "expected"), GIVEN)
def test_what_machine_yaml_gives_counts(tmp_path, text, stage, expected):
    file = tmp_path / "machine.yaml"
    file.write_text(text, encoding="utf-8")
    found = vars(machine.load(file, stage))
    assert found | expected == found


def test_which_node_of_a_job_this_is_says_slurm(tmp_path, monkeypatch):
    file = tmp_path / "machine.yaml"
    file.write_text("node_rank: 3\nmaster_addr: head\n", encoding="utf-8")
    for name, value in (("SLURM_NODEID", "1"), ("HRRL_FIRST_NODE", "n7")):
        monkeypatch.setenv(name, value)
    for job, expected in ((None, (3, "head", 29500)), ("70123", (1, "n7", 30123)), ("70124", (1, "n7", 30124))):
        if job:  # of a cell: a user's own allocation is none
            monkeypatch.setenv("HRRL_JOB", job)
        found = machine.load(file)
        assert (found.node_rank, found.master_addr, found.master_port) == expected


def test_a_copy_below_the_clone_takes_the_clones(tmp_path, monkeypatch):
    """`dvc exp run --queue` copies what git has; a machine.yaml of somebody else, further up, is none."""
    copy = tmp_path / "hrrl/.dvc/tmp/exps/one"
    copy.mkdir(parents=True)
    (tmp_path / "machine.yaml").write_text("of: another program\n", encoding="utf-8")
    for folder in (copy, tmp_path / "hrrl"):
        (folder / "machine.example.yaml").touch()
    monkeypatch.chdir(copy)
    assert machine.load() == machine.Machine()
    (tmp_path / "hrrl/machine.yaml").write_text("engine: slurm\n", encoding="utf-8")
    assert machine.load().engine == "slurm"
    (copy / "machine.yaml").write_text("jobs: 4\n", encoding="utf-8")
    assert machine.load() == machine.Machine(jobs=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job: 4\n", "job: unknown key; known: engine, jobs, workers, gpus, partition"),
        ("jobs: 0\n", "jobs: takes a whole number from 1 to 1024, got 0"),
        ("workers: true\n", "workers: takes a whole number from 0 to 1024, got True"),
        ("master_port: 70000\n", "master_port: takes a whole number from 1 to 65535"),
        ('master_addr: "a b; rm"\n', "master_addr: takes a host's name or address"),
        ("# jobs: 4\n", "holds no keys; copy machine.example.yaml to it"),
        ("engine: pbs\n", "engine: takes local or slurm, got 'pbs'"),
        ("gpus: [0, 0]\n", "gpus: takes a number from 1, or a list of ids, got [0, 0]"),
        ("gpus: 0\n", "gpus: takes a number from 1"),  # which would move networks to the CPU
        ("partition: --all\n", "partition: takes a partition's name"),
        ("time: a day\n", "time: takes minutes, hours:minutes:seconds"),
        ("memory: 64GB\n", "memory: takes megabytes, or a number with K, M, G or T, got '64GB'"),
        ("stages: {svm: {node_rank: 1}}\n", "stages.svm.node_rank: unknown key"),
        ("stages: {svm: 4}\n", "stages: takes a mapping for each stage"),
    ],
)
def test_a_mistake_in_machine_yaml_is_a_line(tmp_path, text, message):
    file = tmp_path / "machine.yaml"
    file.write_text(text, encoding="utf-8")
    with refused(f"machine.yaml: .*{re.escape(message)}"):
        machine.load(file)
