"""Fixed weights: what balance alone is worth."""

import torch

from hrrl.methods.interfaces import Counts, GroupWeighting


class Balanced(GroupWeighting):
    """Every concept counts the same, q_k = 1/K for good: weights proportional to 1/N_k (a control: nothing adapts)."""

    label = "Balanced"

    def __init__(self, counts: Counts):
        super().__init__(counts)
        self.q = torch.full_like(self.share, 1 / len(self.share))
