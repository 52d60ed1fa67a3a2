"""The loss gradient of images (Theorem 2), which every method of the example axis that asks the model goes by."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from hrrl.fast import is_on
from hrrl.fast.folding import Changed, folded


def input_gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) gradient of each example's own cross-entropy with respect to its image, in evaluation mode."""
    x = x.detach().requires_grad_()
    with evaluation_mode(model), torch.enable_grad():
        if not is_on():
            return _summed_loss_gradient(model, x, y)
        try:
            with folded(model, x):
                return _summed_loss_gradient(model, x, y)
        except Changed:
            return _summed_loss_gradient(model, x, y)


def _summed_loss_gradient(model, x, y):
    logits = model(x)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x)[0]


def normalised(g: torch.Tensor) -> torch.Tensor:
    """Each g[i] divided by its Frobenius norm, in float32 or better; a zero g[i] stays zero.

    Scaled by the largest entry first: squares of gradients below 1e-19 would vanish in float32.
    """
    g, dims = g.to(torch.promote_types(g.dtype, torch.float32)), tuple(range(1, g.ndim))
    g = g / g.abs().amax(dims, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)
    return g / torch.linalg.vector_norm(g, dim=dims, keepdim=True).clamp_min(1e-12)


@contextmanager
def evaluation_mode(model: nn.Module):
    """``model.eval()`` inside; afterwards each module has the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training
