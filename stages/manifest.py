"""Finds a dataset (or downloads it), checks it and lists its images: data/benchmark or targets/<target>."""

from types import SimpleNamespace

from stages.common import run
from stages.paths import dataset_folder, read_json, resolved


def main(params, target):
    from hrrl.data.manifest import prepare

    dataset = target or params.benchmark
    definition = SimpleNamespace(**read_json(resolved("datasets", dataset)))
    prepare(definition, dataset).write(dataset_folder(target))


if __name__ == "__main__":
    run(main, "[target]")
