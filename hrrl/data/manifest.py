"""Manifests: which images a dataset has, with their labels and splits, over files that stay where they are."""

import contextlib
import csv
import hashlib
import itertools
import json
import re
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hrrl.common.files import replacing, write_json
from hrrl.common.names import composed, is_wnid
from hrrl.data import isolated
from hrrl.data.array_dataset import Arrays
from hrrl.data.image_folder import ArrayFile, DatasetReader
from hrrl.data.locate import Definition, locate, warn_of_checksums
from hrrl.data.sources import Paths
from hrrl.errors import UserError, note, printable, reason

T = TypeVar("T")
CHUNK = 4096  # files per process: with fewer, another process does not pay off
AT_ONCE = 128  # files that go to a process at a time
PROCESSES = 2  # per core, that check files: they wait for the disk as well
SPLITS = ("train", "test")
UNKNOWN = -1  # size or CRC: array files have them in dataset.json


@dataclass
class Rows:
    """The images of one split, in order.

    Attributes:
        paths: relative to the root, ``<file>#<position>`` for array files, the member's name for zips.
        labels: (n,) int64.
        bytes, crcs: (n,) int64 file size and CRC-32 of the content, -1 for array files.
        skipped: paths of the unreadable images that were left out.
    """

    paths: Paths
    labels: np.ndarray
    bytes: np.ndarray
    crcs: np.ndarray
    skipped: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Differs when any image does, as far as size, CRC or the source files' MD5 tell."""
        parts: tuple[Any, ...] = (self.paths.text, self.paths.ends, self.labels, self.bytes, self.crcs)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


@dataclass
class Manifest:
    """A dataset's images; equal on every machine that has the same files.

    Attributes:
        classes: names; an image's label is a position here.
        wnids: WordNet id or None, for each class.
        splits: "train" and "test", as the definition selects them.
        train: the published split that images are trained on, without its slice: where files are looked for.
        resolution: pixels that the images are reduced to, or None.
        files: name, size and MD5 of the array files that hold the images.
        pixels: SHA-256 of the images of array files, as their reader decodes them, by split.
    """

    kind: str
    classes: list[str]
    wnids: list[str | None]
    splits: dict[str, Rows]
    train: str = "train"
    resolution: int | None = None
    files: list[ArrayFile] = field(default_factory=list)
    pixels: dict[str, str] = field(default_factory=dict)

    def labels(self, split: str) -> np.ndarray:
        """(n,) int64 class of each image of a split, in the manifest's order."""
        return self.splits[split].labels

    def write(self, folder: str | Path) -> None:
        """Writes manifest.csv and dataset.json into a folder, whole or not at all; the same bytes always."""
        description = {name: getattr(self, name) for name in ("kind", "train", "resolution", "classes", "wnids")}
        description["images"] = {split: len(rows.paths) for split, rows in self.splits.items()}
        description["skipped"] = {split: rows.skipped for split, rows in self.splits.items()}
        description |= {"files": self.files, "pixels": self.pixels}
        with replacing(Path(folder)) as partial:
            partial.mkdir()
            self._write_images(partial / "manifest.csv")
            write_json(partial / "dataset.json", description)

    def _write_images(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            file.write("path,label,split,bytes,crc\n")
            for split, rows in self.splits.items():
                for image_path, label, *numbers in zip(rows.paths, rows.labels, rows.bytes, rows.crcs, strict=True):
                    size, crc = ("" if value == UNKNOWN else value for value in numbers)
                    file.write(f"{_quoted(image_path)},{label},{split},{size},{crc}\n")


def _quoted(path: str) -> str:
    """A path as a field of a CSV file; csv leaves a carriage return unquoted, and takes it for a line end."""
    return '"' + path.replace('"', '""') + '"' if any(c in path for c in ',"\r\n') else path


def read_manifest(folder: str | Path) -> Manifest:
    """Reads what :meth:`Manifest.write` wrote.

    Raises:
        UserError: the folder holds no manifest, or a damaged one.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        splits = _read_images(folder / "manifest.csv")
        for split, rows in splits.items():
            rows.skipped = description["skipped"][split]
            if len(rows.paths) != description["images"][split]:
                raise ValueError(f"{len(rows.paths)} {split} images, not {description['images'][split]}")
        description["classes"] = [composed(name) for name in description["classes"]]
        names = ("kind", "classes", "wnids", "train", "resolution", "files", "pixels")
        return Manifest(splits=splits, **{name: description[name] for name in names})
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such manifest; list the dataset first") from None
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{folder}: damaged manifest ({error}); delete the folder and list the dataset anew") from None


def _read_images(path: Path) -> dict[str, Rows]:
    paths = {split: Paths() for split in SPLITS}
    numbers = {split: array("q") for split in SPLITS}  # label, size and CRC of each image
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        for image_path, label, split, size, crc in itertools.islice(csv.reader(file), 1, None):
            paths[split].extend([image_path])
            numbers[split].extend([int(label), int(size or UNKNOWN), int(crc or UNKNOWN)])
    return {split: Rows(paths[split], *np.array(numbers[split], np.int64).reshape(-1, 3).T.copy()) for split in SPLITS}


def prepare(definition: Definition, name: str) -> Manifest:
    """Finds a dataset, checks it and lists its images.

    Args:
        name: its key in ``datasets``, for messages.
    Raises:
        UserError: it is not there, not in its official layout, an image cannot be read, a split, slice or class is not
            there or leaves nothing.
    """
    key = f"datasets.{name}"
    data, classes, splits = _selected(definition, key)
    train, wnids = definition.train.partition("[")[0], [name if is_wnid(name) else None for name in classes]
    manifest = Manifest(definition.kind, classes, wnids, splits, train, definition.resolution)
    if not isinstance(data, Arrays):
        for split, rows in splits.items():
            splits[split] = _checked(data, rows, f"{name} {split}", definition.skip_unreadable)
        for split, rows in splits.items():
            if rows.skipped:
                _check_not_empty(rows.labels, classes, "without unreadable images, it", f"{key}.{split}")
        _note_shared(splits["train"], splits["test"], key)
    else:
        manifest.pixels = {split: _hash_pixels(data, rows.paths) for split, rows in splits.items()}
        manifest.files = data.sources(_all_paths(splits))
        warn_of_checksums(data, manifest.files, key)
    counts = " and ".join(f"{len(rows.paths)} {split}" for split, rows in splits.items())
    print(printable(f"{key}: {counts} images of {len(classes)} classes in {data}"), flush=True)
    return manifest


def relisted(definition: Definition, name: str, folder: str | Path) -> str | None:
    """What a listing of a dataset by names and sizes finds changed since its manifest was written, in one line.

    Reads no image but those that were left out: a file that was replaced by another of the same size is found when it
    is read.
    """
    key = f"datasets.{name}"
    try:
        manifest = read_manifest(folder)
        data, classes, splits = _selected(definition, key)
    except UserError as error:
        return str(error)
    if isinstance(data, Arrays):
        current, listed = (
            [(file["name"], file["bytes"]) for file in files]
            for files in (data.sources(_all_paths(splits)), manifest.files)
        )
        return None if current == listed else f"{key}: its files are {current}, the manifest has {listed}"
    for split, rows in manifest.splits.items():
        sizes = dict(zip(rows.paths, rows.bytes.tolist(), strict=True))
        old = {path: manifest.classes[y] for path, y in zip(rows.paths, rows.labels.tolist(), strict=True)}
        new = {path: classes[y] for path, y in zip(splits[split].paths, splits[split].labels.tolist(), strict=True)}
        if skipped := set(rows.skipped):
            rows_to_check = Rows(Paths(skipped), *np.zeros((3, len(skipped)), int))
            skipped = set(_checked(data, rows_to_check, f"{name} {split}", skip=True).skipped)
        added = [path for path in new if path not in old and path not in skipped]
        removed = sorted(set(old) - set(new))
        changed = [p for p in new if p in old and (new[p] != old[p] or data.store.size(p) not in (None, sizes[p]))]
        if first := (*added, *removed, *changed)[:1]:
            counts = f"{len(added)} images more, {len(removed)} fewer, {len(changed)} of another size or class"
            return f"{key}: {split} has {counts} than its manifest; the first is {first[0]}"
    return None


def _all_paths(splits: dict[str, Rows]) -> Iterator[str]:
    return itertools.chain(*(rows.paths for rows in splits.values()))


def _hash_pixels(data: Arrays, paths: Paths) -> str:
    """SHA-256 of the images of array files, in their order."""
    digest = hashlib.sha256()
    for images in data.parts(paths):
        digest.update(repr(images.shape[1:]).encode() + images.tobytes())
    return digest.hexdigest()


def held_out(definition: Definition, data: DatasetReader) -> str:
    """The published split, with an optional slice per class, of the test images."""
    published = {split.lower(): split for split in data.splits}
    names = ("val", "test", "validation", "valid")
    return definition.test or next((published[name] for name in names if name in published), "val")


def _selected(definition: Definition, key: str) -> tuple[DatasetReader, list[str], dict[str, Rows]]:
    """A dataset, its classes in use, and the selected images of each split, whose files are not read yet."""
    data = locate(definition, f"{key}.root")
    classes = _choose(definition.classes, data.classes, f"{key}.classes")
    keep = [data.classes.index(c) for c in classes]
    published: dict[str, tuple[Paths, np.ndarray]] = {}
    chosen: dict[str, np.ndarray] = {}
    splits = {}
    for split, expression in zip(SPLITS, (definition.train, held_out(definition, data)), strict=True):
        source, part = _parse(expression, data.splits, f"{key}.{split}")
        if source not in published:
            published[source] = data.rows(source, classes)
        paths, labels = published[source]
        indices, labels = _select(labels, keep, part)
        _check_not_empty(labels, classes, expression, f"{key}.{split}")
        if source in chosen and (common := len(np.intersect1d(chosen[source], indices))):
            raise UserError(f"{key}.test: {expression} has {common} images of train: {definition.train}; expected none")
        chosen[source] = indices
        sizes, crcs = np.full((2, len(labels)), UNKNOWN)
        splits[split] = Rows(paths.take(indices), labels, sizes, crcs)
    return data, classes, splits


def _choose(classes: list[str] | None, known: list[str], key: str) -> list[str]:
    """The classes to keep, in the order of their labels."""
    chosen = list(known if classes is None else map(composed, classes))
    if unknown := [c for c in chosen if c not in known]:
        raise UserError(f"{key}: unknown class {unknown[0]!r}; known: {', '.join(known)}")
    if garbled := [c for c in chosen if not c.isprintable()]:
        raise UserError(f"{key}: the name {garbled[0]!r} holds a character that no line can show; rename its folder")
    if len(set(chosen)) < len(chosen):
        raise UserError(f"{key}: every class may appear only once, got {', '.join(chosen)}")
    return chosen


def _parse(expression: str, published: list[str], key: str) -> tuple[str, slice]:
    """ "train[:1500]" as the name of a published split and a slice of each class."""
    match = re.fullmatch(r"([\w .-]+)(?:\[(-?\d*):(-?\d*)\])?", expression)
    if match is None or match[1] not in published:
        raise UserError(
            f"{key}: {expression!r} is no published split; known: {', '.join(published)}, "
            'with an optional slice per class, such as "train[:500]"'
        )
    return match[1], slice(*(int(bound) if bound else None for bound in (match[2], match[3])))


def _select(labels: np.ndarray, keep: list[int], part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Positions (ascending) and new labels of the images in a slice of each class to keep; labels become 0, 1, ..."""
    counts = np.bincount(labels, minlength=max(keep) + 1)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    pieces = [by_class[k][part] for k in keep]
    numbers = np.repeat(np.arange(len(keep)), [len(piece) for piece in pieces])
    indices = np.concatenate(pieces)
    ascending = np.argsort(indices)
    return indices[ascending], numbers[ascending]


def _check_not_empty(labels: np.ndarray, classes: list[str], what: str, key: str) -> None:
    """An error where every class, or one of the training split's, has no image; else a note."""
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if len(empty) == len(classes):
        raise UserError(f"{key}: {what} leaves no images; expected some of every class")
    if empty and key.endswith(".train"):
        raise UserError(f"{key}: {what} leaves no images of class {empty[0]}; expected some of every class")
    if empty:
        note(f"{key}: {what} has no images of {len(empty)} classes, the first is {empty[0]}")


def _note_shared(train: Rows, test: Rows, key: str) -> None:
    """A note where files of the test part are in the training part as well, under any name."""
    train_keys, test_keys = (rows.bytes * 2**32 + rows.crcs for rows in (train, test))
    if len(shared := np.flatnonzero(np.isin(test_keys, train_keys))):
        counts = f"{len(shared)} of {len(test_keys)} images are in train as well, by size and CRC"
        note(f"{key}.test: {counts}; the first is {test.paths[int(shared[0])]}")


def read_all(
    data: DatasetReader, paths: Paths, read: Callable[[str], T], processes: int, title: str, skip: bool
) -> Iterator[tuple[int, T]]:
    """Position and ``read(path)`` of each file that can be read, in order; in child processes, which a file may crash.

    Raises:
        UserError: a file cannot be read, and ``skip`` is false; else a note says so.
    """
    from tqdm import tqdm

    with contextlib.closing(isolated.imap(read, paths, processes, chunk=AT_ONCE)) as answers:
        bar = tqdm(answers, title, len(paths), leave=False, unit="img", mininterval=1)
        for i, answer in enumerate(bar):
            if not isinstance(answer, Exception):
                yield i, answer
                continue
            message = f"{data.store}/{paths[i]}: {reason(answer)}"
            if not skip:
                raise UserError(f"{message}; replace the file, or set skip_unreadable: true")
            note(f"skipped {message}")


def _checked(data: DatasetReader, rows: Rows, title: str, skip: bool) -> Rows:
    """The images of a split that can be read and decoded, with their sizes and CRCs."""
    from hrrl.data.decode import check  # once, before the processes start

    def examine(path: str) -> tuple[int, int, bool]:
        content = data.store.read(path)
        return len(content), zlib.crc32(content), check(content)

    n = len(rows.paths)
    processes = min(PROCESSES * isolated.cores(), 1 + n // CHUNK)
    positions, numbers = array("q"), array("q")  # of each image its size, its CRC, and whether it is of one colour
    for i, examined in read_all(data, rows.paths, examine, processes, f"checking {title}", skip):
        positions.append(i)
        numbers.extend(examined)
    readable = np.array(positions)
    sizes, crcs, constant = np.array(numbers).reshape(-1, 3).T.copy()
    if len(uniform := readable[constant == 1]):
        first = f"{data.store}/{rows.paths[uniform[0]]}"
        note(f"{title}: {len(uniform)} images are of one colour all over, the first is {first}")
    skipped = [rows.paths[i] for i in np.setdiff1d(np.arange(n), readable).tolist()]
    kept = rows.paths.take(positions) if skipped else rows.paths
    return Rows(kept, rows.labels[readable], sizes, crcs, skipped)
