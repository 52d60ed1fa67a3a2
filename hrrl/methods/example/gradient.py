"""The paper's perturbation: the example axis of EL and HRRL (Theorem 2)."""

import torch
from torch import nn

from hrrl.axes import Perturbation
from hrrl.bounds import NonNegative
from hrrl.input_gradient import input_gradient, normalised


def perturb(model: nn.Module, x: torch.Tensor, y: torch.Tensor, tau: float) -> torch.Tensor:
    """Moves each image by ``tau`` along its normalised loss gradient: x~ = x + tau g / ||g||_F (Theorem 2).

    g_i is the gradient of example i's own cross-entropy; one backward pass of the summed loss gives all of them,
    because batch norm runs on its running statistics and so keeps examples apart. Parameters receive no gradient,
    and buffers and modes are left as they were. A zero gradient leaves its image as it is.

    Args:
        model: classifier that takes images in [0, 1] and returns logits (B, C).
        x: (B, 3, H, W) images in [0, 1].
        y: (B,) int64 labels.
        tau: L2 length of the step, in pixel units (an image has 3HW of them, each in [0, 1]).
    Returns:
        (B, 3, H, W) images of the dtype of ``x``, detached; not clamped to [0, 1].
    Raises:
        ValueError: ``tau`` is negative.
    """
    if tau < 0:
        raise ValueError(f"tau is the length of the step and cannot be negative, got {tau}")
    if tau == 0:
        return x.detach()
    return x.detach() + tau * normalised(input_gradient(model, x, y)).to(x.dtype)


class Gradient(Perturbation):
    """One step of length ``tau`` along each image's normalised loss gradient: :func:`perturb`."""

    label, symbols, off = "EL", {"tau": "τ"}, {"tau": 0.0}

    def __init__(self, tau: NonNegative):
        self.tau = tau

    def __call__(self, model, x, y):
        return perturb(model, x, y, self.tau)
