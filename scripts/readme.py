"""Puts tables into the documents: what stands between `<!-- include FILE -->` and `<!-- end -->` becomes FILE's text.

A table of CSV becomes one of Markdown, and so do the benchmarks' numbers.
"""

import csv
import json
import re
from pathlib import Path

from tabulate import tabulate

from scripts import ROOT

NAMES = ("README.md", "benchmarks/README.md", "docs/evidence.md", "docs/tutorial.md", "docs/usage.md")
READMES = [ROOT / name for name in NAMES]
BLOCK = re.compile(r"(<!-- include (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The README's text with every included file as it is now."""
    return BLOCK.sub(lambda match: match[1] + included(ROOT / match[2]) + "\n" + match[3], text)


def included(file: Path) -> str:
    """A file's text; of a table in CSV, or of benchmarks/results.json, its Markdown."""
    if file.name == "results.json":
        from benchmarks.run import markdown

        return markdown(json.loads(file.read_text(encoding="utf-8")))
    if file.suffix != ".csv":
        return file.read_text(encoding="utf-8").strip()
    with open(file, newline="", encoding="utf-8") as lines:
        names, *rows = csv.reader(lines)
    align = ["left"] + ["right"] * (len(names) - 1)
    return tabulate(rows, names, "pipe", disable_numparse=True, colalign=align)


if __name__ == "__main__":
    for readme in READMES:
        readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
