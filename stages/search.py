"""Measures one point of the search with one tuning seed, without any test image of a target.

By cross-validation on the training part of every target, and on the benchmark's validation images as Figs. 4 and 5 do.
"""

from statistics import fmean

from stages.common import run
from stages.inputs import open_data, start
from stages.paths import measured, search_model, write_json
from stages.robustness import accuracies, measure
from stages.tasks import benchmark_task

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from hrrl.train import models
from hrrl.transfer import search, svm
from hrrl.transfer.features import features


def main(params, point, seed):
    folder, (tau, lam) = search_model(point, seed), search.parse(point)
    model, description = models.load(folder)
    [*_, last] = pd.read_csv(folder / "history.csv").to_dict("records")
    with start(params) as runtime:
        task = benchmark_task(params, description["image_size"])
        on_benchmark = accuracies(measure(params, runtime, model, task), task)
        targets = {}
        for target in params.targets:
            source = open_data(params, "train", description["image_size"], target)
            targets[target] = accuracy(params, runtime, model, source, target)
    loss = {name: last[key] for name in task.names if (key := f"loss_{name}") in last}
    result = {"tau": tau, "lam": lam, "seed": int(seed), "targets": targets, "benchmark": last["val_accuracy"]}
    write_json(measured("search", point, seed, ".json"), result | on_benchmark | {"loss": loss})


def accuracy(params, runtime, model, source, target) -> float:
    """Cross-validated accuracy (%) of the best C on features of the target's training part, mean over its draws."""
    settings, y = params.svm, source.labels.numpy()
    draws = svm.draws(y, settings.shots.get(target), settings.draws)
    drawn = np.unique(np.concatenate(draws))
    x = features(model, source, runtime, target, drawn)
    with threadpool_limits(params.compute.threads):
        return fmean(
            svm.cross_validate(
                x[np.searchsorted(drawn, rows)], y[rows], settings.C, settings.folds, i, settings.max_iter
            ).accuracy
            for i, rows in enumerate(draws)
        )


if __name__ == "__main__":
    run(main, "point", "seed")
