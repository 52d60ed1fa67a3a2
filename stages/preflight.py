"""Checks on this machine what params.yaml names, before the first image is read: device, folders, WordNet, network."""

from stages.common import plain, run, typed
from stages.manifest import definition
from stages.paths import PREFLIGHT, STARTS, read_json, write_json

from hrrl import arithmetic
from hrrl.settings import preflight
from hrrl.train.runtime import Compute

FOUND = {"found": "all that params.yaml names"}  # always the same, so that it makes nothing outdated


def main(params):
    names = dict.fromkeys([params.benchmark, *params.targets])
    datasets, compute = {name: definition(name) for name in names}, typed(Compute, params.compute)
    preflight.check_named(params, compute, datasets, plain(params.concepts), read_json(STARTS))
    if compute.arithmetic == "portable" and (lack := arithmetic.cpu_lacks()):
        print(f"compute.arithmetic: {lack}; all works, but results have other bytes than on the CPUs that have it")
    if (used := compute.precision_in_use()) != compute.precision:
        print(f"compute.precision: this machine has no {compute.precision}; {used} is used")
    write_json(PREFLIGHT, FOUND)


if __name__ == "__main__":
    run(main)
