"""Finds a dataset (or downloads it), checks it and lists its images: data/benchmark or targets/<target>."""

from stages.common import run, typed
from stages.paths import dataset_folder, read_json, resolved

from hrrl.data.locate import Definition
from hrrl.data.manifest import prepare


def main(params, target):
    dataset = target or params.benchmark
    prepare(definition(dataset), dataset).write(dataset_folder(target))


def definition(dataset: str) -> Definition:
    """A dataset of params.yaml, with all defaults."""
    return typed(Definition, read_json(resolved("datasets", dataset)))


if __name__ == "__main__":
    run(main, "[target]")
