"""Any classification dataset of torchvision, by its own reader: ``kind: torchvision/<Name>``.

EMNIST is six datasets, of which torchvision wants one named: ``kind: torchvision/EMNIST/letters``.
"""

import inspect
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hrrl.common.names import composed
from hrrl.data.decode import check
from hrrl.data.image_folder import Kind, NotHereError, note
from hrrl.data.sources import Paths
from hrrl.errors import UserError

# What datasets call the split to train on and the one that is held out, where it is not "train" and "test".
SPLITS = {
    "CLEVRClassification": ("train", "val"),  # its test split has no labels
    "ImageNet": ("train", "val"),
    "Imagenette": ("train", "val"),
    "OxfordIIITPet": ("trainval", "test"),
    "Places365": ("train-standard", "val"),
}
PARTS = {"EMNIST": "split"}  # datasets that are several, and the argument that says which
EVERY = 5  # of the datasets without a split of their own, one image of so many of a class is test
NAMES = ("classes", "categories")  # where datasets have the names of their classes,
LABELS = ("targets", "labels", "_labels", "y", "_samples", "_flat_character_images")  # and each image's


def of(name: str) -> Kind:
    """A class like those of hrrl/data/kinds, for torchvision's dataset of this name.

    Raises:
        UserError: torchvision has no such dataset, or none with a split for training and images with labels.
    """
    from torchvision import datasets

    name, _, part = name.partition("/")
    found = getattr(datasets, name, None)
    takes: dict[str, Any] = dict(inspect.signature(found).parameters) if inspect.isclass(found) else {}
    own = {PARTS[name]: part} if name in PARTS else {}
    if own and part not in (parts := getattr(found, f"{PARTS[name]}s")):
        parts = ", ".join(f"torchvision/{name}/{part}" for part in parts)
        raise UserError(f"kind: torchvision/{name}: says not which of its parts; known: {parts}")
    if own:
        takes = {key: value for key, value in takes.items() if key not in own} | {"train": None}
    elif part:
        raise UserError(f"kind: torchvision/{name}/{part}: {name} has no parts; write torchvision/{name}")
    wanted = [key for key, value in takes.items() if key != "root" and value and _is_needed(value)]
    if "root" not in takes or wanted:
        why = f"its {name} wants {', '.join(wanted)} as well" if wanted else f"it has no {name} with a root"
        raise UserError(f"kind: torchvision/{name}: not one of torchvision's datasets of images with classes; {why}")
    made: Any = type(
        name,
        (_Library,),
        {
            "dataset": found,
            "takes": takes,
            "own": own,
            "cut": not {"train", "split"} & set(takes),
            "needs": f"what torchvision's {name} reads",
            "source": f"torchvision.datasets.{name}",
        },
    )
    return made


def _is_needed(argument: inspect.Parameter) -> bool:
    return argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD


class _Library:
    """A dataset that a library reads image by image; its images are listed as ``<split>#<position>``.

    One without a split of its own is cut in two: every fifth image of a class is test.

    It is its own store: the content of an image is a PPM file of its pixels, so that size and CRC are the pixels'.
    """

    licence = "as its publisher says, whom torchvision's documentation names"
    rootless = False
    source: ClassVar[str]
    needs: ClassVar[str]
    dataset: ClassVar[Any]  # torchvision's class
    takes: ClassVar[Any]  # its arguments by name
    own: ClassVar[dict[str, str]]  # those that say which part of it this is
    cut: ClassVar[bool]  # whether it has no split of its own
    classes: list[str]
    wnids: list[str | None]

    def __init__(self, root: Path, train: str = "train"):
        self.root, self.store = root, self
        self.opened: dict[str, Any] = {}  # by split
        first = self._open("train")
        names: list[Any] = next((found for name in NAMES if (found := getattr(first, name, None))), [])
        self.numbers = sorted(set(self._labels("train")))  # a published list can have a name without images
        self.classes = [composed(str(names[y])) if 0 <= y < len(names) else str(y) for y in self.numbers]
        if self.cut:
            note(f"{self}: has no split of its own; every fifth image of a class is test")
        self.wnids = [None] * len(self.classes)
        self.splits = ["train", "test"]

    def __str__(self) -> str:
        return f"torchvision.datasets.{self.dataset.__name__} in {self.root}"

    @classmethod
    def download(cls, folder: Path) -> None:
        if "download" not in cls.takes:
            raise OSError("torchvision cannot download it")
        for split in ("train",) if cls.cut else ("train", "test"):
            cls.dataset(folder, **cls._which(split), download=True)

    @classmethod
    def _which(cls, split: str) -> dict[str, Any]:
        """The arguments by which the dataset takes a split."""
        if cls.cut:
            return {}
        if "train" in cls.takes:
            return cls.own | {"train": split == "train"}
        return {"split": SPLITS.get(cls.dataset.__name__, ("train", "test"))[split == "test"]}

    def _open(self, split: str) -> Any:
        if self.cut and self.opened:
            return self.opened["train"]
        if split not in self.opened:
            try:
                self.opened[split] = self.dataset(self.root, **self._which(split))
            except Exception as error:  # each has its own way to say that its files are not there, or are damaged
                reason = " ".join(str(error).split())
                if self.opened:  # it is here: another split was read
                    raise UserError(f"{self}: {split}: {reason}") from None
                raise NotHereError(reason) from None
        return self.opened[split]

    def _labels(self, split: str) -> list[int]:
        """The number of each image's class, as the dataset counts them.

        Raises:
            UserError: its images have no classes.
        """
        found = self._open(split)
        try:
            lists = [labels for name in LABELS if (labels := getattr(found, name, None)) is not None]
            listed = lists[0] if lists and getattr(lists[0], "ndim", 1) == 1 else None
            if listed is None:
                listed = (found[i][1] for i in range(len(found)))
            return [int(label[1] if isinstance(label, tuple) else label) for label in listed]
        except Exception as error:  # each has targets of its own
            raise UserError(
                f"{self}: its images have no classes ({' '.join(f'{type(error).__name__}: {error}'.split())})"
            ) from None

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels of a split's images."""
        numbers = np.array(self._labels(split), int)
        known = np.isin(numbers, self.numbers)
        if not known.all():
            note(f"{self}: {split}: left out {(~known).sum()} images of classes that train does not have")
        positions, labels = np.flatnonzero(known), np.searchsorted(self.numbers, numbers[known])
        if self.cut:
            mine = (_ranks(labels) % EVERY == EVERY - 1) == (split == "test")
            positions, labels = positions[mine], labels[mine]
        return Paths(f"{split}#{i}" for i in positions.tolist()), labels

    def read(self, path: str) -> bytes:
        """An image as the content of a PPM file."""
        split, _, position = path.partition("#")
        try:
            image = self._open(split)[int(position)][0].convert("RGB")
        except Exception as error:  # each dataset has its own way to read
            raise ValueError(" ".join(f"cannot be read: {error}".split())) from None
        return b"P6 %d %d 255\n" % image.size + image.tobytes()

    def fetch(self, path: str) -> str:
        """What :meth:`examine` takes: the library reads by itself."""
        return path

    def examine(self, path: str) -> tuple[int, int, bool]:
        """Size and CRC of an image's content, whether it is of one colour; ValueError where it cannot be decoded."""
        content = self.read(path)
        return len(content), zlib.crc32(content), check(content)

    def size(self, path: str) -> None:
        """Not known without decoding."""
        return None


def _ranks(labels: np.ndarray) -> np.ndarray:
    """(n,) the position of each image among those of its class."""
    order = np.argsort(labels, kind="stable")
    ranks = np.empty(len(labels), int)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return ranks
