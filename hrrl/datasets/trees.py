"""Datasets of image files in folders of classes, and what their publishers' layouts share."""

import re
import sys
import zlib
from pathlib import Path

import numpy as np

from hrrl.datasets.stores import Paths, join, open_store
from hrrl.errors import UserError, printable

WNID = re.compile(r"n\d{8}")


class NotHereError(LookupError):
    """A place does not hold the dataset in its official layout; says what is missing."""


def note(message: str) -> None:
    """Tells the user, on stderr, what is worth knowing and no error."""
    print(printable(message), file=sys.stderr)


class Tree:
    """Image files in folders of classes, in a folder or a zip.

    Attributes:
        source, licence: of the images: who published them and where, and on which terms; for model cards.
        classes: names of the class folders of the training split, sorted.
        splits: names of the published splits.
        store: what the images are read from, by the paths in ``rows``.
    """

    source = licence = "not stated"
    rootless = False
    needs = "folders train/<class>/* and val/<class>/* (or test/<class>/*), or a zip of them"
    inside = ("",)  # folders that may hold the splits, apart from any folder of the root

    def __init__(self, root: Path, train: str = "train"):
        self.store, self.train = open_store(root), train
        places = [*self.inside, *self.store.folders()]
        self.base = next((p for p in places if train in self.store.folders(p)), None)
        if self.base is None:
            raise NotHereError(f"no folder {train}/ in it or one folder deeper")
        self.splits = self.store.folders(self.base)
        self.classes = self.store.folders(join(self.base, train))
        if not self.classes:
            raise NotHereError(f"no class folders in {join(self.base, train)}/")

    def fetch(self, path: str) -> bytes:
        """What :meth:`examine` takes."""
        return self.store.read(path)

    @staticmethod
    def examine(content: bytes) -> tuple[int, int]:
        """Size and CRC of an image's content; raises ValueError where it is no whole image."""
        from hrrl.decode import decode

        decode(content)
        return len(content), zlib.crc32(content)

    def text(self, path: str) -> str:
        """A text file of the dataset.

        Raises:
            UserError: it is not UTF-8.
        """
        try:
            return self.store.read(path).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.store}/{path}: {error}; expected the published text file") from None

    @property
    def wnids(self) -> list[str | None]:
        """The WordNet id of each class whose name is one."""
        return [name if WNID.fullmatch(name) else None for name in self.classes]

    def rows(self, split: str, classes: list[str]):
        """Paths and labels (positions in ``self.classes``) of a split's images of some classes.

        Raises:
            UserError: a class folder without images.
        """
        folder = join(self.base, split)
        there = self.store.folders(folder)
        if strangers := sorted(set(there) - set(self.classes)):
            note(
                f"{self.store}/{folder}: left out {len(strangers)} classes that {self.train}/ does not have, "
                f"the first is {strangers[0]}"
            )
        paths, labels = Paths(), []
        for name in sorted(set(classes) & set(there)):
            found = self.store.images(join(folder, name))
            if not found:
                raise UserError(f"{self.store}/{folder}/{name}: no images in this class folder; add some or remove it")
            paths.extend(found)
            labels.append(np.full(len(found), self.classes.index(name)))
        return paths, np.concatenate(labels) if labels else np.empty(0, int)
