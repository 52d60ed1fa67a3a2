"""Datasets of Hugging Face on disk, by their own library."""

import importlib.util
from collections import defaultdict
from pathlib import Path
from typing import Any

from hrrl.data import apart
from hrrl.data.by_position import ByPosition
from hrrl.data.image_folder import NotHereError
from hrrl.data.sources import Folder
from hrrl.errors import UserError, reason

LABELS = ("label", "labels", "class", "target")  # names of the column of classes, before any other of its type


class HuggingFace(ByPosition):
    """A folder that ``save_to_disk`` wrote, or one of parquet files: a column of images, and one of classes.

    The content of an image is what the column holds: a file's bytes, decoded as all others are.
    """

    source = "a dataset of Hugging Face"
    licence = "as its dataset card says"
    needs = "a folder that datasets' save_to_disk wrote, or one of parquet files, with columns of images and classes"

    def __init__(self, root: Path, train: str = "train"):
        if importlib.util.find_spec("datasets") is None:
            raise UserError(
                "kind: huggingface: Hugging Face's library datasets is not installed; pip install 'hrrl[huggingface]'"
            )
        import datasets  # noqa: F401  once, before the process below

        self.root = root
        files = [path for ending in ("arrow", "parquet") for path in root.rglob(f"*.{ending}")]
        if not files:
            raise NotHereError("no *.arrow and no *.parquet in it")
        try:  # a damaged file may end its reader
            self.known, self.listed = apart.once(self._listed, files)
        except Exception as error:  # of arrow, or of the library
            raise UserError(f"{root}: cannot be read ({reason(error)}); expected {self.needs}") from None
        self.cut = len(self.listed) == 1
        if not self.cut:
            self.splits = list(self.listed)
        super().__init__(root, train)
        for split in self.splits:
            self.split(split)  # once, before processes read images

    def _load(self) -> dict[str, Any]:
        """Its splits, which the library maps from the disk; parquet files come there by way of the library's cache."""
        from datasets import DatasetDict, load_from_disk

        parquet = sorted(self.root.rglob("*.parquet"))
        if not parquet:
            found = load_from_disk(self.root)
            return dict(found) if isinstance(found, DatasetDict) else {"train": found}
        files = defaultdict(list)  # <split>-00000-of-00001.parquet, or <split>/0000.parquet
        for path in parquet:
            name = path.stem.partition("-")[0]
            files[path.parent.name if name.isdecimal() else name].append(str(path))
        return dict(DatasetDict.from_parquet(dict(files)))

    def _listed(self) -> tuple[list[str], dict[str, list[int]]]:
        """Names of the classes, and by split the number of each image's class."""
        splits = self._load()
        features = next(iter(splits.values())).features
        _image_column(features)
        column = _label_column(features)
        values = {split: list(rows[column][:]) for split, rows in splits.items()}
        names = getattr(features[column], "names", None)
        found = {value for of in values.values() for value in of if value is not None}
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

        splits = self._load()
        rows = next(iter(splits.values())) if self.cut else splits[split]
        column = _image_column(rows.features)
        return rows.select_columns([column]).cast_column(column, Image(decode=False))

    def content(self, image: Any) -> bytes:
        [image] = image.values()
        return Folder(self.root).read(image["path"]) if image["bytes"] is None else image["bytes"]


def _image_column(features: Any) -> str:
    from datasets import Image

    typed = [name for name, of in features.items() if isinstance(of, Image)]
    typed += [name for name, of in features.items() if isinstance(of, dict) and "bytes" in of]  # by other programs
    typed += [name for name, of in features.items() if getattr(of, "dtype", "") in ("binary", "large_binary")]
    if not typed:
        raise ValueError(f"no column of images among {', '.join(features)}")
    return typed[0]


def _label_column(features: Any) -> str:
    from datasets import ClassLabel

    typed = [name for name, of in features.items() if isinstance(of, ClassLabel)]
    named = [name for name in LABELS if name in features]
    found = named[:1] or typed
    if len(found) != 1:
        which = f"{' and '.join(typed)} are all" if typed else f"none of {', '.join(features)} is"
        raise ValueError(f"{which} classes; name the column of classes label")
    return found[0]
