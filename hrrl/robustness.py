"""Accuracy on images that are moved along the model's own loss gradient (Fig. 4)."""

from typing import Any

from tqdm import tqdm

from hrrl.evaluation import Task, evaluate
from hrrl.methods.example.gradient import Gradient
from hrrl.models import Classifier
from hrrl.runtime import Runtime

BATCH = 256


def augmented_accuracy(model: Classifier, task: Task, runtime: Runtime, steps: list[float]) -> list[dict[str, Any]]:
    """Accuracy on the validation images, each moved by a step size along its loss gradient (Fig. 4).

    The model attacks its own images; step size 0 leaves them as they are.

    Returns:
        One row per step size, as :func:`hrrl.evaluation.evaluate` gives it.
    """
    runtime.place(model)
    bar = tqdm(steps, desc="step sizes", leave=False)
    return [{"step_size": step} | evaluate(model, task, runtime, BATCH, Gradient(step)) for step in bar]
