"""Lists the datasets anew whose files changed, by names and sizes: python -m scripts.relist (or `make relist`).

`dvc repro` does not look into the folders of raw images, nor at a concepts' CSV outside of concepts/: this does, and
reruns the manifest and concepts stages where it finds a change. What follows from them, the next `dvc repro` does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from hrrl.datasets.manifest import relisted
from hrrl.errors import UserError
from hrrl.params import load

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    params = load()
    stages = {"manifest-benchmark": (params.benchmark, Path("data", params.name, "benchmark"))}
    for target in params.targets:
        stages[f"manifest-target@{target}"] = (target, Path("data", params.name, "targets", target))
    changed = []
    for stage, (dataset, folder) in stages.items():
        definition = params.datasets[dataset]
        if folder.exists() and as_resolved(params, dataset) and (why := relisted(definition, dataset, folder)):
            print(f"{why}; listing it anew")
            changed.append(stage)
    if csv_changed(params):
        print(f"concepts: {params.concepts.csv} changed; grouping the classes anew")
        changed.append("concepts")
    if changed:
        sys.exit(
            subprocess.run([sys.executable, "-m", "dvc", "repro", "--force", "--single-item", *changed]).returncode
        )


def as_resolved(params, dataset) -> bool:
    """Whether a dataset is defined as at the last run; where it is not, `dvc repro` lists it anew by itself."""
    known = Path("data", params.name, "resolved", "datasets", f"{dataset}.json")
    if not known.exists():
        return False
    found = json.loads(known.read_text())
    return {key: value for key, value in found.items() if key != "code"} == params.as_dict()["datasets"][dataset]


def csv_changed(params) -> bool:
    """Whether the concepts were grouped by another content of the CSV in params."""
    from hrrl.concepts import csv_hash

    known = Path("data", params.name, "concepts", "source.json")
    return known.exists() and json.loads(known.read_text())["csv"] != csv_hash(params.as_dict()["concepts"])


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
