"""The two axes of a variant, at their points without effect: ERM is neither moves the images nor weights the losses.

Algorithm 1 of the paper, one iteration: ``x~ = example(model, x, y)``; per-example losses l on x~; descend
``1/m sum_i w_i l_i`` with ``w = concept.weights(concepts, l)``; then ``concept.update(l, concepts)`` from the same l.
A variant is one point on each axis; the training loop knows no point by name. Points are in hrrl/methods/.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from hrrl.common.distributed import by_concept, concept_sums

NOT_FINITE = "the losses by concept are not finite; q stays as it was"
Counts = torch.Tensor | Sequence[float]  # N_k, (K,) training images per concept


class Perturbation:
    """No perturbation: the example axis of ERM and CL, and the base of the other points.

    Attributes:
        label: how tables and figures call the point.
        symbols: how they write its settings; one that is left out is written by its name.
        minor: settings that they leave out.
        off: settings with which a run is ERM's to the bit, where there are such.
    """

    label: ClassVar[str] = ""
    symbols: ClassVar[dict[str, str]] = {}
    minor: ClassVar[set[str]] = set()
    off: ClassVar[dict[str, Any] | None] = None

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) images to train on, from images in [0, 1] and (B,) int64 labels."""
        return x


class GroupWeighting:
    """No weighting: every example counts once. The concept axis of ERM and EL, and the base of the other points.

    q and all other state is on the device of the batch's concepts, in float64; on a GPU nothing waits for it.

    Args:
        counts: N_k, (K,) training images per concept, all positive.
    Attributes:
        adaptive: whether q moves with the losses; only such a q is worth a line in tables and plots.
        label, symbols, minor, off: as of :class:`Perturbation`.
    """

    adaptive: ClassVar[bool] = False
    label: ClassVar[str] = ""
    symbols: ClassVar[dict[str, str]] = {}
    minor: ClassVar[set[str]] = set()
    off: ClassVar[dict[str, Any] | None] = None

    def __init__(self, counts: Counts):
        counts = torch.as_tensor(counts, dtype=torch.float64)
        if counts.ndim != 1 or len(counts) == 0 or not ((counts > 0) & counts.isfinite()).all():
            raise ValueError(f"counts must be K positive numbers of images, got {counts.tolist()}")
        self.share = counts / counts.sum()  # N_k / N
        self.q = self.share.clone()
        self.t = 0
        self.lost = torch.zeros((), dtype=torch.bool)  # whether a step was not finite

    def to(self, device: torch.device) -> None:
        """Moves q and all other state to a device, as the first batch there would."""
        for name, value in list(vars(self).items()):
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.to(device))

    def weights(self, concepts: torch.Tensor, losses: torch.Tensor | None = None) -> torch.Tensor:
        """(B,) float64 weights of the examples' losses; ``concepts`` (B,) int64, ``losses`` (B,) detached.

        Raises:
            IndexError: a concept is none of 0 to K - 1; on a GPU, which does not wait, CUDA says so.
        """
        self._follow(concepts)
        # q / (N_k/N) is N/N_k q, and exactly 1 where q is the empirical distribution.
        weights = self.q / self.share
        return by_concept(lambda indices: weights.index_select(0, indices), concepts, len(weights))

    def gradient(self, terms: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """The gradient of a step's objective in q, (..., K) float64: ``terms`` where nothing regularises q.

        ``terms`` are ``1/m sum_{j in k} N/N_k l_j`` of each concept k, the first part of Eq. 6, and ``q`` is the
        distribution at which the gradient is taken; both (..., K) float64.
        """
        return terms

    def update(self, losses: torch.Tensor, concepts: torch.Tensor) -> None:
        """One step of the weighting from (B,) detached losses; called once per optimizer step."""
        self.t += 1

    def check(self) -> None:
        """Checks that all steps so far were finite; for a q on a GPU nothing else does.

        Raises:
            FloatingPointError: one was not; q stayed as it was.
        """
        if self.lost:
            raise FloatingPointError(NOT_FINITE)

    def _follow(self, concepts: torch.Tensor) -> None:
        if self.q.device != concepts.device:
            self.to(concepts.device)

    def _sums(self, losses: torch.Tensor, concepts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The (K,) sums of a batch's losses by concept, and its size, over all processes; q is on their device now."""
        self._follow(concepts)
        return concept_sums(losses, concepts, len(self.q))

    def _moved(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """``new``, or ``old`` if any of ``new`` is not finite: q would never recover.

        Raises:
            FloatingPointError: it is not; raised here on the CPU, and on a GPU, which does not wait, by :meth:`check`.
        """
        if new.device.type != "cpu":
            return self._finite_or(old, new)
        if not np.isfinite(new.numpy()).all():
            raise FloatingPointError(NOT_FINITE)
        return new

    def _finite_or(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """The same on any device, without a wait and without an error."""
        finite = new.isfinite().all()
        self.lost = self.lost | ~finite
        return torch.where(finite, new, old)

    def state_dict(self) -> dict[str, Any]:
        self.check()
        return {"q": self.q.clone(), "t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["q"].shape != self.q.shape:
            raise ValueError(f"state has {len(state['q'])} concepts, expected {len(self.q)}")
        self.q, self.t = state["q"].to(self.q).clone(), int(state["t"])
