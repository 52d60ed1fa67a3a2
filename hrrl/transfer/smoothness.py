"""What Theorems 1 and 2 assume, and what Section 3.3 says of q's gradient, measured on a trained model."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hrrl.data.loading import Source
from hrrl.methods.input_gradient import input_gradient, normalised
from hrrl.train.runtime import Runtime

IMAGES = 256  # at even distances in the manifest, so of every class
ITERATIONS = 6  # of the power method; what it finds changes by a few percent after four
RADIUS = 0.1  # L2, in pixel units: a step that images are moved by
BATCH = 256


@torch.no_grad()
def smoothness(model: nn.Module, images: Source, runtime: Runtime, radius: float = RADIUS) -> dict[str, np.ndarray]:
    """For up to IMAGES images, (n,) each: the norm of the loss gradient in x, and a lower bound of L_x at the image.

    ``gradient``: ||g_i||. ``L``: the largest ||g(x') - g(x_i)|| / ||x' - x_i|| that the power method finds at distance
    ``radius``, beginning along g_i; Definition 1 asks for an L_x that is no smaller anywhere. In float32.
    """
    rows, norms = np.unique(np.linspace(0, len(images) - 1, IMAGES).astype(int)), []
    runtime.to_device(model).eval()
    for batch, labels in images.eval_batches(BATCH, rows=rows):
        x, y = runtime.images(batch), labels.to(runtime.device)
        g = input_gradient(model, x, y)
        direction, largest = normalised(g), torch.zeros(len(x), device=x.device)
        for _ in range(ITERATIONS):
            change = (input_gradient(model, x + radius * direction, y) - g) / radius
            largest = torch.maximum(largest, change.flatten(1).norm(dim=1))
            direction = normalised(change)
        norms.append(torch.stack([g.flatten(1).norm(dim=1), largest]).cpu())
    gradient, L = torch.cat(norms, 1).double().numpy()
    return {"gradient": gradient, "L": L}


@torch.no_grad()
def losses(model: nn.Module, images: Source, runtime: Runtime) -> np.ndarray:
    """(n,) cross-entropy of each image, in the manifest's order."""
    runtime.to_device(model).eval()
    batch_losses = []
    for batch, labels in images.eval_batches(BATCH):
        with runtime.autocast():
            logits = model(runtime.images(batch)).float()
        batch_losses.append(F.cross_entropy(logits, labels.to(runtime.device), reduction="none").double().cpu())
    return torch.cat(batch_losses).numpy()


def variance_factors(losses: np.ndarray, concepts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(K,): the variance of a term of q's gradient (Eq. 6), in multiples of what images of its concept alone have.

    The sum over a uniform batch of m images, 1/m sum_{j in k} N/N_k l_j, has the variance
    (N/N_k E[l^2] - E[l]^2) / m, with the mean over concept k; the mean of m images of the concept has Var[l] / m.
    Section 3.3 finds N/N_k for an indicator in the place of the loss. NaN where a concept's losses do not vary.

    Args:
        losses, concepts: (n,) of held-out images.
        counts: (K,) training images of each concept.
    """
    factors = np.full(len(counts), np.nan)
    for k in np.unique(concepts):
        members = losses[concepts == k]
        if members.var() > 0:
            factors[k] = (counts.sum() / counts[k] * np.mean(members**2) - members.mean() ** 2) / members.var()
    return factors
