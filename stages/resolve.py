"""Checks params.yaml, and writes what each variant, dataset and stage is: settings with all defaults, and the code.

One file for each: what changes one of them makes just what uses it outdated.
"""

import json
from pathlib import Path

from stages.common import run
from stages.paths import remove_unnamed

from hrrl import arithmetic, identity
from hrrl.datasets import kinds
from hrrl.files import replacing
from hrrl.params import load

GRADIENT, *OTHERS = (f"hrrl.methods.example.{name}" for name in ("gradient", "noise", "pgd", "wrm"))
ADVERSARIAL = "hrrl.methods.concept.hrrl"
STAGES = {  # and what they find by its name, whatever params.yaml says
    "preflight": [],
    "manifest": [],
    "concepts": [],
    "search_model": [GRADIENT, ADVERSARIAL],
    "search": [],
    "select": [],
    "pretrain": [],
    "card": [],
    "features": [],
    "svm": [],
    "finetune": [],
    "robustness": [],
    "theory": [],
    "gallery": [GRADIENT, *OTHERS, ADVERSARIAL],
    "report": OTHERS,
}


def main(params):
    files = {f"variants/{name}.json": variant(params.variants[name].spec()) for name in params.runs.pretrain}
    for name in dict.fromkeys([params.benchmark, *params.targets]):
        files[f"datasets/{name}.json"] = dataset(params.datasets[name])
    computed = arithmetic.PORTABLE if params.compute.arithmetic == "portable" else "native"
    for stage, found in STAGES.items():
        files[f"code/{stage}.json"] = {"code": identity.code(f"stages.{stage}", *found), "arithmetic": computed}
    with replacing(Path("data", params.name, "resolved")) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(content, indent=1) + "\n")
    remove_unnamed(params)


def variant(spec: dict) -> dict:
    code = {}
    for axis, point in spec.items():
        for name in point or ():
            code |= identity.code(f"hrrl.methods.{axis}.{name}")
    return spec | {"code": code}


def dataset(definition) -> dict:
    return definition.model_dump(mode="json") | {"code": identity.code(kinds.module(definition.kind))}


if __name__ == "__main__":
    run(main, params=load)
