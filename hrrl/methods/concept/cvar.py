"""The worst fraction of examples, whatever their concept (Levy et al. 2020)."""

import torch

from hrrl.common.distributed import gather
from hrrl.methods.constraints import Fraction
from hrrl.methods.interfaces import Counts, GroupWeighting


class Cvar(GroupWeighting):
    """CVaR (Levy et al. 2020): the mean loss of the worst fraction ``alpha`` of the batch's examples.

    The worst alpha m examples weigh 1/alpha each, and the one at the border the remainder: weights sum to m.
    Ties are weighted in the order of the batch.
    """

    label, symbols, off = "CVaR", {"alpha": "α"}, {"alpha": 1.0}

    def __init__(self, counts: Counts, alpha: Fraction):
        super().__init__(counts)
        self.alpha = alpha

    def weights(self, concepts: torch.Tensor, losses: torch.Tensor | None = None) -> torch.Tensor:
        if losses is None:
            raise TypeError("CVaR weights examples by their losses")
        all_losses, own_part = gather(losses.double())
        rank = torch.empty_like(all_losses)
        order = all_losses.argsort(descending=True, stable=True)
        rank[order] = torch.arange(len(all_losses), dtype=rank.dtype, device=rank.device)
        return ((self.alpha * len(all_losses) - rank).clamp(0, 1) / self.alpha)[own_part]
