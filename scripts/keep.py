"""Keeps of the experiment in data/, models/ and reports/ what the documents show: python -m scripts.keep (`make keep`).

Into results/<name>/ go params.yaml, dvc.lock, claims.json, tables/runs.csv with four small tables, and each file of
results/<name>/ that a document names: as a table that it includes, as a figure, or as a link. What an earlier run left
there, and no document names, goes.
"""

import argparse
import os
import re
import shutil
from pathlib import Path

from hrrl.common.files import remove
from hrrl.errors import UserError
from hrrl.settings import params_file
from scripts import ROOT, cells, run
from scripts.readme import READMES

RESULTS, REPORTS = Path("results"), Path("reports")
ALWAYS = [  # from which every number of a run follows, and its claims can be decided anew (scripts/claims.py)
    *("claims.json", "tables/runs.csv", "tables/target_concepts.csv"),
    *("tables/concepts.csv", "tables/premise_targets.csv", "tables/svm.csv"),
]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.chdir(ROOT)
    name = params_file.read("params.yaml")["name"]
    folder = RESULTS / name
    if outdated := sorted(cells.outdated() & cells.needs().keys()):
        raise UserError(f"not of today's params, code and data: {', '.join(outdated[:5])}; run `make repro`")
    for file in kept(name):
        if not (REPORTS / file).is_file():
            raise UserError(f"reports/{file}: not there, and documents show results/{name}/{file}; run `make repro`")
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPORTS / file, folder / file)
    for path in [path for path in folder.rglob("*.*") if str(path.relative_to(folder)) not in kept(name)]:
        remove(path)
    shutil.copyfile("params.yaml", folder / "params.yaml")
    (folder / "dvc.lock").write_text(cells.lock_of_these_params(), encoding="utf-8")
    print(f"{folder}: params.yaml, dvc.lock, {', '.join(kept(name))}")


def kept(name: str) -> list[str]:
    """The files of reports/ that stay, as paths below it."""
    pattern = re.compile(rf"results/{name}/((?:\w+/)*\w+\.(?:csv|json|svg|html))\b")
    files = [file for document in READMES for file in pattern.findall(document.read_text(encoding="utf-8"))]
    return list(dict.fromkeys([*ALWAYS, *files]))


if __name__ == "__main__":
    run(main)
