"""The paper's adversarial distribution over concepts: the concept axis of CL and HRRL (Eqs. 5 and 6)."""

import torch

from hrrl.methods.constraints import Natural, Positive, Shares
from hrrl.methods.interfaces import Counts, GroupWeighting
from hrrl.methods.simplex import project_simplex


class ConceptDistribution(GroupWeighting):
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

    In a loop of one's own, with a batch's (B,) int64 ``concepts`` and (B,) cross-entropies ``losses``: descend
    ``(q.weights(concepts).to(losses) * losses).mean()`` (Eq. 5), step the optimizer, then
    ``q.update(losses.detach(), concepts)`` (Eq. 6). Under DDP each process does so with its part of the batch, and q
    is the same in all of them. An optimizer step that an AMP scaler skips is none: leave out its update.

    >>> q = ConceptDistribution([60, 30, 10], lam=1.0, c=10.0, s=2)
    >>> concepts, losses = torch.tensor([0, 0, 1, 2]), torch.tensor([0.1, 0.3, 0.2, 2.0])
    >>> q.weights(concepts)
    tensor([1., 1., 1., 1.], dtype=torch.float64)
    >>> q.update(losses, concepts)
    >>> q.q  # the third concept's loss is high
    tensor([0.4389, 0.1389, 0.4222], dtype=torch.float64)
    >>> q.weights(concepts)
    tensor([0.7315, 0.7315, 0.4630, 4.2222], dtype=torch.float64)
    """

    adaptive = True
    label, symbols, minor = "CL", {"lam": "λ"}, {"c", "s"}

    def __init__(self, counts: Counts, lam: Positive, c: Positive = 10.0, s: Natural = 1000, q0: Shares | None = None):
        super().__init__(counts)
        if not 0 < lam < float("inf"):
            raise ValueError(f"lam must be positive (the learning rate is 1 / (lam t)), got {lam}")
        if not 0 < c < float("inf"):
            raise ValueError(f"c must be positive, got {c}")
        if not s >= 0:
            raise ValueError(f"s counts steps and cannot be negative, got {s}")
        self.lam, self.c, self.s = lam, c, s
        self.q0 = self.share.clone() if q0 is None else _distribution(q0, len(self.share))
        self.q = self.q0.clone()

    def gradient(self, terms: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """The stochastic gradient of Eq. 6 at q: ``1/m sum_{j in k} N/N_k l_j - lam (q_k - q0_k)``."""
        return terms - self.lam * (q - self.q0)

    def update(self, losses: torch.Tensor, concepts: torch.Tensor) -> None:
        """One step of Eq. 6, from the (B,) detached losses of the whole batch, over all processes.

        A concept that is absent from the batch adds 0 to the sum, which keeps the estimate unbiased.

        Raises:
            FloatingPointError: a loss is not finite; on a GPU, which does not wait, :meth:`check` and
                :meth:`state_dict` say so. This and the others leave q as it was.
            ValueError: the batch is empty, in all processes.
            IndexError: a concept is none of 0 to K - 1.
        """
        sums, m = self._sums(losses, concepts)
        if m.device.type == "cpu" and not m.numpy():
            raise ValueError("an empty batch has no losses that q could follow: leave its update out")
        self.ascend(sums / m / self.share)

    def ascend(self, terms: torch.Tensor) -> None:
        """One step of Eq. 6 from the (K,) float64 terms ``1/m sum_{j in k} N/N_k l_j``."""
        t = self.t + 1
        eta = 1 / ((self.c if t <= self.s else 1) * self.lam * t)
        moved = self._moved(self.q, self.q + eta * self.gradient(terms, self.q))
        self.q, self.t = project_simplex(moved), t


def _distribution(q0: Shares, K: int) -> torch.Tensor:
    shares = torch.as_tensor(q0, dtype=torch.float64)
    if shares.shape != (K,) or (shares < 0).any() or not abs(float(shares.sum()) - 1) <= 1e-6:
        raise ValueError(f"q0 must be {K} shares that are not negative and sum to 1, got {shares.tolist()}")
    return shares.clone()
