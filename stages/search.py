"""Trains one point of the search with one tuning seed, and measures it without any test image.

By cross-validation on the training part of every target, and on the benchmark's validation images as Figs. 4 and 5 do.
"""

from statistics import fmean

from stages.common import run
from stages.inputs import open_data
from stages.paths import searched, write_json
from stages.pretrain import train
from stages.robustness import measure

from threadpoolctl import threadpool_limits

from hrrl import launch, search, svm
from hrrl.features import features


def main(params, point, seed):
    launch.join(params.launch)
    from hrrl import runtime

    tau, lam = search.parse(point)
    spec = search.spec((tau, lam), params.search.c, params.search.s)
    with runtime.start(params.compute) as here:
        training, checkpoint = train(params, here, spec, "search", point, int(seed))
        measured = measure(params, here, training.model, training.task)
        if here.writes:
            targets = {target: accuracy(params, here, training.model, target) for target in params.targets}
            last = training.history[-1]
            loss = {name: last[key] for name in training.task.names if (key := f"loss_{name}") in last}
            found = {"tau": tau, "lam": lam, "seed": int(seed), "targets": targets, "benchmark": last["val_accuracy"]}
            write_json(searched(params, point, seed), found | measured | {"loss": loss})
            checkpoint.clear()


def accuracy(params, here, model, target) -> float:
    """Cross-validated accuracy (%) of the best C on the target's training part, mean over its draws."""
    source = open_data(params, "train", params.pretrain.image_size, target)
    x, y, settings = features(model, source, here, target), source.labels.numpy(), params.svm
    with threadpool_limits(params.compute.threads):
        return fmean(
            svm.cross_validate(x[rows], y[rows], settings.C, settings.folds, i, settings.max_iter).accuracy
            for i, rows in enumerate(svm.draws(y, settings.shots.get(target), settings.draws))
        )


if __name__ == "__main__":
    run(main, "point", "seed")
