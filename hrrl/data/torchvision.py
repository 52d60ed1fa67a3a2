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
NAMES = ("wnids", "classes", "categories")  # attributes that may hold the names of the classes
LABELS = ("targets", "labels", "_labels", "y", "_samples", "_flat_character_images")  # or the label of each image


def of(name: str) -> type[DatasetReader]:
    """A class like those of hrrl/data/readers, for torchvision's dataset of this name.

    Raises:
        UserError: torchvision has no such dataset, or none with a split for training and images with labels.
    """
    from torchvision import datasets

    name, _, part = name.partition("/")
    dataset = getattr(datasets, name, None)
    parameters: dict[str, Any] = dict(inspect.signature(dataset).parameters) if inspect.isclass(dataset) else {}
    arguments = {"split": part} if name == "EMNIST" else {}
    if arguments:
        if part not in datasets.EMNIST.splits:
            parts = ", ".join(f"torchvision/{name}/{part}" for part in datasets.EMNIST.splits)
            raise UserError(f"kind: torchvision/{name}: says not which of its parts; known: {parts}")
        parameters = dict.fromkeys(("root", "train", "download"))
    elif part:
        raise UserError(f"kind: torchvision/{name}/{part}: {name} has no parts; write torchvision/{name}")
    required = [key for key, value in parameters.items() if key != "root" and value and _is_required(value)]
    if "root" not in parameters or required:
        why = f"its {name} wants {', '.join(required)} as well" if required else f"it has no {name} with a root"
        raise UserError(f"kind: torchvision/{name}: not one of torchvision's datasets of images with classes; {why}")
    reader: Any = type(name, (_Library,), {"dataset": dataset, "takes": parameters, "own": arguments})
    reader.cut = not {"train", "split"} & set(parameters)
    reader.needs, reader.source = f"what torchvision's {name} reads", f"torchvision.datasets.{name}"
    return reader


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


class _Library(IndexedDataset):
    """A dataset of torchvision's. Images keep their files' bytes.

    Where it decodes them itself, an image's content is a PPM file of its pixels, of which size and CRC are.
    """

    licence = "as its publisher says, whom torchvision's documentation names"
    dataset: ClassVar[Any]  # torchvision's class
    takes: ClassVar[Any]  # its arguments by name
    own: ClassVar[dict[str, str]]  # those that select a part of it: EMNIST's split

    def __str__(self) -> str:
        return f"torchvision.datasets.{self.dataset.__name__} in {self.root}"

    @classmethod
    def download(cls, folder: Path) -> None:
        if "download" not in cls.takes:
            raise OSError("torchvision cannot download it")
        for split in ("train",) if cls.cut else ("train", "test"):
            cls.dataset(folder, **cls._split_arguments(split), download=True)

    @classmethod
    def _split_arguments(cls, split: str) -> dict[str, Any]:
        """The arguments by which the dataset takes a split."""
        if cls.cut:
            return {}
        if "train" in cls.takes:
            return cls.own | {"train": split == "train"}
        return {"split": SPLITS.get(cls.dataset.__name__, ("train", "test"))[split == "test"]}

    def open(self, split: str) -> Any:
        ignored = list[str]()

        def is_valid(path: str) -> bool:
            visible = not any(part.startswith(HIDDEN) for part in Path(path).relative_to(self.root).parts[1:])
            ignored.extend([path] * (visible and not is_image(path)))
            return visible and is_image(path)

        # An image is its file, which is decoded as all others are; ImageFolder takes any folder, and any file.
        options = {"loader": lambda path: Path(path).read_bytes(), "is_valid_file": is_valid}
        supported = {key: value for key, value in options.items() if key in self.takes}
        dataset = self.dataset(self.root, **supported, **self._split_arguments(split))
        if ignored:
            note(f"{self}: left out {len(ignored)} files, such as {ignored[0]}: {ENDINGS}")
        return dataset

    def names(self, split: str) -> list[Any]:
        dataset = self.split(split)
        return next((names for attribute in NAMES if (names := getattr(dataset, attribute, None))), [])

    def labels(self, split: str) -> list[int]:
        """The number of each image's class, as the dataset numbers classes.

        Raises:
            UserError: its images have no classes.
        """
        dataset = self.split(split)
        try:
            labels = next((values for name in LABELS if (values := getattr(dataset, name, None)) is not None), None)
            if labels is None or getattr(labels, "ndim", 1) != 1:
                labels = [dataset[i][1] for i in range(len(dataset))]
            return [int(label[1] if isinstance(label, tuple) else label) for label in labels]
        except Exception as error:  # each dataset has targets of its own form
            raise UserError(f"{self}: its images have no classes ({type(error).__name__}: {reason(error)})") from None

    def content(self, image: Any) -> bytes:
        if isinstance(image[0], bytes):
            return image[0]
        pixels = image[0].convert("RGB")
        return b"P6 %d %d 255\n" % pixels.size + pixels.tobytes()
