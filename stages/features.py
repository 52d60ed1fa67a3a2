"""Extracts the deep features of every target's images from one pretrained model, one .npz per target."""

from stages.common import run
from stages.inputs import open_data, start
from stages.paths import measured, model_folder

import numpy as np

from hrrl.common.files import replacing
from hrrl.train import models
from hrrl.transfer.features import features


def main(params, variant, seed):
    model, description = models.load(model_folder(variant, seed))
    with start(params) as runtime, replacing(measured("features", variant, seed)) as folder:
        folder.mkdir()
        for target in params.targets:
            arrays = {}
            for split in ("train", "test"):
                source = open_data(params, split, description["image_size"], target)
                arrays[f"{split}_x"] = features(model, source, runtime, f"{target} {split}")
                arrays[f"{split}_y"] = source.labels.numpy()
            np.savez(folder / f"{target}.npz", **arrays)


if __name__ == "__main__":
    run(main, "variant", "seed")
