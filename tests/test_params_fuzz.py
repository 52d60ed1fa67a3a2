"""Odd params: valid ones go through the graph of all stages, those that hypothesis breaks are refused in a line."""

import copy
import json
import math
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hrrl.errors import UserError
from hrrl.settings import preflight
from hrrl.settings.schema import load

SMOKE = load(ROOT / "presets/smoke.yaml").as_dict()
HOSTILE = ["; touch pwned", "$(touch pwned)", "`touch pwned`", "../x", "/etc/x", "-rf", "<script>", "a b", "${name}"]


def fuzz(examples: int):
    """The same examples every time; no file is kept."""
    checks = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=checks)


# Two sets of params at the ends of what is taken, with names, points and concepts that no preset has.
SCHEDULES = [
    {"epochs": 1000, "batch_size": 4096, "lr": 1e-12, "milestones": [1, 7, 1000], "weight_decay": 0.0, "momentum": 0.0}
    | {"augment": {"crop": "padded", "padding": 28, "flip": True}},
    {"epochs": 1, "batch_size": 2, "lr": 1e12, "milestones": [], "weight_decay": 1e-12, "momentum": 0.99}
    | {"augment": {"crop": "random_resized", "scale": [0.01, 1.0], "flip": False}},
]
POINTS = {
    "w": {"example": {"wrm": {"gamma": 3.0}}, "concept": {"hrrl": {"lam": 1e-6, "q0": "target:digits"}}},
    "pgd_2": {"example": {"pgd": {"eps": 0.5, "steps": 2}}, "concept": {"group_dro": {}}},
    "q": {"concept": {"hrrl": {"lam": 2.0, "c": 1e6, "s": 0, "q0": "uniform"}}},
    "a1_b2": {"concept": {"cvar": {"alpha": 0.5}}},
    "even": {"concept": {"balanced": {}}},
    "plain": {},
}
GROUPS = {"auto": 20}, [{"name": name, "synset": "clothing.n.01"} for name in ("a", "b_3", "inf", "true")]
SEEDS = [0, 2**63 - 1, 5], [4]


def odd(i: int) -> dict:
    """The smoke preset with other names, variants, settings and concepts."""
    content, ends = copy.deepcopy(SMOKE), [[1e-12], [0.0, 1e12, 0.25]][i]
    content |= {"name": "ab"[i] * 13, "seeds": SEEDS[i], "concepts": GROUPS[i], "finetune": SCHEDULES[1 - i]}
    content["pretrain"] |= SCHEDULES[i]
    content["svm"]["C"], content["robustness"]["steps"] = [end or 1.0 for end in ends], ends
    content["variants"] |= POINTS
    for runs in ("pretrain", "given", "svm"):
        content["runs"][runs] += POINTS
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


def test_valid_params_go_through_the_whole_graph(project):
    """Every cell has its inputs from the project or from another cell."""
    for i in (1, 0):
        params = load(written(odd(i), project))
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


FORMS = ["name", "pretrain.backbone"]  # the other names are of the first one's, or of a list
NAMED = ["benchmark", "headline", "targets.0", "runs.pretrain.0", "runs.svm.0"]


@pytest.mark.parametrize("key", [*FORMS, *NAMED, "datasets.", "variants.", "concepts.0.name"])
def test_a_name_that_is_none_is_refused(tmp_path, key):
    *path, last = [int(part) if part.isdecimal() else part for part in key.split(".")]
    for hostile in HOSTILE if key in FORMS else HOSTILE[:2]:
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


ALIASES = b"".join(b"a%d: &%d [%s]\n" % (i, i, b",".join([b"*%d" % (i - 1) if i else b"x"] * 9)) for i in range(9))
MERGES = b"a0: &0 {k: 1}\n" + b"".join(b"a%d: &%d {<<: [*%d, *%d]}\n" % (i, i, i - 1, i - 1) for i in range(1, 40))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: \xff\n", "not UTF-8 .byte 0xff in line 1"),
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
        (ALIASES, "more"),
        (MERGES, "more"),
        (b"name: [quick\nseeds: 1", r"not YAML, .* in line \d"),
        (b"name: 0x" + b"f" * 5000, "name: .* a int too large to print"),
        (b"a: 2020-99-99", "not YAML"),
        (b"a: !!python/object:os.system x", "not YAML"),
    ],
    ids=range(17),
)
def test_a_file_that_holds_no_params(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load(path)
    assert all(line.startswith(f"{path}: ") and len(line) < 500 for line in str(error.value).splitlines())
