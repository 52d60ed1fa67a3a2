"""Where stages read images from, those of the benchmark and the targets, and where they compute."""

import os

from stages import place
from stages.common import typed
from stages.paths import dataset_folder

from hrrl.train import launch


def open_data(params, split: str, image_size: int, target: str | None = None):
    """A source of the images of a target, or (None) of the benchmark; ``split`` is train or test."""
    from hrrl.data.loading import open_split

    root = params.datasets[target or params.benchmark].get("root")
    return open_split(dataset_folder(target), root, split, image_size, _machine().workers)


def start(params, several: bool = False):
    """A context in which torch computes as params.yaml says; yields hrrl.train.runtime.Runtime.

    Args:
        several: whether in all processes of the section ``launch``; then this program restarts as one of them.
    """
    if several:
        launch.join(typed(launch.Launch, params.launch), _machine())
    from hrrl.train import runtime  # in the processes that compute, not in the one that launches them

    return runtime.start(typed(runtime.Compute, params.compute))


def _machine():
    """machine.yaml, for the stage that runs."""
    return place.settings(place.stage_of(os.environ.get("DVC_STAGE", "")))
