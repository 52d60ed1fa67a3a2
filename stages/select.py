"""Puts the best of what was searched into a variant that leaves tau or lam to it: data/selected/<variant>.json."""

from stages.common import run
from stages.paths import measured, read_json, search_cells, selected, write_json
from stages.variants import axes

from hrrl.transfer import search


def main(params, variant):
    cells = [cell(params, *point) for point in search_cells(params)]  # others may be left from before
    write_json(selected(variant), search.filled(axes(variant), cells))


def cell(params, point, seed) -> dict:
    """The result of a point; a target that params no longer name does not count."""
    result = read_json(measured("search", point, seed, ".json"))
    return result | {"targets": {target: result["targets"][target] for target in params.targets}}


if __name__ == "__main__":
    run(main, "variant")
