"""Exponentiated gradient on group losses (Sagawa et al. 2020)."""

from typing import Any

import torch

from hrrl.methods.constraints import NonNegative, Positive
from hrrl.methods.interfaces import Counts, GroupWeighting


class GroupDro(GroupWeighting):
    """Group DRO (Sagawa et al. 2020, Alg. 1, as in the authors' code): exponentiated gradient on group mean losses.

    The objective of a batch is sum_k q_k (mean loss of concept k); q moves first, then weights the losses. A concept
    that is absent from the batch counts with a mean loss of 0: as there, it gets its adjustment, too.

    q is kept as logarithms: the exponential of eta times a loss can overflow, and a share of 0 would stay 0.

    Args:
        counts: N_k, (K,) training images per concept.
        eta: learning rate of q.
        adjustment: C of the generalisation adjustment C / sqrt(N_k), added to all group losses.
    """

    adaptive = True
    label, symbols, minor = "Group DRO", {"eta": "η"}, {"adjustment"}

    def __init__(self, counts: Counts, eta: Positive = 0.01, adjustment: NonNegative = 0.0):
        super().__init__(counts)
        self.eta = eta
        self.adjustment = adjustment / torch.as_tensor(counts, dtype=torch.float64).sqrt()
        self.q = torch.full_like(self.share, 1 / len(self.share))
        self.log_q = self.q.log()
        self.moved = self.log_q  # log q after the current batch

    def weights(self, concepts: torch.Tensor, losses: torch.Tensor | None = None) -> torch.Tensor:
        if losses is None:
            raise TypeError("group DRO weights concepts by their losses")
        sums, m = self._sums(losses, concepts)
        present, _ = self._sums(torch.ones_like(losses), concepts)
        means = (sums / present).masked_fill(present == 0, 0.0)
        self.moved = (self.log_q + self.eta * (means + self.adjustment)).log_softmax(0)
        # The trainer takes the mean over the batch: m / m_k turns it into a mean over each concept.
        return (self.moved.exp() * m / present)[concepts.long()]

    def update(self, losses: torch.Tensor, concepts: torch.Tensor) -> None:
        self.log_q = self._moved(self.log_q, self.moved)
        self.q = self.log_q.exp()
        self.t += 1

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"log_q": self.log_q.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.log_q = self.moved = state.get("log_q", self.q.log()).to(self.q).clone()
