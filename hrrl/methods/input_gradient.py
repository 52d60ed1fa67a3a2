"""The loss gradient of images (Theorem 2), for every method of the example axis that uses the model."""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn

from hrrl.common.model_utils import evaluation_mode, logits_of, unwrapped
from hrrl.fast import is_on
from hrrl.fast.folding import Changed, folded

HALF_SCALE = 2**8  # a scaled loss gradient's largest entry, where float16 has room on both sides


def input_gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) gradient of each example's own cross-entropy with respect to its image, in evaluation mode.

    Runs the model inside its wrappers: DDP would wait for gradients of its parameters, and there are none.
    Also under ``torch.no_grad`` and ``torch.inference_mode``, in which Lightning evaluates.

    Raises:
        TypeError: the images are no floats.
    """
    if not x.is_floating_point():
        raise TypeError(f"images have a gradient as floats in [0, 1] only, got {x.dtype}; divide by 255 first")
    model = unwrapped(model)
    with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(model):
        x, y = _recordable(x).detach().requires_grad_(), _recordable(y)
        y = y if y.is_floating_point() else y.long()  # PyTorch's loss takes no other integers
        if is_on():
            with contextlib.suppress(Changed), folded(model, x):
                return _summed_loss_gradient(model, x, y)
        return _summed_loss_gradient(model, x, y)


def _recordable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself; a copy of one made under ``torch.inference_mode``, which autograd cannot record."""
    return tensor.clone() if tensor.is_inference() else tensor


def _summed_loss_gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    logits = logits_of(model(x))
    if logits.dtype == torch.float16:
        return _half_gradient(logits, x, y)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x)[0]


def _half_gradient(logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The same through a pass in float16, where a confident prediction's gradient would underflow: each example's
    loss is scaled by a power of two on the way.
    """
    logits = logits.float()
    leaf = logits.detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(leaf, y, reduction="sum"), leaf)
    largest = error.abs().amax(1).clamp_min(1e-30)
    scale = torch.exp2(torch.log2(HALF_SCALE / largest).floor())
    (gradient,) = torch.autograd.grad(logits, x, error * scale.view(-1, 1))
    return gradient.float() / scale.view(-1, *[1] * (x.ndim - 1))


def normalised(g: torch.Tensor) -> torch.Tensor:
    """Each g[i] divided by its Frobenius norm, in float32 or better; a zero g[i] stays zero.

    Scaled by the largest entry first: squares of entries below 1e-19 would underflow in float32.
    """
    g, dims = g.to(torch.promote_types(g.dtype, torch.float32)), tuple(range(1, g.ndim))
    g = g / g.abs().amax(dims, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)
    return g / torch.linalg.vector_norm(g, dim=dims, keepdim=True).clamp_min(1e-12)
