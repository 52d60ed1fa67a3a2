"""Params that hypothesis makes: valid ones go through the graph of all stages, broken ones are refused in a line."""

import copy
import json
import math
import shutil
from pathlib import Path

import pytest
from conftest import call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hrrl.errors import UserError
from hrrl.settings import preflight
from hrrl.settings.schema import load

ROOT = Path(__file__).parent.parent
SMOKE = load(ROOT / "presets/smoke.yaml").as_dict()
HOSTILE = [
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "../x",
    "/etc/x",
    "-rf",
    "<script>",
    "a b",
    "${name}",
    "é",
]


def fuzz(examples: int):
    """The same examples every time; no file is kept."""
    checks = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=checks)


names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(lambda name: name not in ("nan", "null"))
positive = st.floats(1e-12, 1e12)
scales = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted)
augments = st.one_of(
    st.builds(dict, crop=st.just("padded"), padding=st.integers(0, 28), flip=st.booleans()),
    st.builds(dict, crop=st.just("none"), flip=st.booleans()),
    st.builds(dict, crop=st.just("random_resized"), scale=scales, flip=st.just(False)),
)
schedules = st.builds(
    dict,
    epochs=st.integers(1, 1000),
    batch_size=st.integers(2, 4096),
    lr=positive,
    milestones=st.lists(st.integers(1, 1000), unique=True, max_size=4).map(sorted),
    weight_decay=st.just(0.0) | positive,
    momentum=st.sampled_from([0.0, 0.5, 0.99]),
    augment=augments,
)
examples = st.sampled_from([{"gradient": {"tau": 0.5}}, {"pgd": {"eps": 0.5, "steps": 2}}, {"wrm": {"gamma": 3.0}}])
hrrl = [{"lam": 1e-6, "q0": "target:digits"}, {"lam": 2.0, "c": 1e6, "s": 0, "q0": "uniform"}]
others = [{"cvar": {"alpha": 0.5}}, {"group_dro": {}}, {"balanced": {}}]
weightings = st.sampled_from([*({"hrrl": settings} for settings in hrrl), *others])
concept_names = names.filter(lambda name: name not in ("others", "entropy"))
concept_settings = st.one_of(
    st.just("table1"),
    st.integers(2, 20).map(lambda K: {"auto": K}),
    st.lists(concept_names, min_size=1, max_size=5, unique=True).map(
        lambda found: [{"name": name, "synset": "clothing.n.01"} for name in found]
    ),
)


@st.composite
def valid_params(draw) -> dict:
    """The smoke preset with other names, variants, settings and concepts."""
    content = copy.deepcopy(SMOKE)
    content["name"] = draw(names)
    seeds = st.integers(0, 2**63 - 1).filter(lambda seed: seed not in content["search"]["seeds"])
    content["seeds"] = draw(st.lists(seeds, min_size=1, max_size=3, unique=True))
    content["concepts"] = draw(concept_settings)
    content["pretrain"] |= draw(schedules)
    content["finetune"] = draw(schedules)
    content["svm"]["C"] = draw(st.lists(positive, min_size=1, max_size=5, unique=True))
    content["robustness"]["steps"] = draw(st.lists(st.just(0.0) | positive, min_size=1, max_size=5, unique=True))
    points = st.fixed_dictionaries({}, optional={"example": examples, "concept": weightings})
    new = draw(st.dictionaries(names.filter(lambda name: name not in content["variants"]), points, max_size=3))
    content["variants"] |= new
    for runs in ("pretrain", "given", "svm"):
        content["runs"][runs] = content["runs"][runs] + list(new)
    return content


def written(content, folder: Path) -> Path:
    path = folder / "params.yaml"
    yaml = YAML(typ="safe")
    yaml.dump(content, path)
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The pipeline's definition and the files that it names, in a repository of its own."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "dvc.yaml", folder)
    for name in ("hrrl", "stages", "groupings"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "params.yaml").touch()
    call(folder, "dvc", "init", "-q", "--no-scm")
    return folder


@fuzz(2)
@given(valid_params())
def test_valid_params_go_through_the_whole_graph(project, content):
    """Every cell has its inputs from the project or from another cell."""
    params = load(written(content, project))
    preflight.check(params)
    cells = json.loads(call(project, "dvc", "status", "--json"))  # none has run: it names all that each needs and makes

    def changed(what: str, cell: str) -> set[str]:
        reasons = [reason for reason in cells[cell] if isinstance(reason, dict)]
        return {path for reason in reasons for path in reason.get(f"changed {what}", {})}

    outs = {path for cell in cells for path in changed("outs", cell)}
    assert outs
    for cell in cells:
        for path in changed("deps", cell) - {"params.yaml"}:
            made = any(is_below(path, out) or is_below(out, path) for out in outs)
            assert made or (project / path).exists(), (cell, path)
    assert {f"pretrain@{variant}-{seed}" for variant in params.runs.pretrain for seed in params.seeds} <= set(cells)


def is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


WITHOUT_DEFAULTS = [(), *((section,) for section in ("pretrain", "finetune", "svm", "theory", "compute", "runs"))]


def places(content, path=()) -> list[tuple]:
    """The path of every value in nested dicts and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path] * bool(path) + [found for key, value in items for found in places(value, (*path, key))]


def at(content, path):
    for key in path:
        content = content[key]
    return content


def wrong_for(value, path) -> st.SearchStrategy:
    """What no place that holds such a value takes."""
    if isinstance(value, bool):
        return st.sampled_from([2, "yes", None, [], math.nan])
    if isinstance(value, int | float):
        bad = [math.nan, math.inf, -math.inf, -1, 10**30, 1e300, 1e-320, True, "1", None, [], {}]
        return st.sampled_from([v for v in bad if not (v is None and path[-1] == "resolution")])
    if isinstance(value, str):
        return st.sampled_from([5, True, math.nan, [], {}, "a\x00b", "a\nb", "x\x1b[2J"])
    return st.sampled_from([True, math.nan, [[]], *([5, "x; touch pwned"] if value is not None else [])])


@fuzz(80)
@given(st.data())
def test_one_wrong_value_is_one_line_with_its_place(tmp_path, data):
    content = copy.deepcopy(SMOKE)
    path = data.draw(st.sampled_from([path for path in places(content) if "backbone_args" not in path]))
    parent = at(content, path[:-1])
    parent[path[-1]] = data.draw(wrong_for(parent[path[-1]], path))
    refused(content, tmp_path, path[0])


@fuzz(40)
@given(st.data())
def test_a_key_too_many_or_too_few_is_one_line(tmp_path, data):
    content = copy.deepcopy(SMOKE)
    section = data.draw(st.sampled_from([(), *((key,) for key in SMOKE if isinstance(SMOKE[key], dict))]))
    keys = at(content, section)
    if section[:1] in WITHOUT_DEFAULTS and data.draw(st.booleans()):
        del keys[data.draw(st.sampled_from([key for key, value in keys.items() if value is not None]))]
        return refused(content, tmp_path)
    keys[data.draw(st.sampled_from([*HOSTILE, "Epoch", 5, True]))] = next(iter(keys.values()))
    refused(content, tmp_path)


NAMED = ["name", "benchmark", "headline", "targets.0", "runs.pretrain.0", "runs.svm.0"]


@pytest.mark.parametrize("key", [*NAMED, "datasets.", "variants.", "concepts.0.name", "pretrain.backbone"])
def test_a_name_that_is_none_is_refused(tmp_path, key):
    *path, last = [int(part) if part.isdecimal() else part for part in key.split(".")]
    for hostile in HOSTILE:
        content = copy.deepcopy(SMOKE)
        section = at(content, path)
        if last == "":
            section[hostile] = next(iter(section.values()))
        else:
            section[last] = hostile
        refused(content, tmp_path)


def refused(content, folder, key: str = "") -> None:
    path = written(content, folder)
    with pytest.raises(UserError) as error:
        load(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{path}: ")
    assert len(lines[0]) < 1000
    assert lines[0].isprintable()
    assert key in lines[0] or "control character" in lines[0] or "is not defined" in lines[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: \xff\n", "not UTF-8 .byte 0xff in line 1"),
        ("name: a".encode("utf-16"), "not UTF-8"),
        (b"seeds: [0]\nname: a\x07", r"the character '\\x07' in line 2"),
        (b'name: "a\\x00"', r"the text 'a\\x00' holds '\\x00'"),
        (b"name: a\nname: b", 'duplicate key "name" .* in line 2'),
        (b"a: 1\n---\nb: 2", "another document"),
        ("b: 1\nname:\u00a0a\nc: 1".encode(), "line 2 has a space that is none to YAML"),
        (b"", "holds no keys"),
        (b"- 1", "holds no keys"),
        (b"a: &a [*a]", "nested too deep"),
        (b"a: " + b"[" * 500 + b"]" * 500, "nested too deep"),
        (b"a: " + b"9" * 5000, "not YAML"),
        (b"name: 0x" + b"f" * 5000, "name: .* a int too large to print"),
        (b"a: 2020-99-99", "not YAML"),
        (b"a: !!python/object:os.system x", "not YAML"),
    ],
    ids=range(15),
)
def test_a_file_that_holds_no_params(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load(path)
    assert all(line.startswith(f"{path}: ") and len(line) < 500 for line in str(error.value).splitlines())
