"""What a run of the pipeline found: the scores, and what is different from the committed run."""

import json
from pathlib import Path

from rich.table import Table
from ruamel.yaml import YAML

from hrrl.train.progress import duration
from scripts import commits
from scripts.cells import dvc


def show(console, folder: Path, name: str, seconds: float) -> None:
    """Prints the SVM's accuracy, what changed against the last commit, and how long the run took."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    console.print(svm_table(metrics["svm"], f"{name}: accuracy (%) of the linear SVM, mean ± std over seeds"))
    console.print(changes(folder / "headline.json", name), markup=False)
    keep = f"git add dvc.lock params.yaml {folder} && git commit"
    console.print(f"Done in {duration(seconds)}. To keep this run: {keep}", markup=False)


def svm_table(svm: dict, title: str) -> Table:
    table = Table("", *svm, title=title, title_justify="left")
    for variant in dict.fromkeys(variant for scores in svm.values() for variant in scores):
        table.add_row(variant, *(score(scores.get(variant)) for scores in svm.values()))
    return table


def score(found: dict | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.2f}" + (f" ± {found['std']:.2f}" if "std" in found else "")


def changes(headline: Path, name: str) -> str:
    """How the headline's numbers differ from those of the last commit, if that has an experiment of this name."""
    if reason := commits.none_because():
        return f"There is no commit to compare with: {reason}."
    params, numbers = (commits.git("show", f"HEAD:./{path}") for path in ("params.yaml", headline))
    if not (params and numbers) or YAML(typ="safe").load(params).get("name") != name:
        return "The last commit has no run of this preset to compare with."
    table = dvc("metrics", "diff", "--precision", "2").rstrip()
    return (
        f"Changed against the committed run:\n{table}" if table else "The headline's numbers are the committed run's."
    )
