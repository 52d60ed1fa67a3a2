"""A finished run's claims decided anew from its runs.csv, and how many seeds a difference takes by its spread."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_reporting import made

from hrrl import report
from hrrl.errors import UserError
from hrrl.report import power, statistics
from hrrl.report.recorded import recorded
from hrrl.settings.schema import load
from scripts import claims as command

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a run writes, of three seeds whose test images are known on one target."""
    results = made(seeds=range(3))
    random = np.random.default_rng(0)
    cells = results.scores[["target", "variant", "seed"]].itertuples(index=False, name=None)
    results.correct = {cell: (random.random(400) < 0.8).astype(float) for cell in cells if cell[0] == "lowres"}
    folder = tmp_path_factory.mktemp("runs") / "made"
    report.write(results, folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "made"))


def test_claims_from_the_files_are_those_of_the_run(folder):
    before, tables = (folder / "claims.json").read_text(), {f.name: f.read_bytes() for f in folder.glob("tables/*")}
    command.main([str(folder)])
    after = json.loads((folder / "claims.json").read_text())
    for row, anew in zip(json.loads(before), after, strict=True):
        assert anew["verdict"] == row["verdict"]
        for key in ("difference", "p", "p_holm", "detectable"):
            assert anew[key] == pytest.approx(row[key]), (row["claim"], key)
        assert anew["ci95"] == (row["ci95"] and pytest.approx(row["ci95"]))
    for name in (
        "claims.csv",
        "claims_beside.csv",
        "claims_secondary.csv",
        "premise_targets.csv",
        "target_concepts.csv",
    ):
        assert (folder / "tables" / name).read_bytes() == tables[name], name
    read = [pd.read_csv(text, keep_default_na=False) for text in (folder / "tables/runs.csv",)]
    assert not read[0].duplicated(["measure", "target", "variant", "seed"]).any()


def test_a_page_shows_the_new_verdicts_and_keeps_the_rest(folder):
    old = (folder / "report.html").read_text(encoding="utf-8")
    page = re.sub(r'<h2 id="claims">.*?(?=<h2 id="premise">)', '<h2 id="claims">old</h2>', old, flags=re.DOTALL)
    assert page != old
    (folder / "report.html").write_text(page, encoding="utf-8")
    command.main([str(folder)])
    new = (folder / "report.html").read_text(encoding="utf-8")
    assert "computed anew from tables/runs.csv" in new
    assert new.count('id="claims"') == new.count('id="premise"') == new.count('id="svm"') == 1
    assert new[new.index('id="svm"') :] == old[old.index('id="svm"') :]


def test_what_links_lead_to_stays_as_it_is(folder):
    """DVC's cache, where `cache.type` is symlink or hardlink."""
    cache = folder.with_name("cache")
    shutil.copytree(folder, cache)
    kept = {file.relative_to(cache): file.read_bytes() for file in cache.rglob("*.*")}
    for file in kept:
        (folder / file).unlink()
        (folder / file).hardlink_to(cache / file)
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(cache / "report.html")
    command.main([str(folder)])
    assert {file: (cache / file).read_bytes() for file in kept} == kept
    assert (folder / "report.html").read_bytes() != kept[Path("report.html")]


def test_what_was_not_measured_is_left_out_and_named(folder, capsys):
    command.decide(folder, load(ROOT / "presets/photos.yaml"))
    assert "not measured, or not recorded: el_images" in capsys.readouterr().out
    assert {row["claim"] for row in json.loads((folder / "claims.json").read_text())} == {
        *("el_augmented", "cl_worst", "el_dose", "cl_dose")
    }


def test_a_folder_without_runs_is_named(tmp_path, folder):
    with pytest.raises(UserError, match=r"takes a folder with tables/runs\.csv"):
        recorded(tmp_path)
    (folder / "tables/runs.csv").write_text("measure\nsvm\n")
    with pytest.raises(UserError, match="holds no numbers of a run"):
        recorded(folder)


def test_power_is_that_of_the_paired_differences(folder):
    rows = power.power(recorded(folder), 1.0, 5).set_index(["measure", "target", "better"])
    runs = pd.read_csv(folder / "tables/runs.csv", keep_default_na=False)
    svm = runs[(runs.measure == "svm") & (runs.target == "cifar")].pivot(
        index="seed", columns="variant", values="value"
    )
    std = (svm.hrrl - svm.erm).std()
    row = rows.loc["svm", "cifar", "hrrl"]
    assert (row["std"], row["seeds"], np.isnan(row["images"])) == (pytest.approx(std), 3, True)
    assert row["detectable"] == pytest.approx(statistics.detectable(std / 5**0.5, 5))
    assert row["needed"] == statistics.seeds_needed(std, 1.0)
    assert rows.loc["svm", "lowres", "el"]["images"] > 0
    drawn = np.random.default_rng(0).normal(1.0, std, (4000, row["needed"]))
    found = (stats.ttest_1samp(drawn, 0, axis=1).confidence_interval(0.95).low > 0).mean()
    assert 0.79 < found < 0.87  # the least number that is enough


def test_power_as_a_command(folder, capsys):
    power.main([str(folder), "--difference", "2", "--seeds", "4", "--than", "el"])
    lines = capsys.readouterr().out.splitlines()
    assert re.split(r" *\| *", lines[0].strip("| ")) == [
        *("Endpoint", "Compared", "Seeds", "Std over seeds", "Error over images", "Found with 4 seeds", "Seeds for 2")
    ]
    assert all(" − EL (τ=0.5)" in line for line in lines[2:])
    assert "HRRL (τ=0.5, λ=1) − EL" in lines[-1]
    with pytest.raises(SystemExit, match="has no variant hrlr; it has erm, el, cl, hrrl"):
        power.main([str(folder), "--than", "hrlr"])
    with pytest.raises(SystemExit, match="--difference takes points above 0"):
        power.main([str(folder), "--difference", "0"])


@pytest.mark.parametrize("found", sorted(ROOT.glob("*/*/tables/runs.csv")), ids=lambda path: path.parts[-3])
def test_committed_verdicts_are_those_of_the_committed_runs(found, tmp_path):
    kept = found.parent.parent
    shutil.copytree(kept, tmp_path / kept.name)
    command.main([str(tmp_path / kept.name)])
    both = (kept, tmp_path / kept.name)
    old, new = (json.loads((where / "claims.json").read_text()) for where in both)
    assert [row["verdict"] for row in old] == [row["verdict"] for row in new]
    old, new = ((where / "tables/claims.csv").read_text() for where in both)
    assert old == new
    old, new = (pd.read_csv(where / "tables/runs.csv") for where in both)
    pd.testing.assert_frame_equal(old, new)  # up to rounding: the command need not compute as the run did
