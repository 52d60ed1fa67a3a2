"""Which images a model classifies right, as they are and moved along its own loss gradient (Figs. 4 and 5)."""

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from hrrl.data.loading import Source
from hrrl.methods.example.gradient import Gradient
from hrrl.methods.interfaces import Perturbation
from hrrl.train.models import Classifier
from hrrl.train.runtime import Runtime

BATCH = 256


@torch.no_grad()
def correct(
    model: nn.Module, images: Source, runtime: Runtime, batch_size: int = BATCH, example: Perturbation | None = None
) -> np.ndarray:
    """(n,) bool in the manifest's order: whether each image is classified right, by this process alone.

    With ``example``, on images moved by it: the model attacks its own images.

    Raises:
        FloatingPointError: the model's outputs are not finite.
    """
    model.eval()
    hits = []
    for batch, labels in images.eval_batches(batch_size):
        x, y = runtime.images(batch), labels.to(runtime.device)
        with runtime.autocast():
            logits = model(example(model, x, y) if example else x).float()
        if not logits.isfinite().all():
            raise FloatingPointError(
                "the outputs on the held-out images are not finite: the network has diverged, or images are moved "
                "further than compute.precision can tell; lower lr or the length of the step"
            )
        hits.append((logits.argmax(1) == y).cpu())
    return torch.cat(hits).numpy() if hits else np.empty(0, bool)


def correct_when_moved(
    model: Classifier, images: Source, runtime: Runtime, steps: list[float]
) -> dict[float, np.ndarray]:
    """Step size -> (n,) bool: whether each image is classified right after a step along its loss gradient (Fig. 4).

    Step size 0 leaves the images as they are.
    """
    runtime.to_device(model)
    bar = tqdm(steps, desc="step sizes", leave=False)
    return {step: correct(model, images, runtime, example=Gradient(step)) for step in bar}
