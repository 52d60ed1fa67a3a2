"""docs/tutorial.md, followed to the letter in a clone in which the smoke preset has run, with what a user asks of DVC.

One test goes on where the one before it stopped: each cell that runs again takes seconds.
"""

import json
import re
import shutil

import pytest
from conftest import call, metrics, outdated
from pages import ROOT, commands
from ruamel.yaml import YAML

TEXT = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def walked(smoke_run, tmp_path_factory):
    return shutil.copytree(smoke_run, tmp_path_factory.mktemp("walked") / "hrrl", symlinks=True)


def shell(folder, lines: list[str]) -> list[str]:
    """What each line prints; the environment is as old as it is, also in a clone that was made since."""
    return [call(folder, "sh", "-c", line.replace("make ", "make -o .venv/installed ")) for line in lines]


def back(folder) -> None:
    """As it was committed."""
    call(folder, "git", "checkout", "-q", "--force", "HEAD")
    call(folder, "dvc", "checkout", "--force")


def outputs(folder) -> dict[str, bytes]:
    paths = [path for top in ("models", "data", "reports") for path in (folder / top).rglob("*")]
    kept = [path for path in paths if path.is_file() and "cache" not in path.relative_to(folder).parts]
    return {str(path): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def before(walked):
    """The outputs of the smoke preset."""
    return outputs(walked)


def test_numbers_are_in_files(walked, before):
    shown = shell(walked, commands("docs/tutorial.md", "dvc metrics show"))
    assert "headline.json" in shown[0]
    assert "SVM_HRRL" in shown[1]
    assert shown[2].startswith("epoch,step,lr,train_loss")


def test_two_variants_are_compared(walked, tmp_path):
    assert commands("docs/tutorial.md", "dvc exp run -n erm") == commands("docs/usage.md", "dvc exp run -n erm")
    *runs, diff = commands("docs/tutorial.md", "dvc exp run -n erm")
    for run in shell(walked, runs):
        assert "pretrain" not in "".join(line for line in run.splitlines() if line.startswith("Running stage"))
    [changes] = json.loads(call(walked, "sh", "-c", f"{diff} --json")).values()
    assert "svm.digits" in changes
    shown = call(walked, "env", "COLUMNS=200", "make", "-o", "setup", "experiments")
    for words in (r"svm\.lowres +svm\.digits.* headline", r"\[erm\].* erm ", r"\[hrrl\].* hrrl "):
        assert re.search(words, shown), shown
    call(walked, "dvc", "plots", "diff", "erm", "hrrl", "--out", str(tmp_path / "plots"))
    page = tmp_path / "plots/index.html"
    plots = page.read_text().count("vegaEmbed('#")
    assert plots == 12
    if shutil.which("chromium"):
        offline = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
        offline += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
        assert call(walked, "chromium", *offline).count('class="marks"') == plots  # each is drawn


def test_one_number_is_tuned(walked):
    run, ranking = shell(walked, commands("docs/tutorial.md", "dvc exp run -n smaller"))
    ran = {line.split("'")[1].split("@")[-1] for line in run.splitlines() if line.startswith("Running stage 'pretrain")}
    assert ran == {"hrrl-0"}
    assert re.search(r"^\| smaller +\| 0\.2 ", ranking, re.MULTILINE), ranking
    assert "| last commit" in ranking
    assert "| erm" not in ranking  # it differs in more than the variant's parameters


def test_ones_own_images_are_a_target(walked, monkeypatch):
    """With other changes than the page's, so that it is another experiment, of one variant and of fewer targets."""
    back(walked)
    monkeypatch.chdir(walked)
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], {})
    shutil.copy("data/concepts/classes.csv", "concepts.csv")
    yaml, params = YAML(), walked / "params.yaml"
    content, added = yaml.load(params.read_text()), yaml.load(re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[1])
    content["datasets"] |= added.pop("datasets")
    content |= added | {"name": "other", "concepts": {"csv": "concepts.csv"}}
    content["targets"].remove("lowres")
    del content["shifts"]["lowres"]
    runs = {step: ["cl"] for step in ("pretrain", "searched", "svm", "finetune")} | {"given": []}
    content |= {"variants": {"cl": content["variants"]["cl"]}, "runs": runs, "headline": "cl", "claims": []}
    yaml.dump(content, params)
    *_, run = shell(walked, commands("docs/tutorial.md", "python -m hrrl.params"))
    stages = {re.split("[] @:]+", line)[1] for line in run.splitlines() if ": ran for " in line}
    assert not stages & {"pretrain", "search-model"}
    assert {"search", "features", "svm", "finetune", "report"} <= stages
    assert "photos" in (walked / "reports/tables/svm.csv").read_text()
    [table] = shell(walked, commands("docs/tutorial.md", "python -m scripts.concepts_table"))
    assert "T-shirt/top, Trouser, Pullover" in table


def test_experiments_take_turns_lose_nothing_and_leave_no_stale_numbers(walked, before):
    """That one -> checkout -> exp apply -> checkout and exp run; DVC's cache has what ran once."""
    other, found = outputs(walked), metrics(walked)
    assert set(found["svm"]) == {"digits", "photos"}
    assert set(found["svm"]["digits"]) == set(found["benchmark"]) == {"cl"}
    assert json.loads((walked / "reports/claims.json").read_text()) == []
    assert "lowres" not in (walked / "reports/report.html").read_text().split("<pre")[0]
    assert {path.name for path in (walked / "data/targets").iterdir()} == {"digits", "photos"}  # one dependency
    assert not (walked / "models/hrrl-0").exists()
    call(walked, "dvc", "exp", "save", "-n", "elsewhere")
    back(walked)
    assert (outputs(walked), outdated(walked)) == (before, {})
    [changes] = json.loads(call(walked, "dvc", "metrics", "diff", "HEAD", "elsewhere", "--json")).values()
    assert "svm.digits" in changes
    call(walked, "dvc", "exp", "apply", "elsewhere")
    assert outputs(walked) == other
    call(walked, "git", "checkout", "-q", "--force", "HEAD")
    assert "Running" not in call(walked, "dvc", "exp", "run")
    assert outputs(walked) == before
    assert call(walked, "git", "status", "--short").splitlines() == ["?? concepts.csv", "?? photos/"]


def test_relisting_reruns_the_stage_whose_files_changed(walked):
    call(walked, "dvc", "exp", "apply", "elsewhere")
    concepts = walked / "concepts.csv"  # outside of what DVC watches
    concepts.write_text(concepts.read_text().replace("Bag,container", "Bag,footwear"))
    assert "concepts.csv changed" in call(walked, "python", "-m", "scripts.relist")
    assert "container" not in (walked / "data/concepts/concepts.csv").read_text()
