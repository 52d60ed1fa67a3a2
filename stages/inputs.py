"""Where stages read images from: the benchmark and the targets as sources."""

from stages.common import this_machine
from stages.paths import dataset_folder


def open_data(params, split: str, image_size: int, target: str | None = None):
    """A source of the images of a target, or (None) of the benchmark; ``split`` is train or test."""
    from hrrl.data.loading import open_split

    root = params.datasets[target or params.benchmark].get("root")
    return open_split(dataset_folder(target), root, split, image_size, this_machine().workers)
