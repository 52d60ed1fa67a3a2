"""Accuracy of one pretrained model on augmented validation images (Fig. 4) and per concept (Fig. 5), and smoothness."""

from stages.common import run
from stages.inputs import start
from stages.paths import measured, model_folder, write_json
from stages.tasks import benchmark_task

import numpy as np

from hrrl.common.files import replacing
from hrrl.train import models
from hrrl.transfer.robustness import correct_when_moved
from hrrl.transfer.smoothness import losses, smoothness, variance_factors


def main(params, variant, seed):
    model, description = models.load(model_folder(variant, seed))
    task = benchmark_task(params, description["image_size"])
    with start(params) as runtime:
        hits = measure(params, runtime, model, task)
        smooth = smoothness(model, task.test, runtime)
        image_losses = losses(model, task.test, runtime)
    write_json(measured("robustness", variant, seed, ".json"), accuracies(hits, task))
    concepts = task.test_concepts.numpy()
    packed = {f"{step:g}": np.packbits(right) for step, right in hits.items()}
    save("robustness", variant, seed, concepts=concepts.astype(np.int32), **packed)
    factors = variance_factors(image_losses, concepts, task.counts.numpy())
    save("smoothness", variant, seed, variance_factors=factors, **smooth)


def save(folder, variant, seed, **arrays) -> None:
    with replacing(measured(folder, variant, seed, ".npz")) as file, open(file, "wb") as content:
        np.savez(content, **arrays)


def measure(params, runtime, model, task) -> dict:
    """Step size -> which validation images are classified right; 0 is the first."""
    return correct_when_moved(model, task.test, runtime, [0.0, *(step for step in params.robustness.steps if step)])


def accuracies(hits, task) -> dict:
    """In percent: of all images at each step size, and of each concept that has any, on clean images."""
    ids = task.test_concepts.numpy()
    concepts = {name: share(hits[0.0][ids == k]) for k, name in enumerate(task.names) if (ids == k).any()}
    return {"steps": [{"step_size": s, "accuracy": share(right)} for s, right in hits.items()], "concepts": concepts}


def share(hits) -> float:
    return 100 * float(hits.sum()) / len(hits)


if __name__ == "__main__":
    run(main, "variant", "seed")
