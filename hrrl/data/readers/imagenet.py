"""ILSVRC2012 as its publisher and its usual users lay it out."""

import fnmatch
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hrrl.data import isolated
from hrrl.data.image_folder import Tree
from hrrl.data.sources import Paths, is_image, join
from hrrl.data.unpack import members
from hrrl.errors import UserError, note

NUMBER = re.compile(r"(\d+)\.[^.]+$")  # of an image: ILSVRC2012_val_00000001.JPEG
FLAT = "images"  # where Tiny-ImageNet has a split's images
TRUTH, META, DEVKIT = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "ILSVRC2012_devkit_t12.tar.gz"


class ImageNet(Tree):
    """ILSVRC2012: ``train/<wnid>/*.JPEG``; ``val/<wnid>/*.JPEG``, or ``val/*.JPEG`` with the published ground truth.

    Tiny-ImageNet has the latter in ``val/images/``, with val_annotations.txt.
    """

    source = "ILSVRC2012 (Russakovsky et al. 2015), https://image-net.org"
    licence = "non-commercial research and education, by ImageNet's terms of access"
    needs = (
        "ILSVRC2012's train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or val/*.JPEG together with "
        "ILSVRC2012_devkit_t12.tar.gz (or its folder), LOC_val_solution.csv or val.txt; or Tiny-ImageNet's "
        "val/images/*.JPEG and val/val_annotations.txt"
    )
    inside = ("", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        folder = join(self.base, split)
        class_folders = self.class_folders(split)
        if split == self.train or set(class_folders) & set(self.classes):
            return super().rows(split, classes)
        if FLAT in class_folders and not any(map(is_image, self.store.names(folder))):
            folder = join(folder, FLAT)
        names = [name for name in self.store.names(folder) if is_image(name)]
        wnids = self._ground_truth(folder, names)
        if unknown := sum(wnid not in self.classes for wnid in wnids):
            note(f"{self.store}/{folder}: left out {unknown} images of classes that {self.train}/ does not have")
        label_of = {wnid: i for i, wnid in enumerate(self.classes) if wnid in classes}
        kept = sorted((label_of[wnid], name) for wnid, name in zip(wnids, names, strict=True) if wnid in label_of)
        return Paths(join(folder, name) for _, name in kept), np.array([label for label, _ in kept], int)

    def _ground_truth(self, folder: str, names: list[str]) -> list[str]:
        """The wnid of each image of a flat folder, by whichever published file there is."""
        above = folder.removesuffix(f"/{FLAT}")
        places = dict.fromkeys([folder, above, self.base, "", "ILSVRC"])
        for place in places:
            if devkit := self._devkit(place):
                truth, wnids = devkit
                return self._match("the devkit's ground truth", [(None, wnids.get(y, y)) for y in truth], names)
        for place in places:
            # The devkit's own list counts by ILSVRC2012_ID: of no use without meta.mat.
            names_here = [n for n in self.store.names(place) if n != TRUTH and not is_image(n)]
            for pattern in ("LOC_val_solution.csv", "*val*.txt", "*_labels*.txt"):
                if texts := fnmatch.filter(names_here, pattern):
                    where = join(place, texts[0])
                    lines = map(_ground_truth_line, self.text(where).splitlines())
                    return self._match(where, [line for line in lines if line], names)
        raise UserError(
            f"{self.store}/{folder}: images without class folders and no ground truth; expected {self.needs}"
        )

    def _devkit(self, place: str) -> tuple[list[str], dict[str, str]] | None:
        """Lines of the ground truth, and wnids by their ILSVRC2012_ID, of a devkit that lies at a place."""
        for subfolder in ("", "data", "devkit/data", "ILSVRC2012_devkit_t12/data"):
            folder = join(place, subfolder)
            if {TRUTH, META} <= {*self.store.names(folder)}:
                return self._parsed(folder, {name: self.store.read(join(folder, name)) for name in (TRUTH, META)})
        if DEVKIT not in self.store.names(place):
            return None
        from torchvision.datasets.imagenet import ARCHIVE_META

        path = join(place, DEVKIT)
        content = self.store.read(path)
        if hashlib.md5(content).hexdigest() != ARCHIVE_META["devkit"][1]:
            note(f"{self.store}/{path} is not the published file (its MD5 differs); reading it as it is")
        return self._parsed(path, content)

    def _parsed(self, path: str, content: bytes | dict[str, bytes]) -> tuple[list[str], dict[str, str]]:
        """What :meth:`_devkit` returns, from the content of TRUTH and META, or of the archive that holds them."""

        def parse() -> tuple[list[str], dict[str, str]]:
            files = members(content, (TRUTH, META)) if isinstance(content, bytes) else content
            return files[TRUTH].decode().split(), _synsets(files[META])

        try:
            return isolated.call(parse)
        except Exception as error:  # of tar, gzip or scipy's reader of Matlab files
            raise UserError(f"{self.store}/{path}: cannot be read ({error}); expected the published devkit") from None

    def _match(self, where: str, lines: Sequence[tuple[str | None, str]], names: list[str]) -> list[str]:
        """Gives each image its line: by file name, by the number in the file name, or (as many lines) in order."""
        if lines and lines[0][0] is not None:
            labels = {Path(str(name)).stem: label for name, label in lines} | dict(lines)
            labelled = [labels.get(name, labels.get(Path(name).stem)) for name in names]
        else:
            numbers: Sequence[int] = [int((NUMBER.search(name) or [0, 0])[1]) for name in names]
            if len(lines) == len(names) and max(numbers, default=0) > len(lines):
                numbers = range(1, len(names) + 1)  # a part of the images, with a ground truth made for them
            labelled = [lines[n - 1][1] if 0 < n <= len(lines) else None for n in numbers]
        matched = [label for label in labelled if label is not None]
        if len(matched) < len(names):
            name = names[labelled.index(None)]
            raise UserError(f"{self.store}: {where} has no label for {name}; expected one for every image")
        if all(label.isdecimal() for label in matched):  # positions among the sorted wnids
            order = self._wnid_order(where, {*map(int, matched)})
            return [order[int(label)] for label in matched]
        return matched

    def _wnid_order(self, where: str, numbers: set[int]) -> list[str]:
        """The sorted wnids that a ground truth indexes: those of the training folders, or ILSVRC2012's 1,000."""
        highest = max(numbers, default=0)
        if highest == len(self.classes) and 0 not in numbers:
            raise UserError(f"{self.store}: {where} has labels from 1 to {highest}; expected wnids or numbers from 0")
        if highest < len(self.classes):
            return self.classes
        from timm.data import ImageNetInfo

        if highest >= 1000:
            raise UserError(f"{self.store}: {where} has the label {highest}; expected wnids or 0 to 999")
        return ImageNetInfo("imagenet-1k").label_names()


def _ground_truth_line(line: str) -> tuple[str | None, str] | None:
    """(file name or None, wnid or number), None for a header or an empty line."""
    tokens = re.split(r"[,\s]+", line.strip())
    if not tokens[0] or tokens[0] == "ImageId":
        return None
    return (None, tokens[0]) if len(tokens) == 1 else (Path(tokens[0]).name, tokens[1])


def _synsets(meta: bytes) -> dict[str, str]:
    """wnid by ILSVRC2012_ID, from the devkit's meta.mat."""
    from scipy.io import loadmat

    synsets = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
    return {str(int(synset["ILSVRC2012_ID"])): str(synset["WNID"]) for synset in synsets}
