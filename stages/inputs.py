"""What stages read images from: the benchmark and the targets as sources, with concepts."""

from stages.paths import concepts_folder, dataset_folder, read_json


def open_data(params, split: str, image_size: int, target: str | None = None):
    """A source of the images of a target, or (None) of the benchmark; ``split`` is train or test."""
    from hrrl.data import open_split

    root = params.datasets[target or params.benchmark].get("root")
    return open_split(dataset_folder(params, target), root, split, image_size, params.compute.workers)


def benchmark_task(params, image_size: int):
    """The benchmark's images with the concept of each class."""
    import torch

    from hrrl.evaluation import Task

    concepts = read_json(concepts_folder(params) / "benchmark.json")
    train, test = (open_data(params, split, image_size) for split in ("train", "test"))
    return Task(train, test, torch.tensor(concepts["ids"]), concepts["names"])
