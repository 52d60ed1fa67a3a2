"""Datasets whose library reads them image by image, by an image's position in a split."""

from pathlib import Path
from typing import Any

import numpy as np

from hrrl.common.names import composed
from hrrl.data.image_folder import Listed, NotHereError, note
from hrrl.data.sources import Paths
from hrrl.errors import UserError, reason

EVERY = 5  # of a dataset without a split of its own, one image of so many of a class is test


class ByPosition(Listed):
    """Images that are listed as ``<split>#<position>``; the dataset is its own store.

    One without a split of its own is cut in two: every fifth image of a class is test.

    Attributes:
        cut: whether it has no split of its own.
        numbers: of the classes in use, as the library counts them, ascending.
    """

    cut: bool
    splits = ["train", "test"]  # noqa: RUF012  a subclass may have others

    def __init__(self, root: Path, train: str = "train"):
        self.root, self.store = root, self
        self.opened: dict[str, Any] = {}  # by split
        train = train if train in self.splits else "train"
        names = self.names(train)
        # A published list can have a name without images, and images without a class are numbered -1.
        self.numbers = sorted({number for number in self.labels(train) if number >= 0})
        self.classes = [composed(str(names[y])) if 0 <= y < len(names) else str(y) for y in self.numbers]
        if self.cut:
            note(f"{self}: has no split of its own; every fifth image of a class is test")

    def names(self, train: str) -> list[Any]:
        """The names of the classes by their number, as far as the library has them."""
        raise NotImplementedError

    def labels(self, split: str) -> list[int]:
        """The number of each image's class, as the library counts them."""
        raise NotImplementedError

    def open(self, split: str) -> Any:
        """The library's object for a split; raises whatever it raises where its files are not there, or damaged."""
        raise NotImplementedError

    def content(self, image: Any) -> bytes:
        """An image's file, of what the library's object has at a position."""
        raise NotImplementedError

    def split(self, split: str) -> Any:
        """What :meth:`open` returned.

        Raises:
            NotHereError: the dataset is not there.
            UserError: it is, but not this split.
        """
        split = "train" if self.cut else split
        if split not in self.opened:
            try:
                self.opened[split] = self.open(split)
            except Exception as error:  # each has its own way to say so
                if self.opened:
                    raise UserError(f"{self}: {split}: {reason(error)}") from None
                raise NotHereError(reason(error)) from None
        return self.opened[split]

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        numbers = np.array(self.labels(split), int)
        known = np.isin(numbers, self.numbers)
        if not known.all():
            note(f"{self}: {split}: left out {(~known).sum()} images of no class, or of one that train does not have")
        positions, labels = np.flatnonzero(known), np.searchsorted(self.numbers, numbers[known])
        if self.cut:
            mine = (ranks(labels) % EVERY == EVERY - 1) == (split == "test")
            positions, labels = positions[mine], labels[mine]
        return Paths(f"{split}#{i}" for i in positions.tolist()), labels

    def read(self, path: str) -> bytes:
        """The content of an image's file.

        Raises:
            ValueError: the library cannot read it.
        """
        split, _, position = path.partition("#")
        try:
            return self.content(self.split(split)[int(position)])
        except Exception as error:  # each has its own way to read
            raise ValueError(f"cannot be read: {reason(error)}") from None

    def size(self, path: str) -> None:
        """Not known without reading."""


def ranks(labels: np.ndarray) -> np.ndarray:
    """(n,) the position of each image among those of its class."""
    order = np.argsort(labels, kind="stable")
    ranks = np.empty(len(labels), int)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return ranks
