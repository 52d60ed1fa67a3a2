"""Checks params.yaml, and writes what each variant and dataset is: its settings with all defaults, and its code.

One file for each: what changes one of them makes just what uses it outdated.
"""

import json
from pathlib import Path

from stages.common import run
from stages.paths import remove_unnamed

from hrrl import identity
from hrrl.datasets import kinds
from hrrl.files import replacing
from hrrl.params import load


def main(params):
    files = {f"variants/{name}.json": variant(params.variants[name].spec()) for name in params.runs.pretrain}
    for name in dict.fromkeys([params.benchmark, *params.targets]):
        files[f"datasets/{name}.json"] = dataset(params.datasets[name])
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
