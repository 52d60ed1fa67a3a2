"""The pipeline as a user runs it: real dvc commands with the smoke preset, in a fresh clone."""

import json
import re
import shutil

import pytest
from conftest import call, edit, metrics, outdated


def would_run(folder, *until: str) -> set[str]:
    """The stages that a change reaches, as `dvc repro --dry` names them, once those up to one have run."""
    call(folder, "dvc", "repro", "--quiet", *(until or ["resolve"]))
    return ran(call(folder, "dvc", "repro", "--dry"))


def ran(printed: str) -> set[str]:
    """The stages that DVC says it runs."""
    return set(re.findall(r"^Running stage '(.+)':", printed, re.MULTILINE))


def test_second_run_has_nothing_to_do(clone):
    assert "Nothing to do" in call(clone, "python", "-m", "scripts.repro")
    assert "Data and pipelines are up to date" in call(clone, "dvc", "repro")


def test_results_of_every_stage_are_there(clone):
    found = metrics(clone)
    assert set(found["svm"]) == {"lowres", "digits"}
    assert set(found["svm"]["digits"]) == {"erm", "cl", "hrrl"}
    headline = json.loads((clone / "reports/headline.json").read_text())
    assert headline["svm"]["digits"] == found["svm"]["digits"]["hrrl"]["mean"]
    hrrl, erm = (json.loads((clone / f"data/svm/{v}-0/scores.json").read_text())["digits"] for v in ("hrrl", "erm"))
    [row] = [row for row in json.loads((clone / "reports/claims.json").read_text()) if row["claim"] == "hrrl_both"]
    assert (row["difference"], row["verdict"]) == (pytest.approx(hrrl["accuracy"] - erm["accuracy"]), "undecided")
    report = clone / "reports"
    assert {file.suffix for file in (report / "figures").iterdir()} == {".svg"}
    assert "<img" in (report / "report.html").read_text() or "<svg" in (report / "report.html").read_text()
    history = (clone / "models/hrrl-0/history.csv").read_text().splitlines()
    assert len(history) == 1 + 2
    assert {"train_loss", "val_accuracy", "accuracy_garment", "q_garment", "q_entropy"} <= set(history[0].split(","))


def test_the_same_run_gives_the_same_bytes(restored):
    model = restored / "models/hrrl-0/model.safetensors"
    before = model.read_bytes()
    call(restored, "dvc", "repro", "--force", "--no-run-cache", "--single-item", "pretrain@hrrl-0")
    assert model.read_bytes() == before
    assert outdated(restored) == {}  # nor has any other file of it changed


def test_a_change_of_params_reruns_just_what_depends_on_it(restored):
    edit(restored, variants__hrrl__example__gradient__tau=0.2, svm__folds=2, headline="erm")
    found = would_run(restored)
    of_variants = {"given@hrrl", "pretrain@hrrl-0"}
    assert {cell for cell in found if cell.startswith(("given", "pretrain"))} == of_variants
    assert {cell.split("@")[0] for cell in found - of_variants} == {"concepts", "search", "svm", "gallery", "report"}


def test_a_cell_depends_on_what_decides_its_bytes_and_on_nothing_else(restored):
    """Not on other methods and kinds, the machine, or defaults that are written out; an image size reaches few."""
    for kind, name in (("methods/example", "noise"), ("data/readers", "imagefolder")):
        shutil.copy(restored / f"hrrl/{kind}/{name}.py", restored / f"hrrl/{kind}/new.py")
    defaults = {"lam": 1.0, "c": 10.0, "s": 100, "q0": "empirical"}
    (restored / "machine.yaml").write_text("workers: 1\nmaster_port: 29501\n")
    edit(restored, variants__hrrl__concept__hrrl=defaults, datasets__lowres__resolution=8)
    reached = {"preflight", "search", "features", "finetune", "gallery", "report"}
    found = would_run(restored, "--single-item", "resolve", "manifest-target@lowres", "concepts")
    assert {cell.split("@")[0] for cell in found} == reached


def test_a_default_reaches_what_leaves_it_out_and_the_benchmarks_images_all_that_trains_on_them(restored):
    default = restored / "hrrl/methods/concept/hrrl.py"
    default.write_text(default.read_text().replace("c: Positive = 10.0", "c: Positive = 5.0"))
    edit(restored, datasets__garments__resolution=14)
    trained = {stage for stage in would_run(restored) if stage.startswith("pretrain")}
    assert trained == {"pretrain@cl-0", "pretrain@hrrl-0"}
    assert "pretrain@erm-0" in would_run(restored, "--single-item", "manifest-benchmark")


def test_bad_input_is_one_line_with_a_traceback_for_who_asks_and_loses_nothing(restored):
    model = restored / "models/erm-0/model.safetensors"
    before = model.read_bytes()
    edit(restored, pretrain__epoch=3)
    out = call(restored, "python", "-m", "scripts.repro", "--jobs", "1", ok=False)
    assert sum("pretrain.epoch: unknown key" in line for line in out.splitlines()) == 1, out
    assert "Traceback" not in out
    assert "its log, .work/logs/smoke/" in out
    assert model.read_bytes() == before
    assert "Traceback" in call(restored, "env", "HRRL_DEBUG=1", "python", "-m", "stages.resolve", ok=False)
