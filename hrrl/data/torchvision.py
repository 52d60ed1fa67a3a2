"""Any classification dataset of torchvision, by its own reader: ``kind: torchvision/<Name>``.

EMNIST is six datasets, of which torchvision wants one named: ``kind: torchvision/EMNIST/letters``.
"""

import inspect
from pathlib import Path
from typing import Any, ClassVar

from hrrl.data.image_folder import ENDINGS, DatasetReader
from hrrl.data.indexed_dataset import IndexedDataset
from hrrl.data.sources import HIDDEN, is_image
from hrrl.errors import UserError, note, reason

# What datasets call the split to train on and the one that is held out, where it is not "train" and "test".
SPLITS = {
    "CLEVRClassification": ("train", "val"),  # its test split has no labels
    "ImageNet": ("train", "val"),
    "Imagenette": ("train", "val"),
    "OxfordIIITPet": ("trainval", "test"),
    "Places365": ("train-standard", "val"),
}
NAMES = ("wnids", "classes", "categories")  # where datasets have the names of their classes,
LABELS = ("targets", "labels", "_labels", "y", "_samples", "_flat_character_images")  # and each image's


def of(name: str) -> type[DatasetReader]:
    """A class like those of hrrl/data/readers, for torchvision's dataset of this name.

    Raises:
        UserError: torchvision has no such dataset, or none with a split for training and images with labels.
    """
    from torchvision import datasets

    name, _, part = name.partition("/")
    found = getattr(datasets, name, None)
    takes: dict[str, Any] = dict(inspect.signature(found).parameters) if inspect.isclass(found) else {}
    own = {"split": part} if name == "EMNIST" else {}
    if own:
        if part not in datasets.EMNIST.splits:
            parts = ", ".join(f"torchvision/{name}/{part}" for part in datasets.EMNIST.splits)
            raise UserError(f"kind: torchvision/{name}: says not which of its parts; known: {parts}")
        takes = dict.fromkeys(("root", "train", "download"))
    elif part:
        raise UserError(f"kind: torchvision/{name}/{part}: {name} has no parts; write torchvision/{name}")
    wanted = [key for key, value in takes.items() if key != "root" and value and _is_needed(value)]
    if "root" not in takes or wanted:
        why = f"its {name} wants {', '.join(wanted)} as well" if wanted else f"it has no {name} with a root"
        raise UserError(f"kind: torchvision/{name}: not one of torchvision's datasets of images with classes; {why}")
    made: Any = type(name, (_Library,), {"dataset": found, "takes": takes, "own": own})
    made.cut = not {"train", "split"} & set(takes)
    made.needs, made.source = f"what torchvision's {name} reads", f"torchvision.datasets.{name}"
    return made


def _is_needed(argument: inspect.Parameter) -> bool:
    return argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD


class _Library(IndexedDataset):
    """A dataset of torchvision's. Images keep their files' bytes.

    Where it reads them in its own way, an image's content is a PPM file of its pixels, so that size and CRC are theirs.
    """

    licence = "as its publisher says, whom torchvision's documentation names"
    dataset: ClassVar[Any]  # torchvision's class
    takes: ClassVar[Any]  # its arguments by name
    own: ClassVar[dict[str, str]]  # those that say which part of it this is

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

    def open(self, split: str) -> Any:
        left = list[str]()

        def is_valid(path: str) -> bool:
            shown = not any(part.startswith(HIDDEN) for part in Path(path).relative_to(self.root).parts[1:])
            left.extend([path] * (shown and not is_image(path)))
            return shown and is_image(path)

        # An image is its file, which is decoded as all others are; ImageFolder takes any folder, and any file.
        ours = {"loader": lambda path: Path(path).read_bytes(), "is_valid_file": is_valid}
        taken = {key: value for key, value in ours.items() if key in self.takes}
        found = self.dataset(self.root, **taken, **self._which(split))
        if left:
            note(f"{self}: left out {len(left)} files, such as {left[0]}: {ENDINGS}")
        return found

    def names(self, split: str) -> list[Any]:
        opened = self.split(split)
        return next((found for name in NAMES if (found := getattr(opened, name, None))), [])

    def labels(self, split: str) -> list[int]:
        """The number of each image's class, as the dataset counts them.

        Raises:
            UserError: its images have no classes.
        """
        found = self.split(split)
        try:
            labels = next((of for name in LABELS if (of := getattr(found, name, None)) is not None), None)
            if labels is None or getattr(labels, "ndim", 1) != 1:
                labels = [found[i][1] for i in range(len(found))]
            return [int(label[1] if isinstance(label, tuple) else label) for label in labels]
        except Exception as error:  # each has targets of its own
            raise UserError(f"{self}: its images have no classes ({type(error).__name__}: {reason(error)})") from None

    def content(self, image: Any) -> bytes:
        if isinstance(image[0], bytes):
            return image[0]
        pixels = image[0].convert("RGB")
        return b"P6 %d %d 255\n" % pixels.size + pixels.tobytes()
