"""Lists the datasets anew whose files changed, by names and sizes: python -m scripts.relist (or `make relist`).

`dvc repro` does not look into the folders of raw images, nor at a concepts' CSV outside of groupings/: this does, and
reruns the manifest and concepts stages where it finds a change. What follows from them, the next `dvc repro` does.
"""

import argparse
import os
import subprocess
import sys

from stages.common import plain, read_params
from stages.manifest import definition
from stages.paths import CONCEPTS, dataset_folder, read_json

from hrrl.concepts import csv_file
from hrrl.data.manifest import relisted
from scripts import ROOT, cells, run

DVC = [*cells.DVC, "repro", "--quiet"]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.chdir(ROOT)
    if status := subprocess.run([*DVC, "resolve"]).returncode:
        sys.exit(status)
    stages = changed(read_params(), skip=cells.outdated())
    for stage, why in stages.items():
        print(f"{why}: {stage} runs again")
    if stages:
        sys.exit(subprocess.run([*DVC, "--force", "--single-item", *stages]).returncode)


def changed(params, skip: set[str]) -> dict[str, str]:
    """stage -> what its files changed in since its last run; the stage ``resolve`` is up to date.

    Args:
        skip: stages that run anyway.
    """
    stages = {"manifest-benchmark": (params.benchmark, None)}
    stages |= {f"manifest-target@{target}": (target, target) for target in params.targets}
    changes = {}
    for stage, (dataset, target) in stages.items():
        if stage not in skip and (folder := dataset_folder(target)).exists():
            changes[stage] = relisted(definition(dataset), dataset, folder)
    source = CONCEPTS / "source.json"
    concepts = plain(params.concepts)
    if "concepts" not in skip and source.exists() and read_json(source)["csv"] != csv_file.sha256(concepts):
        changes["concepts"] = f"concepts: {concepts['csv']} changed"
    return {stage: why for stage, why in changes.items() if why}


if __name__ == "__main__":
    run(main)
