"""What a pull request does to the committed results, as Markdown: python -m scripts.comment BASE (or `make comment`)

The metrics that differ from those at BASE, a git revision, and the report of the preset in params.yaml.
"""

import subprocess
import sys
from pathlib import Path

from hrrl.params import load

HEADER = 2  # lines of a table without rows
TABLES, FIGURES = ("svm", "concept_accuracy"), ("svm_accuracy", "fig4_augmented_accuracy")


def main(base: str) -> None:
    name = load().name
    report = Path("reports", name)
    print(f"## Metrics: {base} and here\n\n{changes(base)}\n\n## Report: {name}")
    for table in TABLES:
        print(f"\n{(report / f'tables/{table}.md').read_text().strip()}")
    for figure in FIGURES:
        print(f"\n![{figure}]({report}/figures/{figure}.png)")


def changes(base: str) -> str:
    command = [sys.executable, "-m", "dvc", "metrics", "diff", "--md", "--precision", "3", base]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return table if len(table.splitlines()) > HEADER else "No metric differs."


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
