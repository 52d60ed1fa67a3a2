"""The method: a point on the example axis moves the images, a point on the concept axis weights their losses.

Algorithm 1 of the paper, one iteration: ``x~ = example(model, x, y)``; per-example losses l on x~; descend
``1/m sum_i w_i l_i`` with ``w = concept.weights(concepts, l)``; then ``concept.update(l, concepts)`` from the same l.
A variant is one point on each axis; the training loop knows no method by name.
"""

from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from hrrl.inputgrad import Changed, folded
from hrrl.simplex import project_simplex

# ---------------------------------------------------------------------------------------------- the example axis


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


def input_gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) gradient of each example's own cross-entropy with respect to its image, in evaluation mode."""
    x = x.detach().requires_grad_()
    with evaluation_mode(model), torch.enable_grad():
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


class Clean:
    """No perturbation: the example axis of ERM and CL."""

    def __call__(self, model, x, y):
        return x


class Gradient:
    """The paper's perturbation, :func:`perturb`: the example axis of EL and HRRL."""

    def __init__(self, tau: float):
        self.tau = tau

    def __call__(self, model, x, y):
        return perturb(model, x, y, self.tau)


# ---------------------------------------------------------------------------------------------- the concept axis


class Weighting:
    """No weighting: every example counts once. The concept axis of ERM and EL, and the base of the others.

    Args:
        counts: N_k, (K,) training images per concept, all positive.
    """

    def __init__(self, counts):
        counts = torch.as_tensor(counts, dtype=torch.float64)
        if counts.ndim != 1 or len(counts) == 0 or not (counts > 0).all():
            raise ValueError(f"counts must be K positive numbers of images, got {counts.tolist()}")
        self.share = counts / counts.sum()  # N_k / N
        self.q = self.share.clone()
        self.t = 0

    def weights(self, concepts: torch.Tensor, losses: torch.Tensor | None = None) -> torch.Tensor:
        """(B,) float64 weights of the examples' losses; ``concepts`` (B,) int64, ``losses`` (B,) detached."""
        # q / (N_k/N) is N/N_k q, and exactly 1 where q is the empirical distribution.
        return (self.q / self.share).to(concepts.device)[concepts]

    def update(self, losses: torch.Tensor, concepts: torch.Tensor) -> None:
        """One step of the weighting from (B,) detached losses; called once per optimizer step."""
        self.t += 1

    def state_dict(self) -> dict:
        return {"q": self.q.clone(), "t": self.t}

    def load_state_dict(self, state: dict) -> None:
        if state["q"].shape != self.q.shape:
            raise ValueError(f"state has {len(state['q'])} concepts, expected {len(self.q)}")
        self.q, self.t = state["q"].to(self.q).clone(), int(state["t"])


class ConceptDistribution(Weighting):
    """The adversarial distribution q over concepts, with the slow start of Algorithm 1 (Eqs. 5 and 6).

    Args:
        counts: N_k, (K,) training images per concept, all positive.
        lam: weight of the regulariser lam/2 ||q - q0||^2 (Eq. 4), positive.
        c: the first ``s`` learning rates are divided by it, positive (Theorem 3 asks for c > 1).
        s: number of slow steps, not negative.
        q0: (K,) reference distribution; by default the empirical one, N_k / N.
    Attributes:
        q: (K,) float64, the distribution; starts at q0.
        t: number of updates done. It counts optimizer steps over the whole run.
    """

    def __init__(self, counts, lam: float, c: float = 10.0, s: int = 1000, q0=None):
        super().__init__(counts)
        if not lam > 0:
            raise ValueError(f"lam must be positive (the learning rate is 1 / (lam t)), got {lam}")
        if not c > 0:
            raise ValueError(f"c must be positive, got {c}")
        if s < 0:
            raise ValueError(f"s counts steps and cannot be negative, got {s}")
        self.lam, self.c, self.s = lam, c, s
        self.q0 = self.share.clone() if q0 is None else _distribution(q0, len(self.share))
        self.q = self.q0.clone()

    def update(self, losses: torch.Tensor, concepts: torch.Tensor) -> None:
        """One step of Eq. 6, from the (B,) detached losses of the whole batch, over all processes.

        A concept that is absent from the batch adds 0 to the sum, which keeps the estimate unbiased.
        """
        self.t += 1
        eta = 1 / ((self.c if self.t <= self.s else 1) * self.lam * self.t)
        sums, m = concept_sums(losses, concepts, len(self.q))
        gradient = sums / m / self.share - self.lam * (self.q - self.q0)
        self.q = project_simplex(self.q + eta * gradient)


def concept_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> tuple[torch.Tensor, float]:
    """Sum of the losses per concept, (K,) float64 on the CPU, and the batch size m; both over all processes."""
    sums = torch.zeros(K + 1, dtype=torch.float64, device=losses.device)
    sums.index_add_(0, concepts, losses.detach().double())
    sums[K] = len(losses)
    sums = all_reduce(sums).cpu()
    return sums[:K], float(sums[K])


def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of ``tensor`` over all processes, in place; the tensor itself where there is one process."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def _distribution(q0, K: int) -> torch.Tensor:
    q0 = torch.as_tensor(q0, dtype=torch.float64)
    if q0.shape != (K,) or (q0 < 0).any() or abs(float(q0.sum()) - 1) > 1e-6:
        raise ValueError(f"q0 must be {K} shares that are not negative and sum to 1, got {q0.tolist()}")
    return q0.clone()
