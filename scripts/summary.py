"""What a run of the pipeline found: the scores, and what is different from the committed run."""

import json
from pathlib import Path

from rich.table import Table
from ruamel.yaml import YAML

from hrrl.train.progress import duration
from scripts import commits

MOST = 12  # changes that are shown


def show(console, folder: Path, name: str, seconds: float) -> None:
    """Prints the SVM's accuracy, what changed against the last commit, and how long the run took."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    console.print(svm_table(metrics["svm"], f"{name}: accuracy (%) of the linear SVM, mean ± std over seeds"))
    for line in changes(folder / "headline.json", name):
        console.print(line, markup=False)
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


def changes(file: Path, name: str) -> list[str]:
    """How the headline's numbers differ from those of the last commit, if that has an experiment of this name."""
    if reason := commits.none_because():
        return [f"There is no commit to compare with: {reason}."]
    params, numbers = (commits.git("show", f"HEAD:./{path}") for path in ("params.yaml", file))
    if not (params and numbers) or YAML(typ="safe").load(params).get("name") != name:
        return ["The last commit has no run of this preset to compare with."]
    before, after = (flat(json.loads(text)) for text in (numbers, file.read_text(encoding="utf-8")))
    keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    if not keys:
        return ["The headline's numbers are those of the committed run."]
    rows = [f"  {key:32} {shown(before.get(key)):>8} -> {shown(after.get(key)):>8}" for key in keys]
    more = [f"  and {len(rows) - MOST} more: dvc metrics diff"] if len(rows) > MOST else []
    return ["Changed against the committed run:", *rows[:MOST], *more]


def flat(node, key: str = "") -> dict:
    """Nested dicts as one, with dotted keys."""
    if not isinstance(node, dict):
        return {key: node}
    return {k: v for name, child in node.items() for k, v in flat(child, f"{key}.{name}" if key else name).items()}


def shown(value) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
