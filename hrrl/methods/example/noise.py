"""Noise of the perturbation's size: what its direction is worth."""

import torch
from torch import nn

from hrrl.methods.constraints import NonNegative
from hrrl.methods.input_gradient import normalised
from hrrl.methods.interfaces import Perturbation


class Noise(Perturbation):
    """Gaussian noise of L2 norm ``tau``: the size of the paper's perturbation without its direction (a control)."""

    label, symbols, off = "Noise", {"tau": "τ"}, {"tau": 0.0}

    def __init__(self, tau: NonNegative):
        self.tau = tau

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self.tau * normalised(torch.randn_like(x))
