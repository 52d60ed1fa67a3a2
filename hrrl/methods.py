"""The methods to choose from on each axis: the paper's (hrrl.objective), and those that it is compared with.

A method on the example axis is called with (model, x, y) and returns the images to train on. A method on the concept
axis is a :class:`hrrl.objective.Weighting`. docs/add-a-method.md shows how to add one.
"""

import torch
import torch.distributed as dist

from hrrl.objective import (
    Clean,
    ConceptDistribution,
    Gradient,
    Weighting,
    all_reduce,
    concept_sums,
    input_gradient,
    normalised,
)

# ---------------------------------------------------------------------------------------------- the example axis


class Noise:
    """Gaussian noise of L2 norm ``tau``: the size of the paper's perturbation without its direction (a control)."""

    def __init__(self, tau: float):
        self.tau = tau

    def __call__(self, model, x, y):
        return x + self.tau * normalised(torch.randn_like(x))


class Pgd:
    """Projected gradient ascent in an L2 ball (Madry et al. 2018).

    The defaults are the setting of "Do Adversarially Robust ImageNet Models Transfer Better?" (Salman et al. 2020):
    3 steps of length 2/3 eps, from the image itself.

    Args:
        eps: radius of the ball around each image, in pixel units.
        steps: number of ascent steps.
        step_size: their length; None means 2/3 eps.
        random_start: begin at a uniformly random point of the ball instead of the image.
    """

    def __init__(self, eps: float, steps: int = 3, step_size: float | None = None, random_start: bool = False):
        self.eps, self.steps, self.random_start = eps, steps, random_start
        self.step_size = 2 / 3 * eps if step_size is None else step_size

    def __call__(self, model, x, y):
        moved = x.detach()
        if self.random_start:
            radius = torch.rand(len(x), 1, 1, 1, device=x.device) ** (1 / x[0].numel())  # uniform in the ball
            moved = x + self.eps * radius * normalised(torch.randn_like(x))
        for _ in range(self.steps):
            moved = moved + self.step_size * normalised(input_gradient(model, moved, y))
            moved = x + (moved - x).flatten(1).renorm(2, 0, self.eps).view_as(x)
        return moved.detach()


class Wrm:
    """Ascent on l(x) - gamma/2 ||x - x0||^2 (Sinha, Namkoong, Duchi 2018, Alg. 1): the penalty form of the ball.

    Step t = 1, 2, ... has the rate 1 / (gamma sqrt(t)), as in the authors' code.

    Args:
        gamma: weight of the penalty, positive; Theorem 1's lambda_w.
        steps: number of ascent steps; the authors take 15.
    """

    def __init__(self, gamma: float, steps: int = 15):
        self.gamma, self.steps = gamma, steps

    def __call__(self, model, x, y):
        moved = x.detach()
        for t in range(1, self.steps + 1):
            gradient = input_gradient(model, moved, y) - self.gamma * (moved - x)
            moved = moved + gradient / (self.gamma * t**0.5)
        return moved.detach()


# ---------------------------------------------------------------------------------------------- the concept axis


class Balanced(Weighting):
    """Every concept counts the same, q_k = 1/K for good: weights proportional to 1/N_k (a control: nothing adapts)."""

    def __init__(self, counts):
        super().__init__(counts)
        self.q = torch.full_like(self.share, 1 / len(self.share))


class GroupDro(Weighting):
    """Group DRO (Sagawa et al. 2020, Alg. 1, as in the authors' code): exponentiated gradient on group mean losses.

    The objective of a batch is sum_k q_k (mean loss of concept k); q moves first, then weights the losses. A concept
    that is absent from the batch is left alone, up to the normalisation of q, and adds nothing.

    Args:
        counts: N_k, (K,) training images per concept.
        eta: learning rate of q.
        adjustment: C of the generalisation adjustment C / sqrt(N_k), added to the group losses.
    """

    def __init__(self, counts, eta: float = 0.01, adjustment: float = 0.0):
        super().__init__(counts)
        self.eta = eta
        self.adjustment = adjustment / torch.as_tensor(counts, dtype=torch.float64).sqrt()
        self.q = torch.full_like(self.share, 1 / len(self.share))

    def weights(self, concepts, losses=None):
        sums, m = concept_sums(losses, concepts, len(self.q))
        present, _ = concept_sums(torch.ones_like(losses), concepts, len(self.q))
        means = torch.where(present > 0, sums / present + self.adjustment, 0.0)
        moved = self.q * torch.exp(self.eta * means)
        self.moved = moved / moved.sum()
        # The trainer takes the mean over the batch: m / m_k turns it into a mean over each concept.
        return (self.moved * m / present).to(concepts.device)[concepts]

    def update(self, losses, concepts):
        self.t += 1
        self.q = self.moved


class Cvar(Weighting):
    """CVaR (Levy et al. 2020): the mean loss of the worst fraction ``alpha`` of the batch's examples.

    The worst alpha m examples weigh 1/alpha each, and the one at the border what is left, so that weights sum to m.
    Ties are weighted in the order of the batch.
    """

    def __init__(self, counts, alpha: float):
        super().__init__(counts)
        self.alpha = alpha

    def weights(self, concepts, losses=None):
        everyone, mine = gather(losses.double())
        rank = torch.empty_like(everyone)
        order = everyone.argsort(descending=True, stable=True)
        rank[order] = torch.arange(len(everyone), dtype=rank.dtype, device=rank.device)
        return ((self.alpha * len(everyone) - rank).clamp(0, 1) / self.alpha)[mine]


def gather(values: torch.Tensor) -> tuple[torch.Tensor, slice]:
    """The (b,) values of all processes in one tensor, in the order of their ranks, and where this process's are."""
    if not (dist.is_available() and dist.is_initialized()):
        return values, slice(0, len(values))
    sizes = torch.zeros(dist.get_world_size(), dtype=torch.long, device=values.device)
    sizes[dist.get_rank()] = len(values)
    ends = all_reduce(sizes).cumsum(0).tolist()
    mine = slice(ends[dist.get_rank()] - len(values), ends[dist.get_rank()])
    everyone = values.new_zeros(ends[-1])
    everyone[mine] = values
    return all_reduce(everyone), mine


# ---------------------------------------------------------------------------------------------- variants

EXAMPLE_AXIS = {"gradient": Gradient, "pgd": Pgd, "wrm": Wrm, "noise": Noise}
CONCEPT_AXIS = {"hrrl": ConceptDistribution, "group_dro": GroupDro, "cvar": Cvar, "balanced": Balanced}


def example_axis(point: dict | None):
    """The point of the example axis that params name, e.g. ``{"gradient": {"tau": 0.5}}``; None: no perturbation."""
    if point is None:
        return Clean()
    [(name, settings)] = point.items()
    return EXAMPLE_AXIS[name](**settings)


def concept_axis(point: dict | None, counts) -> Weighting:
    """The point of the concept axis that params name, e.g. ``{"hrrl": {"lam": 1.0}}``; None: no weighting."""
    if point is None:
        return Weighting(counts)
    [(name, settings)] = point.items()
    return CONCEPT_AXIS[name](counts, **settings)
