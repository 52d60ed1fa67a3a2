"""docs/tutorial.md, followed to the letter in a clone in which the smoke preset has run."""

import re

from conftest import call
from pages import ROOT, commands
from ruamel.yaml import YAML

PAGE = "docs/tutorial.md"


def shell(folder, lines: list[str]) -> list[str]:
    """What each line prints; the environment is as old as it is, also in a clone that was made since."""
    return [call(folder, "sh", "-c", line.replace("make ", "make -o .venv/installed ")) for line in lines]


def test_the_walk(restored, monkeypatch):
    text = (ROOT / PAGE).read_text()
    shown = shell(restored, commands("docs/tutorial.md", "dvc metrics show"))
    assert "headline.json" in shown[0]
    assert "SVM_HRRL" in shown[1]
    assert shown[2].startswith("epoch,step,lr,train_loss")

    pages = [commands("docs/tutorial.md", "dvc exp run -n erm"), commands("docs/usage.md", "dvc exp run -n erm")]
    assert pages[0] == pages[1]  # test_pipeline.py runs them
    run, ranking = shell(restored, commands("docs/tutorial.md", "dvc exp run -n smaller"))
    ran = {line.split("'")[1].split("@")[-1] for line in run.splitlines() if line.startswith("Running stage 'pretrain")}
    assert ran == {"hrrl-0"}
    assert "smaller" in ranking

    call(restored, "git", "checkout", "-q", "--force", "HEAD")
    call(restored, "dvc", "checkout", "-q", "--force")
    monkeypatch.chdir(restored)
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    yaml, params = YAML(), restored / "params.yaml"
    content, added = yaml.load(params.read_text()), yaml.load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    content["datasets"] |= added.pop("datasets")
    runs = {step: ["cl"] for step in ("pretrain", "searched", "svm", "finetune")} | {"given": []}
    content |= {"runs": runs, "headline": "cl", "claims": []}  # not the page's: each cell takes its seconds
    yaml.dump(content | added, params)
    *_, run = shell(restored, commands("docs/tutorial.md", "python -m hrrl.params"))
    stages = {re.split("[] @:]+", line)[1] for line in run.splitlines() if ": ran for " in line}
    assert not stages & {"pretrain", "search-model"}
    assert {"search", "features", "svm", "finetune", "report"} <= stages
    assert "photos" in (restored / "reports/tables/svm.csv").read_text()
    [table] = shell(restored, commands("docs/tutorial.md", "python -m scripts.concepts_table"))
    assert "T-shirt/top, Trouser, Pullover" in table
