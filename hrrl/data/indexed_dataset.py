"""Datasets whose library reads them image by image, by an image's position in a split."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hrrl.common.names import composed
from hrrl.data.image_folder import DatasetReader, NotHereError
from hrrl.data.sources import HIDDEN, Paths
from hrrl.errors import UserError, note, reason

EVERY = 5  # without a published split, every EVERY-th image of a class is test


class IndexedDataset(DatasetReader):
    """Images that are listed as ``<split>#<position>``; the dataset is its own store.

    One without a split of its own is cut in two: every fifth image of a class is test.

    Attributes:
        cut: whether it has no split of its own.
    """

    cut: bool
    splits = ["train", "test"]  # noqa: RUF012  a subclass may have others

    def __init__(self, root: Path, train: str = "train"):
        self.root, self.store = root, self
        self.opened: dict[str, Any] = {}  # by split
        train = train if train in self.splits else "train"
        # A published list can have a name without images, and a library take hidden folders for classes.
        names = self._names_by_number(train, set(self.labels(train))).values()
        self.classes = [name for name in names if not name.startswith(HIDDEN)]
        if self.cut:
            note(f"{self}: has no split of its own; every fifth image of a class is test")

    def names(self, split: str) -> list[Any]:
        """The names of the classes by their number in a split; may be fewer than there are classes."""
        raise NotImplementedError

    def labels(self, split: str) -> list[int]:
        """The number of each image's class, as the library numbers classes in a split; -1 for none."""
        raise NotImplementedError

    def _names_by_number(self, split: str, numbers: Iterable[int]) -> dict[int, str]:
        """Class names by their numbers, ascending; where the library has no name, the number is the name."""
        names = self.names(split)
        return {y: composed(str(names[y])) if y < len(names) else str(y) for y in sorted(numbers) if y >= 0}

    def open(self, split: str) -> Any:
        """The library's object for a split; raises whatever it raises where its files are not there, or damaged."""
        raise NotImplementedError

    def content(self, image: Any) -> bytes:
        """An image's file, from the item of the library's object."""
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
            except Exception as error:  # each library raises its own
                if self.opened:
                    raise UserError(f"{self}: {split}: {reason(error)}") from None
                raise NotHereError(reason(error)) from None
        return self.opened[split]

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        numbers, label_of = self.labels(split), {name: i for i, name in enumerate(self.classes)}
        by_number = {y: label_of.get(name, -1) for y, name in self._names_by_number(split, set(numbers)).items()}
        labels = np.array([by_number.get(y, -1) for y in numbers], int)
        positions = np.flatnonzero(labels >= 0)
        if omitted := len(labels) - len(positions):
            note(f"{self}: {split}: left out {omitted} images of no class, or of one that train does not have")
        labels = labels[positions]
        if self.cut:
            in_split = (ranks(labels) % EVERY == EVERY - 1) == (split == "test")
            positions, labels = positions[in_split], labels[in_split]
        return Paths(f"{split}#{i}" for i in positions.tolist()), labels

    def read(self, path: str) -> bytes:
        """The content of an image's file.

        Raises:
            ValueError: the library cannot read it.
        """
        split, _, position = path.partition("#")
        try:
            return self.content(self.split(split)[int(position)])
        except Exception as error:  # each library raises its own
            raise ValueError(f"cannot be read: {reason(error)}") from None

    def size(self, path: str) -> None:
        """Not known without reading."""


def ranks(labels: np.ndarray) -> np.ndarray:
    """(n,) the position of each image among those of its class."""
    order = np.argsort(labels, kind="stable")
    positions = np.empty(len(labels), int)
    positions[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return positions
