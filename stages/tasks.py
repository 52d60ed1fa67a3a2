"""What stages train and measure on: the benchmark's images with their concepts."""

from stages.inputs import open_data
from stages.paths import CONCEPTS, read_json


def benchmark_task(params, image_size: int):
    """The benchmark's images, each with the concept of its class or, where a file says so, its own."""
    import torch

    from hrrl.train.evaluation import GroupedData

    concepts = read_json(CONCEPTS / "benchmark.json")
    train, test = (open_data(params, split, image_size) for split in ("train", "test"))
    if "images" in concepts:
        image_concepts = (torch.tensor(concepts["images"][split]) for split in ("train", "test"))
        return GroupedData(train, test, *image_concepts, concepts["names"])
    return GroupedData.by_class(train, test, torch.tensor(concepts["ids"]), concepts["names"])
