"""Datasets of Hugging Face on disk, and shards of WebDataset, by Hugging Face's library."""

import importlib.util
import re
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

from hrrl.data import apart
from hrrl.data.by_position import ByPosition
from hrrl.data.image_folder import NotHereError
from hrrl.data.sources import Folder
from hrrl.errors import UserError, reason

LABELS = ("label", "labels", "class", "target", "cls")  # names of the column of classes, before any other of its type
FILES = {"parquet": "parquet", "tar": "webdataset"}  # endings of files that the library converts; its names
SPLITS = ("train", "test", "val", "valid", "validation")  # words in the names of files, or of their folders


class HuggingFace(ByPosition):
    """A folder that ``save_to_disk`` wrote, or one of parquet files or tar shards: a column of images, one of classes.

    The content of an image is what the column holds: a file's bytes, decoded as all others are.
    """

    source = "a dataset of Hugging Face"
    licence = "as its dataset card says"
    needs = (
        "a folder of datasets' save_to_disk, parquet files or WebDataset's *.tar, with columns of images and classes"
    )

    def __init__(self, root: Path, train: str = "train"):
        if importlib.util.find_spec("datasets") is None:
            raise UserError(
                "kind: huggingface: Hugging Face's library datasets is not installed; pip install 'hrrl[huggingface]'"
            )
        import datasets  # noqa: F401  once, before the process below

        self.root = root
        files = [path for ending in ("arrow", *FILES) for path in root.rglob(f"*.{ending}")]
        if not files:
            raise NotHereError("no *.arrow, *.parquet or *.tar in it")
        try:  # a damaged file may end its reader
            self.known, self.listed = apart.once(self._listed, files)
        except Exception as error:  # of arrow, or of the library
            raise UserError(f"{root}: cannot be read ({reason(error)}); expected {self.needs}") from None
        self.cut = len(self.listed) == 1
        if not self.cut:
            self.splits = list(self.listed)
            if not {train, "train"} & set(self.splits):
                raise NotHereError(f"no split train in it, but {', '.join(self.splits)}")
        super().__init__(root, train)
        for split in self.splits:
            self.split(split)  # once, before processes read images

    @cached_property
    def _by_split(self) -> dict[str, Any]:
        """Its splits, which the library maps from the disk; what it converts comes there by way of its cache."""
        from datasets import DatasetDict, load_dataset, load_from_disk

        for ending, builder in FILES.items():
            files = defaultdict(list)
            for path in sorted(self.root.rglob(f"*.{ending}")):
                files[_split_of(path)].append(str(path))
            if files:
                return dict(load_dataset(builder, data_files=dict(files)))
        found = load_from_disk(self.root)
        return dict(found) if isinstance(found, DatasetDict) else {"train": found}

    def _listed(self) -> tuple[list[str], dict[str, list[int]]]:
        """Names of the classes, and by split the number of each image's class."""
        splits = self._by_split
        features = next(iter(splits.values())).features
        _image_column(features)
        column = _label_column(features)
        values = {split: list(rows[column][:]) for split, rows in splits.items()}
        names = getattr(features[column], "names", None)
        found = {value for of in values.values() for value in of if value is not None and value == value}  # no NaN
        known = sorted(found) if names is None else range(len(names))
        number: dict[Any, int] = {value: i for i, value in enumerate(known)}
        numbers = {split: [number.get(value, -1) for value in of] for split, of in values.items()}
        return list(map(str, known if names is None else names)), numbers

    def names(self, train: str) -> list[Any]:
        return self.known

    def labels(self, split: str) -> list[int]:
        return next(iter(self.listed.values())) if self.cut else self.listed[split]

    def open(self, split: str) -> Any:
        from datasets import Image

        splits = self._by_split
        rows = next(iter(splits.values())) if self.cut else splits[split]
        column = _image_column(rows.features)
        return rows.select_columns([column]).cast_column(column, Image(decode=False))

    def content(self, image: Any) -> bytes:
        [image] = image.values()
        if image is None:
            raise ValueError("there is none in this row")
        return Folder(self.root).read(image["path"]) if image["bytes"] is None else image["bytes"]


def _split_of(path: Path) -> str:
    """Of train-00000-of-00001.parquet, imagenet1k-train-0000.tar, train/0000.tar, Spark's train/part-00000: train."""
    words, folder = re.split("[-_.]", path.stem), path.parent.name
    named = folder if folder in SPLITS or words[0].isdecimal() else words[0]
    return next((word for word in words if word in SPLITS), named)


def _image_column(features: Any) -> str:
    from datasets import Image

    typed = [name for name, of in features.items() if isinstance(of, Image)]
    typed += [name for name, of in features.items() if isinstance(of, dict) and "bytes" in of]  # by other programs
    typed += [name for name, of in features.items() if getattr(of, "dtype", "") in ("binary", "large_binary")]
    if not typed:
        raise ValueError(f"no column of images among {', '.join(features)}")
    return typed[0]


def _label_column(features: Any) -> str:
    from datasets import ClassLabel, Value

    typed = [name for name, of in features.items() if isinstance(of, ClassLabel)]
    named = [name for name in LABELS if name in features]
    found = named[:1] or typed
    if len(found) != 1:
        which = f"{' and '.join(typed)} are all" if typed else f"none of {', '.join(features)} is"
        raise ValueError(f"{which} classes; name the column of classes label")
    if not isinstance(features[found[0]], (ClassLabel, Value)):
        raise ValueError(f"the column {found[0]} holds several values for an image; it takes the one class of each")
    return found[0]
