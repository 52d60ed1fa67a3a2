"""Datasets of image files in folders of classes, and what their publishers' layouts share."""

import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypedDict

import numpy as np

from hrrl.common.names import composed
from hrrl.data.sources import IMAGES, Paths, is_image, join, open_store
from hrrl.errors import UserError, printable

if TYPE_CHECKING:
    from typing_extensions import TypeIs

ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet's labels
ENDINGS = f"names of images end in {', '.join(IMAGES)}"
WNID = re.compile(r"n\d{8}")


class Store(Protocol):
    """What image files are read from."""

    def __str__(self) -> str: ...
    def read(self, path: str) -> bytes: ...
    def size(self, path: str) -> int | None: ...


class ArrayFile(TypedDict):
    """A file on disk that holds many images."""

    name: str
    bytes: int
    md5: str


class Listed(Protocol):
    """A dataset that was found: names of its classes, their WordNet ids, its published splits, and who published it."""

    source: str
    licence: str

    @property
    def classes(self) -> list[str]: ...
    @property
    def wnids(self) -> list[str | None]: ...
    @property
    def splits(self) -> list[str]: ...

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels (positions in ``self.classes``) of a split's images, at least those of some classes."""
        ...


class InFiles(Listed, Protocol):
    """A dataset whose images are files: :class:`Tree` says what these do."""

    @property
    def store(self) -> Store: ...
    def fetch(self, path: str) -> Any: ...
    def examine(self, content: Any) -> tuple[int, int, bool]: ...


class InArrays(Listed, Protocol):
    """A dataset whose images are positions in array files, as of :class:`hrrl.data.array_dataset.Arrays`."""

    root: Path
    kept: dict[str, tuple[np.ndarray, np.ndarray]]

    def images(self, file: str) -> tuple[np.ndarray, np.ndarray]: ...
    def sources(self, files: Iterable[str]) -> list[ArrayFile]: ...
    def checksums(self) -> dict[str, str]: ...


Found = InFiles | InArrays


class Kind(Protocol):
    """A class of hrrl/data/kinds; one whose dataset can be downloaded has ``download(folder)`` as well."""

    needs: str
    rootless: bool
    source: str
    licence: str

    def __call__(self, root: Path, train: str = "train") -> Found:
        """The dataset in a folder; raises :class:`NotHereError` where it is not there."""
        ...


def in_files(data: Found) -> "TypeIs[InFiles]":
    """Whether a dataset's images are files, rather than in arrays."""
    return hasattr(data, "store")


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
    inside: ClassVar[tuple[str, ...]] = ("",)  # folders that may hold the splits, apart from any folder of the root

    def __init__(self, root: Path, train: str = "train"):
        self.store, self.train = open_store(root), train
        places = [*self.inside, *self.store.folders()]
        base = next((p for p in places if train in self.store.folders(p)), None)
        if base is None:
            raise NotHereError(f"no folder {train}/ in it or one folder deeper")
        self.base = base
        self.splits = self.store.folders(self.base)
        self.classes = sorted(self.class_folders(train))
        if not self.classes:
            raise NotHereError(f"no class folders in {join(self.base, train)}/")

    def class_folders(self, split: str) -> dict[str, str]:
        """The folder of each class in a split, by the class's name.

        Raises:
            UserError: the names of two folders look the same.
        """
        found: dict[str, str] = {}
        for name in self.store.folders(join(self.base, split)):
            if found.setdefault(composed(name), name) != name:
                raise UserError(
                    f"{self.store}/{join(self.base, split)}: two folders are named {composed(name)}, with accents "
                    "written in two ways (Unicode NFC and NFD); put their images into one"
                )
        return found

    def fetch(self, path: str) -> bytes:
        """What :meth:`examine` takes."""
        return self.store.read(path)

    @staticmethod
    def examine(content: bytes) -> tuple[int, int, bool]:
        """Size and CRC of an image's content, whether it is of one colour; ValueError where it is no whole image."""
        from hrrl.data.decode import check

        return len(content), zlib.crc32(content), check(content)

    def text(self, path: str) -> str:
        """A text file of the dataset.

        Raises:
            UserError: it is not UTF-8.
        """
        try:
            return self.store.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.store}/{path}: {error}; expected the published text file") from None

    def _refuse_other_layouts(self, split: str, there: Iterable[str]) -> None:
        """An error where a split is not in class folders, or half in them: the other half would be missed."""
        folder = join(self.base, split)
        names = self.store.names(folder)
        if flat := [name for name in names if is_image(name)]:
            raise UserError(
                f"{self.store}/{folder}: {len(flat)} images, such as {flat[0]}, are in no class folder; expected each "
                "in the folder of its class"
            )
        if not set(there) & set(self.classes):
            hint = f"; kind: imagenet reads {ANNOTATIONS}" if ANNOTATIONS in names else ""
            has = ", ".join(sorted(there)[:3]) or "no folders"
            raise UserError(f"{self.store}/{folder}: no folder of a class of {self.train}/ in it, but {has}{hint}")

    @property
    def wnids(self) -> list[str | None]:
        """The WordNet id of each class whose name is one."""
        return [name if WNID.fullmatch(name) else None for name in self.classes]

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels (positions in ``self.classes``) of a split's images of some classes.

        Raises:
            UserError: a class folder without images, images that are in none, or no class folder at all.
        """
        folder = join(self.base, split)
        there = self.class_folders(split)
        self._refuse_other_layouts(split, there)
        if strangers := sorted(set(there) - set(self.classes)):
            note(
                f"{self.store}/{folder}: left out {len(strangers)} classes that {self.train}/ does not have, "
                f"the first is {strangers[0]}"
            )
        paths, labels, left = Paths(), [], list[str]()
        for name in sorted(set(classes) & set(there)):
            files = self.store.files(join(folder, there[name]))
            found, others = [f for f in files if is_image(f)], [f for f in files if not is_image(f)]
            if not found:
                has = f" (it has {len(others)} other files, such as {others[0]}; {ENDINGS})" if others else ""
                raise UserError(
                    f"{self.store}/{folder}/{name}: no images in this class folder{has}; add some or remove it"
                )
            paths.extend(found)
            labels.append(np.full(len(found), self.classes.index(name)))
            left += others
        if left:
            note(f"{self.store}/{folder}: left out {len(left)} files, such as {left[0]}: {ENDINGS}")
        return paths, np.concatenate(labels) if labels else np.empty(0, int)
