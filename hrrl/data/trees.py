"""Datasets of image files in the layouts of their publishers: ImageNet, class folders, Stanford Online Products."""

import fnmatch
import hashlib
import io
import re
import sys
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.data.stores import Paths, is_image, join, open_store
from hrrl.errors import UserError

WNID = re.compile(r"n\d{8}")
TRUTH, META, DEVKIT = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "ILSVRC2012_devkit_t12.tar.gz"


class NotHereError(LookupError):
    """A place does not hold the dataset in its official layout; says what is missing."""


def note(message: str) -> None:
    """Tells the user, on stderr, what is worth knowing and no error."""
    print(message, file=sys.stderr)


class ImageFolder:
    """``train/<class>/*`` and ``val|test/<class>/*``, also one folder deeper, in a folder or a zip.

    Attributes:
        classes: names of the class folders of the training split, sorted.
        splits: names of the published splits.
        store: what the images are read from, by the paths in ``rows``.
    """

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


class ImageNet(ImageFolder):
    """ILSVRC2012: ``train/<wnid>/*.JPEG``; ``val/<wnid>/*.JPEG``, or ``val/*.JPEG`` with the published ground truth."""

    needs = (
        "ILSVRC2012's train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or val/*.JPEG together with "
        "ILSVRC2012_devkit_t12.tar.gz (or its folder), LOC_val_solution.csv or val.txt"
    )
    inside = ("", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")

    def rows(self, split: str, classes: list[str]):
        folder = join(self.base, split)
        if split == self.train or self.store.folders(folder):
            return super().rows(split, classes)
        names = [name for name in self.store.names(folder) if is_image(name)]
        wnids = self._ground_truth(folder, names)
        if strangers := sum(wnid not in self.classes for wnid in wnids):
            note(f"{self.store}/{folder}: left out {strangers} images of classes that {self.train}/ does not have")
        position = {wnid: i for i, wnid in enumerate(self.classes) if wnid in classes}
        kept = sorted((position[w], name) for w, name in zip(wnids, names, strict=True) if w in position)
        return Paths(join(folder, name) for _, name in kept), np.array([label for label, _ in kept], int)

    def _ground_truth(self, folder: str, names: list[str]) -> list[str]:
        """The wnid of each image of a flat folder, by whichever published file there is."""
        places = dict.fromkeys([folder, self.base, "", "ILSVRC"])
        for place in places:
            if devkit := self._devkit(place):
                truth, wnids = devkit
                where, lines = "the devkit's ground truth", [(None, wnids.get(label, label)) for label in truth]
                return self._match(where, lines, names)
        for place in places:
            # The devkit's own list counts by ILSVRC2012_ID: of no use without meta.mat.
            names_here = [n for n in self.store.names(place) if n != TRUTH and not is_image(n)]
            for pattern in ("LOC_val_solution.csv", "*val*.txt", "*_labels*.txt"):
                if not (texts := fnmatch.filter(names_here, pattern)):
                    continue
                where = join(place, texts[0])
                lines = [_ground_truth_line(line) for line in self.store.read(where).decode().splitlines()]
                return self._match(where, [line for line in lines if line], names)
        raise UserError(
            f"{self.store}/{folder}: images without class folders and no ground truth; expected {self.needs}"
        )

    def _devkit(self, place: str) -> tuple[list[str], dict[str, str]] | None:
        """Lines of the ground truth, and wnids by their ILSVRC2012_ID, of a devkit that lies at a place."""
        for inside in ("", "data", "devkit/data", "ILSVRC2012_devkit_t12/data"):
            files = self.store.names(join(place, inside))
            if TRUTH in files and META in files:
                read = [self.store.read(join(place, inside, name)) for name in (TRUTH, META)]
                return read[0].decode().split(), _synsets(read[1])
        if DEVKIT in self.store.names(place):
            read = self._unpack_devkit(join(place, DEVKIT))
            return read[0].decode().split(), _synsets(read[1])
        return None

    def _unpack_devkit(self, path: str) -> list[bytes]:
        from torchvision.datasets.imagenet import ARCHIVE_META

        content = self.store.read(path)
        if hashlib.md5(content).hexdigest() != ARCHIVE_META["devkit"][1]:
            note(f"{self.store}/{path} is not the published file (its MD5 differs); reading it as it is")
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                members = {Path(m.name).name: m for m in tar.getmembers() if m.isfile()}
                return [tar.extractfile(members[name]).read() for name in (TRUTH, META)]
        except (tarfile.TarError, EOFError, OSError, KeyError) as error:
            raise UserError(f"{self.store}/{path}: cannot be read ({error}); expected the published archive") from None

    def _match(self, where: str, lines: list[tuple[str | None, str]], names: list[str]) -> list[str]:
        """Gives each image its line: by file name, by the number in the file name, or (as many lines) in order."""
        if lines and lines[0][0] is not None:
            labels = dict(lines)
            found = [labels.get(name.partition(".")[0]) for name in names]
        else:
            numbers = [int(number) if (number := _number(name)) else 0 for name in names]
            if len(lines) == len(names) and max(numbers, default=0) > len(lines):
                numbers = range(1, len(names) + 1)  # a part of the images, with a ground truth made for them
            found = [lines[n - 1][1] if 0 < n <= len(lines) else None for n in numbers]
        for name, label in zip(names, found, strict=True):
            if label is None:
                raise UserError(f"{self.store}: {where} has no label for {name}; expected one for every image")
        if all(label.isdigit() for label in found):  # positions among the sorted wnids
            order = self._wnid_order(where, max(map(int, found), default=0))
            found = [order[int(label)] for label in found]
        return found

    def _wnid_order(self, where: str, highest: int) -> list[str]:
        """The sorted wnids that a ground truth counts: those of the training folders, or ILSVRC2012's 1,000."""
        if highest < len(self.classes):
            return self.classes
        from timm.data import ImageNetInfo

        if highest >= 1000:
            raise UserError(f"{self.store}: {where} has the label {highest}; expected wnids or 0 to 999")
        return ImageNetInfo("imagenet-1k").label_names()


def _ground_truth_line(line: str) -> tuple[str | None, str] | None:
    """(file name without suffix or None, wnid or number), None for a header or an empty line."""
    tokens = re.split(r"[,\s]+", line.strip())
    if not tokens[0] or tokens[0] == "ImageId":
        return None
    return (None, tokens[0]) if len(tokens) == 1 else (Path(tokens[0]).name.partition(".")[0], tokens[1])


def _number(name: str) -> str | None:
    """The image number in ILSVRC2012_val_00000001.JPEG."""
    found = re.search(r"(\d+)\.[^.]+$", name)
    return found and found[1]


def _synsets(meta: bytes) -> dict[str, str]:
    """wnid by ILSVRC2012_ID, from the devkit's meta.mat."""
    from scipy.io import loadmat

    synsets = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
    return {str(int(synset["ILSVRC2012_ID"])): str(synset["WNID"]) for synset in synsets}


class OnlineProducts(ImageFolder):
    """Stanford Online Products: Ebay_train.txt, Ebay_test.txt, and the 12 super classes as classes."""

    needs = (
        "Ebay_train.txt, Ebay_test.txt and the folders bicycle_final, ..., toaster_final, or the published zip of them"
    )
    url = "ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip"
    lists: ClassVar = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}

    def __init__(self, root: Path, train: str = "train"):
        archive = root / Path(self.url).name
        self.store = open_store(archive if archive.is_file() else root)
        places = ["", *self.store.folders()]
        self.base = next((p for p in places if self.lists["train"] in self.store.names(p)), None)
        if self.base is None:
            raise NotHereError("no Ebay_train.txt in it")
        there = self.store.names(self.base)
        self.splits = [split for split, name in self.lists.items() if name in there]
        self.listed = {split: self._read_list(self.lists[split]) for split in self.splits}
        names = {number: name for rows in self.listed.values() for _, number, name in rows}
        self.numbers = sorted(names)
        self.classes = [names[number] for number in self.numbers]

    def _read_list(self, name: str) -> list[tuple[str, int, str]]:
        """Path, super_class_id and name of the super class of each line of "image_id class_id super_class_id path"."""
        rows = []
        for i, line in enumerate(self.store.read(join(self.base, name)).decode().splitlines()):
            fields = line.split(maxsplit=3)
            if i == 0 or not fields:
                continue
            if len(fields) < 4 or not fields[2].isdigit():
                expected = "image_id class_id super_class_id path"
                raise UserError(f"{self.store}: {join(self.base, name)}: line {i + 1} is {line!r}; expected {expected}")
            rows.append((fields[3], int(fields[2]), fields[3].split("/")[0].removesuffix("_final")))
        return rows

    def rows(self, split: str, classes: list[str]):
        label = {number: i for i, number in enumerate(self.numbers)}
        listed = [(join(self.base, path), label[n]) for path, n, name in self.listed[split] if name in classes]
        there = {p for f in {path.rpartition("/")[0] for path, _ in listed} for p in self.store.images(f)}
        kept = [(path, label) for path, label in listed if path in there]
        if len(kept) < len(listed):
            missing = next(path for path, _ in listed if path not in there)
            note(
                f"{self.store}: left out {len(listed) - len(kept)} of the {len(listed)} images of {self.lists[split]}, "
                f"which are not there; the first is {missing}"
            )
        return Paths(path for path, _ in kept), np.array([label for _, label in kept], int)

    @classmethod
    def download(cls, folder: Path) -> None:
        from torchvision.datasets.utils import download_url

        download_url(cls.url, folder)
