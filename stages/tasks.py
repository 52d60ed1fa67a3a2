"""What stages train and measure on: the benchmark's images with the concept of each class."""

from stages.inputs import open_data
from stages.paths import CONCEPTS, read_json


def benchmark_task(params, image_size: int):
    """The benchmark's images with the concept of each class."""
    import torch

    from hrrl.train.evaluation import Task

    concepts = read_json(CONCEPTS / "benchmark.json")
    train, test = (open_data(params, split, image_size) for split in ("train", "test"))
    return Task(train, test, torch.tensor(concepts["ids"]), concepts["names"])
