"""Checks on this machine what params.yaml names, before the first image is read: device, folders, WordNet, network."""

from types import SimpleNamespace

from stages.common import plain, run
from stages.paths import PREFLIGHT, STARTS, read_json, resolved, write_json

from hrrl import arithmetic
from hrrl.settings import preflight
from hrrl.train import precision

FOUND = {"found": "all that params.yaml names"}  # always the same, so that it makes nothing outdated


def main(params):
    names = dict.fromkeys([params.benchmark, *params.targets])
    datasets = {name: SimpleNamespace(**read_json(resolved("datasets", name))) for name in names}
    preflight.check_named(params, datasets, plain(params.concepts), read_json(STARTS))
    if params.compute.arithmetic == "portable" and (lack := arithmetic.cpu_lacks()):
        print(f"compute.arithmetic: {lack}; all works, but results have other bytes than on the CPUs that have it")
    if (used := precision.in_use(params.compute)) != params.compute.precision:
        print(f"compute.precision: this machine has no {params.compute.precision}; {used} is used")
    write_json(PREFLIGHT, FOUND)


if __name__ == "__main__":
    run(main)
