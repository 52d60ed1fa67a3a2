"""Writes what each variant is: its axes with the numbers that the search found best, data/<name>/selected/."""

import json
from pathlib import Path

from stages.common import run
from stages.paths import read_json, resolved, search_cells, searched

from hrrl import search
from hrrl.files import replacing


def main(params):
    cells = [cell(params, *point) for point in search_cells(params)]  # others may be left from before
    with replacing(Path("data", params.name, "selected")) as folder:
        folder.mkdir()
        for variant in params.runs.pretrain:
            found = read_json(resolved(params, "variants", variant))
            spec = search.filled({axis: found[axis] for axis in ("example", "concept")}, cells)
            (folder / f"{variant}.json").write_text(json.dumps(spec, indent=1) + "\n")


def cell(params, point, seed) -> dict:
    """The result of a point; a target that params no longer name does not count."""
    found = read_json(searched(params, point, seed))
    return found | {"targets": {target: found["targets"][target] for target in params.targets}}


if __name__ == "__main__":
    run(main)
