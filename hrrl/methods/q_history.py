"""Records each step's quantities of Theorem 3: q, the concepts' losses that move it, and the norm of its gradient."""

import numpy as np
import torch

from hrrl.common.distributed import all_reduce, batch_sums
from hrrl.methods.interfaces import GroupWeighting


class QHistory:
    """The record of a run: for each of its T steps, the inputs of Eq. 6.

    A row of ``terms`` is ``1/m sum_{j in k} N/N_k l_j`` for each concept k, from the losses that weight the model's
    step (on x~); the same row of ``q`` is the distribution before the step's update. With both, the regret of Theorem 3
    can be computed, and other learning rates of q replayed on the same losses.

    Steps are recorded on the device of the losses and q, without a wait: once an epoch, sums are taken over the
    processes and all is moved to the CPU.

    Attributes:
        epochs: {"terms", "q"} of each closed epoch, (steps, K) float64 each.
    """

    def __init__(self, weighting: GroupWeighting):
        self.weighting = weighting
        self.epochs: list[dict[str, torch.Tensor]] = []
        self.sums: list[torch.Tensor] = []  # of the current epoch, as is q
        self.q: list[torch.Tensor] = []

    def record(self, losses: torch.Tensor, concepts: torch.Tensor) -> None:
        """A step's (b,) detached losses and concepts in this process; call it before q is updated with them."""
        self.sums.append(batch_sums(losses, concepts, len(self.weighting.q)))
        self.q.append(self.weighting.q.clone())

    def close_epoch(self) -> dict[str, float]:
        """Ends an epoch; returns the mean and the largest norm of q's stochastic gradient in its steps (Eq. 6)."""
        if not self.sums:  # a scaler can skip every step of an epoch
            empty = torch.empty(0, len(self.weighting.q), dtype=torch.float64)
            self.epochs.append({"terms": empty, "q": empty})
            return {}
        sums, q = all_reduce(torch.stack(self.sums)), torch.stack(self.q)
        terms = sums[:, :-1] / sums[:, -1:] / self.weighting.share
        self.epochs.append({"terms": terms.cpu(), "q": q.cpu()})
        self.sums, self.q = [], []
        norms = self.weighting.gradient(terms, q).norm(dim=1)
        return {"q_gradient_mean": float(norms.mean()), "q_gradient_max": float(norms.max())}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The current epoch in this process; empty before its first step."""
        return {name: torch.stack(rows).cpu() for name, rows in (("sums", self.sums), ("q", self.q)) if rows}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        device = self.weighting.q.device
        self.sums, self.q = ([*state[name].to(device)] if state else [] for name in ("sums", "q"))

    def arrays(self) -> dict[str, np.ndarray]:
        """``terms`` and ``q`` of all closed epochs, (T, K) float64 each."""
        return {name: torch.cat([epoch[name] for epoch in self.epochs]).numpy() for name in ("terms", "q")}
