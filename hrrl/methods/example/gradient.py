"""The paper's perturbation: the example axis of EL and HRRL (Theorem 2)."""

from collections.abc import Sequence

import torch
from torch import nn

from hrrl.methods.constraints import NonNegative
from hrrl.methods.input_gradient import input_gradient, normalised
from hrrl.methods.interfaces import Perturbation

Channels = Sequence[float] | torch.Tensor | float


def perturb(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    tau: float,
    *,
    mean: Channels | None = None,
    std: Channels | None = None,
) -> torch.Tensor:
    """Moves each image by ``tau`` along its normalised loss gradient: x~ = x + tau g / ||g||_F (Theorem 2).

    g_i is the gradient of example i's own cross-entropy; one backward pass of the summed loss gives all of them,
    because batch norm runs on its running statistics and so keeps examples apart. Parameters receive no gradient,
    and buffers and modes are left as they were. A zero gradient leaves its image as it is.

    Where images are normalised before the model sees them, x = (p - mean) / std of the pixels p, give ``mean`` and
    ``std``: g is then the gradient with respect to p, and the step, tau g / ||g||_F / std in x, still has the length
    tau in pixel units. Without them it has the length tau in normalised units, which are std times as long: with
    ImageNet's std, tau = 0.5 then moves the pixels by some 0.11.

    Args:
        model: classifier that takes such images and returns logits (B, C), or an output with a field ``logits``. DDP
            and torch.compile around it are looked through, so the pass waits for no other process. Its mode and the
            forward of its layers are others during the pass: no other thread may use it then.
        x: (B, 3, H, W) images in [0, 1], or normalised ones. Keep them in float32, also under autocast: bfloat16 is
            too coarse for the step.
        y: (B,) int64 labels.
        tau: L2 length of the step, in pixel units (an image has 3HW of them, each in [0, 1]).
        mean, std: of the normalisation outside of the model, a number per channel, e.g. (0.229, 0.224, 0.225). The
            step does not depend on the mean, which therefore takes ``std`` beside it.
    Returns:
        (B, 3, H, W) images of the dtype of ``x``, detached; not clamped to [0, 1].
    Raises:
        ValueError: ``tau`` is negative; ``std`` is not a positive number for each channel; ``mean`` comes without it.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    >>> x, y = torch.rand(4, 3, 8, 8), torch.tensor([1, 0, 3, 9])
    >>> moved = perturb(model, x, y, tau=0.5)
    >>> [round(float(length), 4) for length in (moved - x).flatten(1).norm(dim=1)]
    [0.5, 0.5, 0.5, 0.5]
    """
    if tau < 0:
        raise ValueError(f"tau is the length of the step and cannot be negative, got {tau}")
    if mean is not None and std is None:
        raise ValueError("mean comes without std, which decides the length of the step in pixel units; give both")
    if tau == 0:
        return x.detach()
    gradient = input_gradient(model, x, y)
    if std is None:
        return x.detach() + tau * normalised(gradient).to(x.dtype)
    channel_std = _per_channel(std, gradient)
    return x.detach() + (tau * normalised(gradient / channel_std) / channel_std).to(x.dtype)


def _per_channel(std: Channels, gradient: torch.Tensor) -> torch.Tensor:
    """``std`` as (C, 1, 1) on the gradient's device, in its dtype or better."""
    values = torch.as_tensor(std, dtype=torch.float64, device="cpu").flatten()
    if len(values) not in (1, gradient.shape[1]) or not (values > 0).all():
        raise ValueError(f"std takes a positive number for each of {gradient.shape[1]} channels, got {values.tolist()}")
    return values.view(-1, 1, 1).to(gradient.device, torch.promote_types(gradient.dtype, torch.float32))


class Gradient(Perturbation):
    """One step of length ``tau`` along each image's normalised loss gradient: :func:`perturb`."""

    label, symbols, off = "EL", {"tau": "τ"}, {"tau": 0.0}

    def __init__(self, tau: NonNegative):
        self.tau = tau

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return perturb(model, x, y, self.tau)
