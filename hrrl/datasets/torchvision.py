"""Any classification dataset of torchvision, by its own reader: ``kind: torchvision/<Name>``."""

import inspect
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hrrl.datasets.stores import Paths
from hrrl.datasets.trees import Kind, NotHereError
from hrrl.decode import check
from hrrl.errors import UserError

# What datasets call the split to train on and the one that is held out, where it is not "train" and "test".
SPLITS = {
    "CLEVRClassification": ("train", "val"),  # its test split has no labels
    "ImageNet": ("train", "val"),
    "Imagenette": ("train", "val"),
    "OxfordIIITPet": ("trainval", "test"),
    "Places365": ("train-standard", "val"),
}


def of(name: str) -> Kind:
    """A class like those of hrrl/datasets/kinds, for torchvision's dataset of this name.

    Raises:
        UserError: torchvision has no such dataset, or none with a split for training and images with labels.
    """
    from torchvision import datasets

    found = getattr(datasets, name, None)
    takes = inspect.signature(found).parameters if inspect.isclass(found) else {}
    if "root" not in takes or not {"train", "split"} & set(takes):
        raise UserError(f"kind: torchvision/{name}: torchvision.datasets has no {name} with a split and a root")
    made: Any = type(
        name,
        (_Library,),
        {
            "dataset": found,
            "takes": takes,
            "needs": f"what torchvision's {name} reads",
            "source": f"torchvision.datasets.{name}",
        },
    )
    return made


class _Library:
    """A dataset that a library reads image by image; its images are listed as ``<split>#<position>``.

    It is its own store: the content of an image is a PPM file of its pixels, so that size and CRC are the pixels'.
    """

    licence = "as its publisher says, whom torchvision's documentation names"
    rootless = False
    source: ClassVar[str]
    needs: ClassVar[str]
    dataset: ClassVar[Any]  # torchvision's class
    takes: ClassVar[Any]  # its arguments by name
    classes: list[str]
    wnids: list[str | None]

    def __init__(self, root: Path, train: str = "train"):
        self.root, self.store = root, self
        self.opened: dict[str, Any] = {}  # by split
        first = self._open("train")
        labels = getattr(first, "classes", None)
        self.classes = [str(name) for name in labels] if labels else sorted({str(y) for y in self._labels("train")})
        self.wnids = [None] * len(self.classes)
        self.splits = ["train", "test"]

    def __str__(self) -> str:
        return f"torchvision.datasets.{self.dataset.__name__} in {self.root}"

    @classmethod
    def download(cls, folder: Path) -> None:
        if "download" not in cls.takes:
            raise OSError("torchvision cannot download it")
        for split in ("train", "test"):
            cls.dataset(folder, **cls._which(split), download=True)

    @classmethod
    def _which(cls, split: str) -> dict[str, Any]:
        """The argument by which the dataset takes a split."""
        if "train" in cls.takes:
            return {"train": split == "train"}
        return {"split": SPLITS.get(cls.dataset.__name__, ("train", "test"))[split == "test"]}

    def _open(self, split: str) -> Any:
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
        found = self._open(split)
        for name in ("targets", "labels", "_labels"):
            if (labels := getattr(found, name, None)) is not None:
                return [int(label) for label in labels]
        if (samples := getattr(found, "_samples", None)) is not None:
            return [int(label) for _, label in samples]
        return [int(found[i][1]) for i in range(len(found))]

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        """Paths and labels of a split's images."""
        labels = np.array(self._labels(split), int)
        if not np.isin(labels, range(len(self.classes))).all():
            raise UserError(
                f"{self}: {split} has labels up to {labels.max()}; expected those of {len(self.classes)} classes"
            )
        return Paths(f"{split}#{i}" for i in range(len(labels))), labels

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
