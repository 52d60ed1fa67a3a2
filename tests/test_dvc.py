"""DVC as its users know it: its command, its documented settings, and nothing of it replaced or written to."""

import base64
import hashlib
import json
import re
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

from stages import paths

import pytest
from conftest import BIN, ROOT, call, committed, edit
from ruamel.yaml import YAML
from test_rooms import imported

from scripts import cells, verify
from scripts.compare import flat, override
from scripts.keep import ALWAYS
from scripts.schedule import Schedule

OURS = [file for folder in ("hrrl", "stages", "scripts") for file in (ROOT / folder).rglob("*.py")]


def test_nothing_of_ours_imports_dvc_but_its_api():
    others = [file for folder in ("benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")]
    found = set().union(*map(imported, [*OURS, *others]))
    assert {name for name in found if name.split(".")[0] in ("dvc", "dvc_data", "dvc_objects")} <= {"dvc.api"}


def test_nothing_of_ours_writes_where_dvc_keeps_its_own():
    """Of DVC's lock and its table of locks the advice is read off; benchmarks/chaos.py does as it says."""
    inner = re.compile(r"\.dvc/(?:tmp|cache)[\w/]*|site_cache\w*")
    used = {str(file.relative_to(ROOT)): set(inner.findall(file.read_text(encoding="utf-8"))) for file in OURS}
    used = {name: found for name, found in used.items() if found}
    assert used == {"scripts/cells.py": {".dvc/tmp/lock", ".dvc/tmp/rwlock"}}


def test_the_dvc_command_is_pips():
    [script] = [file for file in metadata.distribution("dvc").files if file.name == "dvc" and file.parent.name == "bin"]
    digest = hashlib.sha256((BIN / "dvc").read_bytes()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == script.hash.value


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_dvcs_fast_parser_reads_presets_as_the_other_does(preset):
    text = preset.read_text(encoding="utf-8")
    assert YAML(typ="safe").load(text) == YAML(typ="safe", pure=True).load(text)


def test_what_is_kept_of_the_committed_experiment_is_what_its_report_says():
    """Of the last commit, whatever has run here since."""
    name = YAML(typ="safe").load(committed("params.yaml"))["name"]
    pairs = {"params.yaml": "params.yaml", "dvc.lock": "dvc.lock", "reports/claims.json": "claims.json"}
    for file, copy in pairs.items():
        assert committed(file) == committed(f"results/{name}/{copy}"), file


def test_what_reads_outputs_follows_however_deep():
    needs = {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}, "e": set(), "f": {"e", "d"}}
    assert cells.with_followers({"b", "of a user"}, needs) == {"b", "c", "d", "f"}


def test_make_verify_takes_what_a_cell_needs_and_what_the_search_chose_as_it_is():
    needs = {"resolve": set(), "search@lam1-9": {"resolve"}, "select@hrrl": {"search@lam1-9"}}
    needs |= {"pretrain@hrrl-0": {"resolve", "select@hrrl"}}
    needs |= {"svm@hrrl-0": {"pretrain@hrrl-0"}, "report": {"svm@hrrl-0"}}
    assert verify.needed(needs, ["svm@hrrl-0"]) == ["resolve", "pretrain@hrrl-0", "svm@hrrl-0"]
    assert verify.needed(needs, ["select@hrrl"]) == ["resolve", "search@lam1-9", "select@hrrl"]
    assert sorted(verify.at_random(needs, 9)) == ["pretrain@hrrl-0", "svm@hrrl-0"]
    assert len(verify.at_random(needs, 1)) == 1


def test_what_an_earlier_params_yaml_named_is_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = SimpleNamespace(pretrain=["erm", "hrrl", "cl"], svm=["erm", "hrrl"], finetune=["hrrl"])
    points = SimpleNamespace(points=["erm", "tau0.5"], seeds=[9])
    stays = {f"data/{stage}/erm-0.json" for stage in ("svm", "robustness", "smoothness")}
    stays |= {"models/cl-0", "data/features/hrrl-0", "data/finetune/hrrl-0.csv", "data/robustness/cl-0.npz"}
    stays |= {"data/search/tau0.5-9.json", "data/search_models/erm-9", "data/selected/cl.json", "data/targets/same"}
    goes = {f"data/{name}" for name in ("svm/cl-0.json", "features/cl-0", "finetune/erm-0.csv", "robustness/el-0.npz")}
    goes |= {f"data/{name}" for name in ("smoothness/el-0.npz", "search/tau0.5-0.json", "search_models/lam1-9")}
    goes |= {"models/erm-9", "models/el-0", "data/selected/el.json", "data/targets/digits"}
    for path in map(Path, stays | goes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix in (".json", ".csv", ".npz") else path.mkdir()
    removed = paths.remove_unnamed(SimpleNamespace(runs=runs, seeds=[0], search=points, targets=["same"]))
    assert {*map(str, removed)} == goes
    assert {path for path in stays | goes if Path(path).exists()} == stays


def test_a_call_takes_its_share_of_some_seconds_and_a_stage_as_many_calls_as_machine_yaml_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("machine.yaml").write_text("stages: {features: {jobs: 1}}\n", encoding="utf-8")
    Path("benchmarks").mkdir()
    usual = {"quick": {"features": 60.0, "svm": 1.0}, "other": {"svm": 60.0}}
    Path("benchmarks/results.json").write_text(json.dumps({"cells": usual}), encoding="utf-8")
    schedule, cell = Schedule("quick", 2, 0), "features@a-0"
    schedule.forced = set()
    schedule.needs = {f"{stage}@a-{i}": set() for stage in ("features", "svm") for i in range(6)}
    schedule.needs["svm@a-5"] = {cell}
    schedule.status = dict.fromkeys(schedule.needs, "later")
    assert schedule.batch(schedule.ready()) == [cell]
    schedule.status[cell], schedule.calls = "running", [SimpleNamespace(cells=[cell])]
    assert schedule.ready() == [f"svm@a-{i}" for i in range(5)]  # what it needs is not done
    assert schedule.batch(schedule.ready()) == schedule.ready()  # all are for the one place that is left
    schedule.costs.add("svm@a-0", 8.0)
    assert Schedule("quick", 2, 0).costs.of("svm@a-4") == 8.0
    assert schedule.batch(schedule.ready()) == ["svm@a-0", "svm@a-1"]
    schedule.status[cell], schedule.calls = "failed", []
    schedule.status |= {name: "ran" for name in schedule.needs if name not in (cell, "svm@a-5")}
    assert schedule.ready() == []
    schedule.status[cell] = "kept"
    assert schedule.ready() == ["svm@a-5"]


def test_git_tracks_few_results():
    tracked = subprocess.run(["git", "ls-files", "reports", "results"], cwd=ROOT, capture_output=True, text=True)
    assert len(tracked.stdout.split()) <= 250


def test_keeping_takes_what_documents_name(restored):
    (restored / "README.md").write_text("![](results/smoke/figures/claims.svg) and results/smoke/tables/svm.csv\n")
    left = restored / "results/smoke/tables/left.csv"
    left.parent.mkdir(parents=True)
    left.write_text("of an earlier run")
    edit(restored, seeds=[1])
    assert "run `make repro`" in call(restored, "python", "-m", "scripts.keep", ok=False)
    assert "usage: " in call(restored, "python", "-m", "scripts.keep", "--help")
    call(restored, "git", "checkout", "-q", "params.yaml")
    call(restored, "python", "-m", "scripts.keep")
    kept = {str(path.relative_to(restored / "results/smoke")) for path in (restored / "results/smoke").rglob("*.*")}
    assert kept == {"params.yaml", "dvc.lock", "figures/claims.svg", *ALWAYS}
    assert (restored / "results/smoke/dvc.lock").read_text() == (restored / "dvc.lock").read_text()


def test_experiments_of_one_name_at_two_commits_are_both_compared(restored):
    for tau in (0.2, 0.9):
        edit(restored, variants__hrrl__example__gradient__tau=tau)
        call(restored, "dvc", "exp", "save", "--force", "--name", "other")
        call(restored, "git", "checkout", "-q", "--force", "HEAD")
        call(restored, "git", "commit", "-q", "--allow-empty", "--message", "more")
    printed = call(restored, "python", "-m", "scripts.compare", "hrrl")
    assert sorted(re.findall(r"^\| other +\| (\S+)", printed, re.MULTILINE)) == ["0.2", "0.9"]
    refused = call(restored, "python", "-m", "scripts.compare", "hrlr", ok=False)
    assert "has no variant 'hrlr'; it has erm, cl, hrrl" in refused


def test_the_line_of_the_best_experiment_is_one_that_dvc_takes(tmp_path):
    """Of settings that params.yaml lacks, or has and the best one lacks, and of methods without settings."""
    base = {"lr": [1, 2], "cl": {"balanced": {}, "s": 5}}
    best = {"lr": [3, 4], "cl": {"hrrl": {}, "lam": "10/lam", "q0": None}}
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["git", "commit", "-qm", "empty"]):
        call(tmp_path, *command)
    YAML().dump(base, tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: 'true', params: [params.yaml: ]}}\n")
    old, new = flat(base), flat(best)
    words = " ".join(override(key, new, old) for key in {**old, **new} if key not in old or old[key] != new.get(key))
    call(tmp_path, "sh", "-c", f"dvc exp run {words}")
    assert YAML(typ="safe").load(tmp_path / "params.yaml") == best


def advised() -> str:
    """What `make repro` says here where DVC refuses to work, without its start."""
    with pytest.raises(cells.Broken) as found:
        cells.outdated()
    return cells.advice(str(found.value))


def test_a_damaged_lock_is_named_with_the_command_that_restores_it(restored, monkeypatch):
    monkeypatch.chdir(restored)
    lock, command = restored / "dvc.lock", "git checkout HEAD -- dvc.lock"
    text = lock.read_text()
    lines, half = text.splitlines(keepends=True), len(text) // 2
    sides = ["<<<<<<< HEAD\n", lines[9], "=======\n", lines[9], ">>>>>>> b\n"]
    for damaged in (
        text[: text.index("hash:", half) + 2],  # cut between cells, it is a lock of fewer
        text[: text.index("size:", half) + len("size:")],  # YAML, but none that DVC takes
        "",
    ):
        lock.write_text(damaged)
        assert command in advised()
    merged = "".join([*lines[:9], *sides, *lines[10:]])
    lock.write_text(merged)
    assert command in call(restored, "python", "-m", "scripts.repro", ok=False)
    assert lock.read_text() == merged
    call(restored, *command.split())
    assert lock.read_text() == text
    (restored / ".dvc/tmp/rwlock").write_text('{"a": ')
    assert "rm .dvc/tmp/rwlock" in advised()


def test_a_cell_that_fails_ends_no_other_and_all_failures_are_listed(restored):
    stage = restored / "stages/svm.py"
    text, begin = stage.read_text(encoding="utf-8"), "def main(params, variant, seed):\n"
    fail = '    if variant == "erm":\n        raise OSError("no features")\n'
    fail += '    if variant == "hrrl":\n        import os\n\n        os.kill(os.getpid(), 9)\n'
    assert begin in text
    stage.write_text(text.replace(begin, begin + fail), encoding="utf-8")
    printed = call(restored, "python", "-m", "scripts.repro", ok=False)
    for cell, why in (("svm@erm-0", "no features"), ("svm@hrrl-0", "ended by SIGKILL, as a system short of memory")):
        assert f"{cell} failed. The end of its log, .work/logs/smoke/{cell}.log:\n    {why}" in printed, printed
    assert "svm@cl-0: ran for" in printed
    assert "report: " not in printed
