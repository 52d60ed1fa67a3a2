"""What a pull request does to the committed results, as Markdown: python -m scripts.comment BASE (or `make comment`)

The metrics that differ from those at BASE, a git revision, and tables of the report of the preset in params.yaml.
"""

import sys
from pathlib import Path

from hrrl.settings.schema import load
from scripts import run
from scripts.cells import dvc
from scripts.readme import included

HEADER = 2  # lines of a table without rows
TABLES = ("svm", "concept_accuracy")


def main(base: str) -> None:
    table = dvc("metrics", "diff", "--md", "--precision", "3", base).strip()
    changes = table if len(table.splitlines()) > HEADER else "No metric differs."
    print(f"## Metrics: {base} and here\n\n{changes}\n\n## Report: {load().name}")
    for name in TABLES:
        print(f"\n{included(Path(f'reports/tables/{name}.csv'))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run(main, sys.argv[1])
