"""Datasets whose publishers keep all images in a few array files."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from hrrl.data import isolated
from hrrl.data.image_folder import ArrayFile, DatasetReader, NotHereError
from hrrl.data.sources import Paths
from hrrl.errors import UserError, note

T = TypeVar("T")
DIGITS = [str(digit) for digit in range(10)]


class Arrays(DatasetReader):
    """Common to these datasets: images and labels come file by file, and an image is ``<file>#<position>``.

    A subclass says which files a split has (``files``), and reads one (``read``).

    Attributes:
        kept: what :meth:`images` returned for each file that ``rows`` has read.
    """

    places: tuple[str, ...] = ("",)  # folders of the root that may hold the files
    files: ClassVar[dict[str, list[str]]]  # published split -> names of its files

    def __init__(self, root: Path, train: str = "train"):
        if not root.is_dir():
            raise NotHereError("not a folder")
        self.kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        present = {}
        for place in self.places:
            self.root = root / place
            present[place] = self._present()
        place = max(present, key=lambda place: sum(map(len, present[place].values())))  # a copy may lack some
        self.root, self.present = root / place, present[place]
        self.splits = list(self.present)
        needed = train if train in self.files else "train"
        if needed not in self.splits:
            raise NotHereError(f"no {self.files[needed][0]} in it")

    def _present(self) -> dict[str, list[str]]:
        """The files of each split, where it has some in the root."""
        present = {split: [file for file in files if self.find(file)] for split, files in self.files.items()}
        return {split: files for split, files in present.items() if files}

    def find(self, name: str) -> Path | None:
        """The file of this name, if it is there."""
        path = self.root / name
        return path if path.is_file() else None

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels (positions in ``self.classes``) of a split's images.

        Reads everything, so that a damaged file is found before any training starts.
        """
        paths, labels = Paths(), []
        if missing := [file for file in self.files[split] if file not in self.present[split]]:
            note(f"{self.root}: {split} without {', '.join(missing)}; reading what is there")
        for file in self.present[split]:
            images, file_labels = self.kept[file] = self.images(file)
            if len(images) != len(file_labels) or not np.isin(file_labels, range(len(self.classes))).all():
                raise UserError(
                    f"{self.root / file}: {len(images)} images, {len(file_labels)} labels up to "
                    f"{file_labels.max(initial=0)}; expected as many labels as images, all below {len(self.classes)}"
                )
            paths.extend(f"{file}#{i}" for i in range(len(images)))
            labels.append(file_labels)
        return paths, np.concatenate(labels)

    def images(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        """(N, C, H, W) uint8 images, C = 1 or 3, and (N,) int64 labels of one file, read in a process of its own.

        Raises:
            UserError: the file is damaged or not in the official format.
        """
        images, labels = self.read_isolated(lambda: self.read(file), file)
        if (images.dtype, images.ndim) != (np.uint8, 4) or images.shape[1] not in (1, 3) or labels.ndim != 1:
            raise UserError(
                f"{self.find(file)}: images are {images.dtype} {images.shape}, labels {labels.shape}; "
                f"expected the published {self.needs}"
            )
        return images, labels

    def read_isolated(self, read: Callable[[], T], file: str) -> T:
        """What ``read()`` returns, called in a process of its own.

        Raises:
            UserError: names the file where it is damaged, not in the official format, or too large for the memory.
        """
        try:
            return isolated.call(read, self.behind(file))
        except Exception as error:  # every format's parser has errors of its own
            if isinstance(error, OSError) and error.errno:  # the file system's
                raise
            path = self.find(file) or self.root / file
            raise UserError(f"{path}: cannot be read ({error}); expected the published {self.needs}") from None

    def read(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`images` returns; raises whatever a damaged file leads to."""
        raise NotImplementedError

    def behind(self, file: str) -> list[Path]:
        """The files on disk that ``read(file)`` reads."""
        return [path for path in [self.find(file)] if path]

    def parts(self, paths: Iterable[str]) -> Iterator[np.ndarray]:
        """The images of some paths in their order, (n, C, H, W) uint8, file by file."""
        for file, file_paths in itertools.groupby(paths, _file_of):
            images, _ = self.kept.get(file) or self.images(file)
            yield images[[int(path.rpartition("#")[2]) for path in file_paths]]

    def sources(self, paths: Iterable[str]) -> list[ArrayFile]:
        """Name, size and MD5 of the files on disk that some images are read from."""
        sources: list[ArrayFile] = []
        for path in dict.fromkeys(path for file in files_of(paths) for path in self.behind(file)):
            with open(path, "rb") as file:
                md5 = hashlib.file_digest(file, "md5").hexdigest()
            sources.append({"name": path.name, "bytes": path.stat().st_size, "md5": md5})
        return sources

    def checksums(self) -> dict[str, str]:
        """The published MD5 of each file name, as torchvision knows them."""
        return {}


def files_of(paths: Iterable[str]) -> list[str]:
    """The files that images are in, once each."""
    return list(dict.fromkeys(map(_file_of, paths)))


def _file_of(path: str) -> str:
    return path.rpartition("#")[0]
