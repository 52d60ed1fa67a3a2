"""Finds a dataset (or downloads it), checks it and lists its images: data/<name>/benchmark or targets/<target>."""

from types import SimpleNamespace

from common import run
from paths import dataset_folder, read_json, resolved


def main(params, role, dataset):
    from hrrl.datasets.manifest import prepare

    definition = SimpleNamespace(**read_json(resolved(params, "datasets", dataset)))
    prepare(definition, dataset).write(dataset_folder(params, dataset if role == "target" else None))


if __name__ == "__main__":
    run(main, "role", "dataset")
