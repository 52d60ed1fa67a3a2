"""Datasets of image files in folders of classes, and what their publishers' layouts share."""

from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np

from hrrl.common.names import composed
from hrrl.data.sources import IMAGES, Paths, is_image, join, open_store
from hrrl.errors import UserError, note

ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet's labels
ENDINGS = f"names of images end in {', '.join(IMAGES)}"


class ArrayFile(TypedDict):
    """A file on disk that holds many images."""

    name: str
    bytes: int
    md5: str


class DatasetReader:
    """A dataset on disk: of image files, or :class:`hrrl.data.array_dataset.Arrays`.

    One that can be downloaded has ``download(folder)`` as well.

    Attributes:
        source, licence: of the images: who published them and where, and on which terms; for model cards.
        needs: what its folder must hold.
        rootless: it comes with a package, and has no folder.
        classes: names of all classes.
        splits: names of the published splits.
        store: what image files are read from by their paths: ``read(path)``, ``size(path)``.
    """

    root: Path
    source = licence = "not stated"
    needs: ClassVar[str]
    rootless = False
    classes: list[str]
    splits: list[str]
    store: Any

    def __init__(self, root: Path, train: str = "train"):
        """The dataset in a folder; raises :class:`NotHereError` where it is not there."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.root)

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels (positions in ``self.classes``) of a split's images, at least those of some classes."""
        raise NotImplementedError


class NotHereError(LookupError):
    """A place does not hold the dataset in its official layout; says what is missing."""


class Tree(DatasetReader):
    """Image files in folders of classes, in a folder or a zip."""

    needs = "folders train/<class>/* and val/<class>/* (or test/<class>/*), or a zip of them"
    inside: ClassVar[tuple[str, ...]] = ("",)  # folders that may hold the splits, apart from any folder of the root

    def __init__(self, root: Path, train: str = "train"):
        self.root, self.store, self.train = root, open_store(root), train
        for places in (self.inside, self.store.folders()):
            if bases := [place for place in places if train in self.store.folders(place)]:
                break
        else:
            folders = ", ".join(self.store.folders()[:3]) or "no folders"
            raise NotHereError(f"no folder {train}/ in it or one folder deeper, but {folders}")
        if places is not self.inside and len(bases) > 1:
            raise UserError(f"{root}: {bases[0]} and {bases[1]} both have a folder {train}/; take one of them as root")
        self.base = bases[0]
        self.splits = self.store.folders(self.base)
        self.classes = sorted(self.class_folders(train))
        if not self.classes:
            raise NotHereError(f"no class folders in {join(self.base, train)}/")

    def class_folders(self, split: str) -> dict[str, str]:
        """The folder of each class in a split, by the class's name.

        Raises:
            UserError: the names of two folders look the same.
        """
        folders: dict[str, str] = {}
        for name in self.store.folders(join(self.base, split)):
            if folders.setdefault(composed(name), name) != name:
                raise UserError(
                    f"{self.store}/{join(self.base, split)}: two folders are named {composed(name)}, with accents "
                    "written in two ways (Unicode NFC and NFD); put their images into one"
                )
        return folders

    def text(self, path: str) -> str:
        """A text file of the dataset.

        Raises:
            UserError: it is not UTF-8.
        """
        try:
            return self.store.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.store}/{path}: {error}; expected the published text file") from None

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels (positions in ``self.classes``) of a split's images of some classes.

        Raises:
            UserError: a class folder without images, images that are in none, or no class folder at all.
        """
        folder = join(self.base, split)
        class_folders, names = self.class_folders(split), self.store.names(folder)
        if flat := [name for name in names if is_image(name)]:  # in a half-sorted split they would be missed
            raise UserError(
                f"{self.store}/{folder}: {len(flat)} images, such as {flat[0]}, are in no class folder; expected each "
                "in the folder of its class"
            )
        if not set(class_folders) & set(self.classes):
            hint = f"; kind: imagenet reads {ANNOTATIONS}" if ANNOTATIONS in names else ""
            folders = ", ".join(sorted(class_folders)[:3]) or "no folders"
            raise UserError(f"{self.store}/{folder}: no folder of a class of {self.train}/ in it, but {folders}{hint}")
        if unknown := sorted(set(class_folders) - set(self.classes)):
            note(
                f"{self.store}/{folder}: left out {len(unknown)} classes that {self.train}/ does not have, "
                f"the first is {unknown[0]}"
            )
        if hidden := self.store.hidden(folder):
            note(f"{self.store}/{folder}: left out {len(hidden)} hidden folders, such as {hidden[0]}")
        paths, labels, ignored = Paths(), [], [join(folder, name) for name in names]
        for name in sorted(set(classes) & set(class_folders)):
            files = self.store.files(join(folder, class_folders[name]))
            images, others = [f for f in files if is_image(f)], [f for f in files if not is_image(f)]
            if not images:
                hint = f" (it has {len(others)} other files, such as {others[0]}; {ENDINGS})" if others else ""
                raise UserError(
                    f"{self.store}/{folder}/{name}: no images in this class folder{hint}; add some or remove it"
                )
            paths.extend(images)
            labels.append(np.full(len(images), self.classes.index(name)))
            ignored += others
        if ignored:
            note(f"{self.store}/{folder}: left out {len(ignored)} files, such as {ignored[0]}: {ENDINGS}")
        return paths, np.concatenate(labels) if labels else np.empty(0, int)
