"""What a pull request does to the committed results, as Markdown: python -m scripts.comment BASE (or `make comment`)

The metrics that differ from those at BASE, a git revision, and tables of the report of the preset in params.yaml.
"""

import subprocess
import sys
from pathlib import Path

from hrrl.settings.schema import load
from scripts.cells import DVC
from scripts.readme import included

HEADER = 2  # lines of a table without rows
TABLES = ("svm", "concept_accuracy")


def main(base: str) -> None:
    name = load().name
    report = Path("reports")
    print(f"## Metrics: {base} and here\n\n{changes(base)}\n\n## Report: {name}")
    for table in TABLES:
        print(f"\n{included(report / f'tables/{table}.csv')}")


def changes(base: str) -> str:
    command = [DVC, "metrics", "diff", "--md", "--precision", "3", base]
    table = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()
    return table if len(table.splitlines()) > HEADER else "No metric differs."


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
