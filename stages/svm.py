"""Scores the features of one pretrained model on every target with a linear SVM (Tables 2 to 4)."""

from dataclasses import asdict

from stages.common import run
from stages.paths import measured, write_json

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hrrl import fast
from hrrl.common.files import replacing
from hrrl.transfer import svm


def main(params, variant, seed):
    features, results = measured("features", variant, seed), {}
    with fast.switched(params.compute.fast), threadpool_limits(params.compute.threads):
        for target in tqdm(params.targets, desc="targets", leave=False):
            with np.load(features / f"{target}.npz") as data:
                results[target] = scores(params.svm, data, params.svm.shots.get(target))
    with replacing(measured("svm", variant, seed)) as folder:
        folder.mkdir()
        write_json(folder / "scores.json", {target: summary(draws) for target, draws in results.items()})
        hits = {target: np.mean([draw.hits for draw in draws], axis=0) for target, draws in results.items()}
        np.savez(folder / "hits.npz", **hits)


def scores(settings, data, shots: int | None) -> list[svm.Score]:
    """One score for each draw of the training images."""
    train_x, train_y, test_x, test_y = (data[name] for name in ("train_x", "train_y", "test_x", "test_y"))
    return [
        svm.evaluate(
            *(train_x[rows], train_y[rows], test_x, test_y),
            **{"grid": settings.C, "folds": settings.folds, "seed": i, "max_iter": settings.max_iter},
        )
        for i, rows in enumerate(svm.draws(train_y, shots, settings.draws))
    ]


def summary(draws: list[svm.Score]) -> dict:
    """Means over the draws, and what each chose and how its fits went."""
    rows = []
    for score in draws:
        choice = asdict(score.choice)
        row = {"accuracy": score.accuracy, "validation_accuracy": choice.pop("accuracy")}
        choice["converged"]["refit"] = score.converged
        rows.append(row | choice | {"n_train": score.n_train, "n_test": len(score.hits)})
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "validation_accuracy")}
    return {"accuracy": means["accuracy"], "validation": means["validation_accuracy"], "draws": rows}


if __name__ == "__main__":
    run(main, "variant", "seed")
