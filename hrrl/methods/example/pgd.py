"""Several steps in a ball instead of one along the gradient (Madry et al. 2018)."""

import torch
from torch import nn

from hrrl.methods.constraints import Count, NonNegative, Positive
from hrrl.methods.input_gradient import input_gradient, normalised
from hrrl.methods.interfaces import Perturbation


class Pgd(Perturbation):
    """Projected gradient ascent in an L2 ball (Madry et al. 2018).

    The defaults are the setting of "Do Adversarially Robust ImageNet Models Transfer Better?" (Salman et al. 2020):
    3 steps of length 2/3 eps, from the image itself.

    Args:
        eps: radius of the ball around each image, in pixel units.
        steps: number of ascent steps.
        step_size: their length; None means 2/3 eps.
        random_start: begin at a uniformly random point of the ball instead of the image.
    """

    label, symbols, minor, off = "PGD", {"eps": "ε"}, {"step_size", "random_start"}, {"eps": 0.0}

    def __init__(
        self, eps: NonNegative, steps: Count = 3, step_size: Positive | None = None, random_start: bool = False
    ):
        self.eps, self.steps, self.random_start = eps, steps, random_start
        self.step_size = 2 / 3 * eps if step_size is None else step_size

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        moved = x.detach()
        if self.random_start:
            radius = torch.rand(len(x), 1, 1, 1, device=x.device) ** (1 / x[0].numel())  # uniform in the ball
            moved = x + self.eps * radius * normalised(torch.randn_like(x))
        for _ in range(self.steps):
            moved = moved + self.step_size * normalised(input_gradient(model, moved, y))
            moved = x + (moved - x).flatten(1).renorm(2, 0, self.eps).view_as(x)
        return moved.detach()
