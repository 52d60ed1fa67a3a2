"""What a run found, and what is different from a commit: python -m scripts.summary BASE (or `make comment`)

Prints, as Markdown for a pull request, the metrics that differ from those at BASE, a git revision, and tables of the
report of the preset in params.yaml. `make repro` ends with much the same.
"""

import sys

from stages.paths import REPORTS

from ruamel.yaml import YAML

from hrrl.settings import params_file
from hrrl.train.progress import duration
from scripts import commits, run
from scripts.cells import dvc
from scripts.readme import included

HEADER = 2  # lines of a table without rows
TABLES = ("svm", "concept_accuracy")


def main(base: str) -> None:
    table = dvc("metrics", "diff", "--md", "--precision", "3", base).strip()
    differ = table if len(table.splitlines()) > HEADER else "No metric differs."
    print(f"## Metrics: {base} and here\n\n{differ}\n\n## Report: {params_file.read('params.yaml')['name']}")
    for name in TABLES:
        print(f"\n{included(REPORTS / f'tables/{name}.csv')}")


def show(name: str, seconds: float) -> None:
    """Prints the SVM's accuracy, what changed against the last commit, and how long the run took."""
    print(f"{name}: accuracy (%) of the linear SVM, mean ± std over seeds")
    print(included(REPORTS / "tables/svm.csv"))
    print(changes(name))
    print(f"Done in {duration(seconds)}. To keep this run: git add dvc.lock params.yaml {REPORTS} && git commit")


def changes(name: str) -> str:
    """How the headline's numbers differ from those of the last commit, if that has an experiment of this name."""
    if reason := commits.none_because():
        return f"There is no commit to compare with: {reason}."
    params, numbers = (commits.git("show", f"HEAD:./{path}") for path in ("params.yaml", REPORTS / "headline.json"))
    if not (params and numbers) or YAML(typ="safe").load(params).get("name") != name:
        return "The last commit has no run of this preset to compare with."
    table = dvc("metrics", "diff", "--precision", "2").rstrip()
    same = "The headline's numbers are the committed run's."
    return f"Changed against the committed run:\n{table}" if table else same


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run(main, sys.argv[1])
