"""A penalty instead of a ball (Sinha, Namkoong, Duchi 2018)."""

import torch
from torch import nn

from hrrl.methods.constraints import Count, Positive
from hrrl.methods.input_gradient import input_gradient
from hrrl.methods.interfaces import Perturbation


class Wrm(Perturbation):
    """Ascent on l(x) - gamma/2 ||x - x0||^2 (Sinha, Namkoong, Duchi 2018, Alg. 1): the penalty form of the ball.

    Step t = 1, 2, ... has the rate 1 / (gamma sqrt(t)), as in the authors' code.

    Args:
        gamma: weight of the penalty, positive; Theorem 1's lambda_w.
        steps: number of ascent steps; the authors take 15.
    """

    label, symbols = "WRM", {"gamma": "γ"}

    def __init__(self, gamma: Positive, steps: Count = 15):
        self.gamma, self.steps = gamma, steps

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        moved = x.detach()
        for t in range(1, self.steps + 1):
            gradient = input_gradient(model, moved, y) - self.gamma * (moved - x)
            moved = moved + gradient / (self.gamma * t**0.5)
        return moved.detach()
