"""Pictures of the benchmark, the targets, perturbations, what q weights, and neighbours in two models' features."""

from stages.common import run
from stages.inputs import open_data, start
from stages.paths import CONCEPTS, DATA, measured, model_folder, read_json, selected, write_json
from stages.tasks import benchmark_task

import numpy as np
import pandas as pd

from hrrl import methods
from hrrl.common.files import replacing
from hrrl.gallery import panels
from hrrl.train import models


def main(params):
    seed, baseline, headline = params.seeds[0], params.runs.svm[0], params.headline
    (model, description), (trained, _) = (models.load(model_folder(v, seed)) for v in (baseline, headline))
    with start(params) as runtime, replacing(DATA / "gallery") as folder:
        task, targets = sources(params, description["image_size"])
        points = panels.points({v: read_json(selected(v)) for v in params.runs.pretrain}, headline)
        moving = [(point, methods.example_axis(point)) for point in points]
        tests = {name: test for name, (_, test) in targets.items()}
        content = {
            "seed": seed,
            "baseline": baseline,
            "headline": headline,
            "concepts": panels.concepts(folder, task, seed),
            "datasets": panels.datasets(folder, task.test, tests, seed),
            "moves": panels.moves(folder, model, task, runtime, moving, seed),
            "neighbours": panels.neighbours(folder, targets, features(params, (baseline, headline), seed), seed),
        }
        if q := weighted(params, headline, seed, task.names):
            content["weights"] = panels.weights(folder, trained, task, runtime, q, seed)
        write_json(folder / "gallery.json", content)


def sources(params, size):
    """The benchmark's task, and for each target the sources of its training and test images; classes in words."""
    task = benchmark_task(params, size)
    targets = {t: tuple(open_data(params, split, size, t) for split in ("train", "test")) for t in params.targets}
    titles = read_json(CONCEPTS / "titles.json")
    for source in (task.train, task.test, *(source for pair in targets.values() for source in pair)):
        source.classes = [titles.get(name, name) for name in source.classes]
    return task, targets


def weighted(params, variant, seed, names) -> dict[str, float] | None:
    """The run's q after the last epoch, None for a variant whose q does not move."""
    point = read_json(selected(variant))["concept"] or {}
    if not any(methods.find("concept", method).adaptive for method in point):
        return None
    last = pd.read_csv(model_folder(variant, seed) / "history.csv").iloc[-1]
    return {name: float(last[f"q_{name}"]) for name in names}


def features(params, variants, seed) -> dict:
    """variant -> target -> the arrays of the stage ``features``."""
    folders = {variant: measured("features", variant, seed) for variant in variants}
    return {v: {t: np.load(folder / f"{t}.npz") for t in params.targets} for v, folder in folders.items()}


if __name__ == "__main__":
    run(main)
