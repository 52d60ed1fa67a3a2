"""Datasets of Hugging Face on disk, and shards of WebDataset, by Hugging Face's library."""

import functools
import importlib.util
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, TypeVar

from hrrl.data import isolated
from hrrl.data.image_folder import NotHereError
from hrrl.data.indexed_dataset import IndexedDataset
from hrrl.data.sources import Folder
from hrrl.errors import UserError, note, reason

T = TypeVar("T")
LABELS = ("label", "labels", "class", "target", "cls")  # names of the column of classes, before any other of its type
IMAGES = ("image", "img", "jpg", "jpeg", "png")  # likewise of the column of images
FILES = {".parquet": "parquet", ".tar": "webdataset"}  # ending of files that the library converts -> its builder
SPLITS = ("train", "test", "val", "valid", "validation")  # words in the names of files, or of their folders
OF = re.compile(r"-\d+-of-(\d+)")  # in the name of a split's file: how many it has
BLOCK = 512  # bytes, of a tar file: the last one holds zeros


class HuggingFace(IndexedDataset):
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
        self.files = [root / path for path in Folder(root).files("") if path.endswith((".arrow", *FILES))]
        if not self.files:
            raise NotHereError("no *.arrow, *.parquet or *.tar in it")
        for split, paths in self._converted[1].items():
            _check_whole(root, split, paths)
        try:  # a damaged file may end its reader
            self.listed = isolated.call(self._listed, self.files)
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

    @functools.cached_property
    def _by_split(self) -> dict[str, Any]:
        """Its splits, memory-mapped by the library; files that it converts are mapped from its cache."""
        from datasets import DatasetDict, load_dataset, load_from_disk

        builder, files = self._converted
        if files:  # split by split: each may number its classes in its own way
            read = functools.partial(load_dataset, builder, split="train")
            return {split: read(data_files=[*map(str, paths)]) for split, paths in files.items()}
        saved = load_from_disk(self.root)
        return dict(saved) if isinstance(saved, DatasetDict) else {"train": saved}

    @functools.cached_property
    def _converted(self) -> tuple[str, dict[str, list[Path]]]:
        """The library's builder for files that it converts, and these by split; empty for what save_to_disk wrote."""
        for ending, builder in FILES.items():
            files = defaultdict(list)
            for path in sorted(path for path in self.files if path.suffix == ending):
                files[_split_of(path)].append(path)
            if files:
                return builder, files
        return "", {}

    def _listed(self) -> dict[str, tuple[list[str], list[int]]]:
        """By split: the names of its classes, and the class number of each image."""
        return {split: _classes(rows) for split, rows in self._by_split.items()}

    def names(self, split: str) -> list[Any]:
        return self._entry(self.listed, split)[0]

    def labels(self, split: str) -> list[int]:
        return self._entry(self.listed, split)[1]

    def _entry(self, by_split: dict[str, T], split: str) -> T:
        return next(iter(by_split.values())) if self.cut else by_split[split]

    def open(self, split: str) -> Any:
        from datasets import Image

        rows = self._entry(self._by_split, split)
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
    default = folder if folder in SPLITS or words[0].isdecimal() else words[0]
    return next((word for word in words if word in SPLITS), default)


def _check_whole(root: Path, split: str, files: list[Path]) -> None:
    """A note where files of a split are missing.

    Raises:
        UserError: they are of several datasets, or one is cut off where the library takes it for whole.
    """
    first, last = (path.relative_to(root) for path in (files[0], files[-1]))
    if len({path.parent for path in files}) > 1:
        raise UserError(f"{root}: {first} and {last} are both of {split}; take the folder of one dataset as root")
    totals = {int(match[1]) for path in files if (match := OF.search(path.stem))}
    expected = max(totals, default=len(files))
    if len(files) > expected or len(totals) > 1:
        raise UserError(
            f"{root}: {split} has {len(files)} files, such as {first} and {last}, whose names say {expected}; take "
            "away those of another dataset or of an earlier version"
        )
    if len(files) < expected:
        note(f"{root}: {split} has {len(files)} of {expected} files; reading what is there")
    for path in (path for path in files if path.suffix == ".tar"):
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - BLOCK))
            if file.read() != bytes(BLOCK):
                raise UserError(f"{path}: is cut off: no empty block ends it; get the whole file")


def _classes(rows: Any) -> tuple[list[str], list[int]]:
    """The names of a split's classes, and the class number of each image; -1 for none."""
    _image_column(rows.features)
    column = _label_column(rows.features)
    values, names = list(rows[column][:]), getattr(rows.features[column], "names", None)
    distinct = sorted({value for value in values if value is not None and value == value})  # no NaN
    numbers: dict[Any, int] = {value: i for i, value in enumerate(distinct if names is None else range(len(names)))}
    if names is None:  # beside a NaN, numbers are floats
        names = [int(value) if isinstance(value, float) and value.is_integer() else value for value in distinct]
    return list(map(str, names)), [numbers.get(value, -1) for value in values]


def _image_column(features: Any) -> str:
    from datasets import Image

    typed = [name for name, type_ in features.items() if isinstance(type_, Image)]
    if not typed:  # the files of other programs have no such type
        typed = [name for name, type_ in features.items() if isinstance(type_, dict) and "bytes" in type_]
    if not typed:
        binary = ("binary", "large_binary")
        typed = [name for name, type_ in features.items() if getattr(type_, "dtype", "") in binary]
    columns = [name for name in IMAGES if name in typed][:1] or typed
    if not columns:
        raise ValueError(f"no column of images among {', '.join(features)}")
    if len(columns) > 1:
        raise ValueError(f"{' and '.join(columns)} are all images; name the column of images image")
    return columns[0]


def _label_column(features: Any) -> str:
    from datasets import ClassLabel, Value

    typed = [name for name, type_ in features.items() if isinstance(type_, ClassLabel)]
    columns = [name for name in LABELS if name in features][:1] or typed
    if len(columns) != 1:
        which = f"{' and '.join(typed)} are all" if typed else f"none of {', '.join(features)} is"
        raise ValueError(f"{which} classes; name the column of classes label")
    if not isinstance(features[columns[0]], (ClassLabel, Value)):
        raise ValueError(f"the column {columns[0]} holds several values for an image; it takes the one class of each")
    return columns[0]
