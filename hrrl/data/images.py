"""What training and measuring ask of images, wherever they come from."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from hrrl.data.augment import Augment


class Labelled(Protocol):
    """Images with labels.

    Attributes:
        labels: (N,) int64.
        classes: names of the classes.
    """

    labels: torch.Tensor
    classes: list[str]

    def __len__(self) -> int: ...


class Images(Labelled, Protocol):
    """Images in their order, unchanged, as :class:`hrrl.data.loading.Source` gives them."""

    def eval_batches(
        self, batch_size: int, rank: int = 0, world: int = 1, rows: np.ndarray | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This process's images of all, or of ``rows``: (b, 3, S, S) uint8, and labels (b,) int64."""
        ...


class TrainingImages(Labelled, Protocol):
    """Images in batches that each epoch draws anew: :class:`hrrl.data.loading.Source`, or another cut of its epochs."""

    def steps(self, batch_size: int) -> int:
        """Batches per epoch."""
        ...

    def drawn_batches(
        self, batch_size: int, augment: Augment, seed: int, epoch: int, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[torch.Tensor, np.ndarray, int]]:
        """This process's part of each batch: (b, 3, S, S) uint8, their positions (b,), and the whole batch's size."""
        ...
