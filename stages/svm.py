"""Scores the features of one pretrained model on every target with a linear SVM (Tables 2 to 4)."""

from dataclasses import asdict

from stages.common import run
from stages.paths import measured, write_json

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hrrl import fast
from hrrl.svm import evaluate


def main(params, variant, seed):
    fast.use(params.compute.fast)
    folder, scores = measured(params, "features", variant, seed), {}
    for target in tqdm(params.targets, desc="targets", leave=False):
        with np.load(folder / f"{target}.npz") as data:
            arrays = [data[name] for name in ("train_x", "train_y", "test_x", "test_y")]
        settings = params.svm
        with threadpool_limits(params.compute.threads):
            score = evaluate(*arrays, grid=settings.C, validation=settings.validation, max_iter=settings.max_iter)
        scores[target] = asdict(score)
    write_json(measured(params, "svm", variant, seed, ".json"), scores)


if __name__ == "__main__":
    run(main, "variant", "seed")
