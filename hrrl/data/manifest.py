"""Manifests: which images a dataset has, with their labels and splits, over files that stay where they are."""

import csv
import hashlib
import json
import os
import re
import shutil
from array import array
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hrrl.data.kinds import locate, warn_of_checksums
from hrrl.data.stores import Folder, Zip, whole
from hrrl.data.trees import note
from hrrl.errors import UserError

CHUNK = 512  # files that one thread checks at a time
UNKNOWN = -1  # size or CRC


class Paths:
    """Many paths in one buffer: a million take 50 MB, and forked processes share them."""

    def __init__(self, paths: Iterable[str] = ()):
        text, ends = bytearray(), array("q", [0])
        for path in paths:
            text += os.fsencode(path)
            ends.append(len(text))
        self.text, self.ends = bytes(text), np.frombuffer(ends, np.int64)

    def __len__(self):
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        return os.fsdecode(self.text[self.ends[i] : self.ends[i + 1]])

    def take(self, indices: np.ndarray) -> "Paths":
        return Paths(self[i] for i in indices)


@dataclass
class Rows:
    """The images of one split, in order.

    Attributes:
        paths: relative to the root, ``<file>#<position>`` for array files, the member's name for zips.
        labels: (n,) int64.
        bytes, crcs: (n,) int64 file size and CRC-32, -1 where they are not known without reading.
        skipped: how many unreadable images were left out.
    """

    paths: Paths
    labels: np.ndarray
    bytes: np.ndarray
    crcs: np.ndarray
    skipped: int = 0

    def fingerprint(self) -> str:
        """Differs when any image does, as far as size, CRC or the source files' MD5 tell."""
        parts = (self.paths.text, self.paths.ends, self.labels, self.bytes, self.crcs)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


@dataclass
class Manifest:
    """A dataset's images; equal on every machine that has the same files.

    Attributes:
        kind: of the dataset.
        classes: names; an image's label is a position here.
        wnids: WordNet id or None, for each class.
        splits: "train" and "test", as the definition selects them.
        files: name, size and MD5 of the array files that hold the images.
    """

    kind: str
    classes: list[str]
    wnids: list[str | None]
    splits: dict[str, Rows]
    files: list[dict] = field(default_factory=list)

    def labels(self, split: str) -> np.ndarray:
        """(n,) int64 class of each image of a split, in the manifest's order."""
        return self.splits[split].labels

    def paths(self, split: str) -> Paths:
        return self.splits[split].paths

    def write(self, folder) -> None:
        """Writes manifest.csv and dataset.json into a folder, whole or not at all; the same bytes always."""
        folder = Path(folder)
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        partial.mkdir(parents=True)
        try:
            self._write_images(partial / "manifest.csv")
            description = {
                "kind": self.kind,
                "classes": self.classes,
                "wnids": self.wnids,
                "images": {split: len(rows.paths) for split, rows in self.splits.items()},
                "skipped": {split: rows.skipped for split, rows in self.splits.items()},
                "files": self.files,
            }
            (partial / "dataset.json").write_text(json.dumps(description, indent=1) + "\n")
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _write_images(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "label", "split", "bytes", "crc"])
            for split, rows in self.splits.items():
                for i, label, size, crc in zip(range(len(rows.paths)), rows.labels, rows.bytes, rows.crcs, strict=True):
                    known = ["" if value == UNKNOWN else value for value in (size, crc)]
                    writer.writerow([rows.paths[i], label, split, *known])


def read_manifest(folder) -> Manifest:
    """Reads what :meth:`Manifest.write` wrote.

    Raises:
        UserError: the folder holds no manifest, or a damaged one.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / "dataset.json").read_text())
        splits = _read_images(folder / "manifest.csv")
        for split, rows in splits.items():
            rows.skipped = description["skipped"][split]
            if len(rows.paths) != description["images"][split]:
                raise ValueError(f"{len(rows.paths)} {split} images, not {description['images'][split]}")
        names = ("kind", "classes", "wnids")
        return Manifest(*(description[name] for name in names), splits, description["files"])
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such manifest; run the manifest stages first (dvc repro)") from None
    except (ValueError, KeyError) as error:
        raise UserError(f"{folder}: damaged manifest ({error}); delete the folder and run dvc repro") from None


def _read_images(path: Path) -> dict[str, Rows]:
    columns = {split: (array("q"), array("q"), array("q")) for split in ("train", "test")}

    def paths(reader, last: list):
        """Paths of the first split; the row that starts the second one ends it."""
        for row in reader:
            if row[2] != last[0]:
                last[:] = [row[2], row]
                return
            yield keep(row)

    def keep(row):
        for column, value in zip(columns[row[2]], (row[1], row[3], row[4]), strict=True):
            column.append(int(value) if value else UNKNOWN)
        return row[0]

    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.reader(file)
        next(reader, None)
        last = ["train", None]
        train = Paths(paths(reader, last))
        test = Paths(keep(row) for rows in ([last[1]] if last[1] else [], reader) for row in rows)
    numbers = {split: [np.frombuffer(c, np.int64) for c in columns[split]] for split in columns}
    return {"train": Rows(train, *numbers["train"]), "test": Rows(test, *numbers["test"])}


def prepare(definition, name: str) -> Manifest:
    """Finds a dataset, checks it and lists its images.

    Args:
        definition: a dataset definition of params.yaml (hrrl.params.Dataset).
        name: its key in ``datasets``, for messages.
    Raises:
        UserError: it is not there, not in its official layout, an image cannot be read, a split, slice or class is not
            there or leaves nothing.
    """
    key = f"datasets.{name}"
    data = locate(definition, key)
    classes = _choose(definition.classes, data.classes, f"{key}.classes")
    held_out = definition.test or next((s for s in ("val", "test") if s in data.splits), "val or test")
    published, splits, chosen = {}, {}, {}
    for split, expression in (("train", definition.train), ("test", held_out)):
        source, part = _parse(expression, data.splits, f"{key}.{split}")
        if source not in published:
            paths, labels = data.rows(source, classes)
            published[source] = Paths(paths), labels
        paths, labels = published[source]
        indices, labels = _select(labels, [data.classes.index(c) for c in classes], part)
        _complain_of_empty(labels, classes, expression, key, split)
        chosen.setdefault(source, []).append(indices)
        splits[split] = Rows(paths.take(indices), labels, *np.full((2, len(labels)), UNKNOWN))
    if any(len(both) == 2 and len(common := np.intersect1d(*both)) for both in chosen.values()):
        raise UserError(
            f"{key}.test: {held_out} shares {len(common)} images with train: {definition.train}; "
            "expected held-out images"
        )
    store = getattr(data, "store", None)
    if store is not None:
        splits = {
            split: _check(store, rows, f"{name} {split}", definition.skip_unreadable) for split, rows in splits.items()
        }
        for split, rows in splits.items():
            _complain_of_empty(rows.labels, classes, "the readable part", key, split)
    warn_of_checksums(data, key)
    counts = ", ".join(f"{len(rows.paths)} {split} images" for split, rows in splits.items())
    print(f"{key}: {len(classes)} classes, {counts} from {store or data}", flush=True)
    wnids = dict(zip(data.classes, data.wnids, strict=True))
    return Manifest(definition.kind, classes, [wnids[c] for c in classes], splits, data.sources())


def _choose(classes: list[str] | None, known: list[str], key: str) -> list[str]:
    """The classes to keep, in the order of their labels."""
    chosen = list(known if classes is None else classes)
    if unknown := [c for c in chosen if c not in known]:
        raise UserError(f"{key}: unknown class {unknown[0]!r}; known: {', '.join(known)}")
    if len(set(chosen)) < len(chosen):
        raise UserError(f"{key}: every class may appear only once, got {', '.join(chosen)}")
    return chosen


def _parse(expression: str, published: list[str], key: str) -> tuple[str, slice]:
    """ "train[:1500]" as the name of a published split and a slice of each class."""
    form = re.fullmatch(r"(\w[\w ]*)(?:\[(-?\d*):(-?\d*)\])?", expression)
    if form is None or form[1] not in published:
        raise UserError(
            f"{key}: {expression!r} is no published split; known: {', '.join(published)}, "
            'with an optional slice per class, such as "train[:500]"'
        )
    return form[1], slice(*(int(bound) if bound else None for bound in (form[2], form[3])))


def _select(labels: np.ndarray, keep: list[int], part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Positions (ascending) and new labels of the images in a slice of each class to keep; labels become 0, 1, ..."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], [*keep, *(k + 1 for k in keep)])
    pieces = [order[a:b][part] for a, b in zip(starts[: len(keep)], starts[len(keep) :], strict=True)]
    numbers = np.repeat(np.arange(len(keep)), [len(piece) for piece in pieces])
    indices = np.concatenate(pieces)
    ascending = np.argsort(indices)
    return indices[ascending], numbers[ascending]


def _complain_of_empty(labels: np.ndarray, classes: list[str], expression: str, key: str, split: str) -> None:
    empty = [
        name for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True) if not count
    ]
    if len(empty) == len(classes) or (empty and split == "train"):
        which = "no images" if len(empty) == len(classes) else f"no images of class {empty[0]}"
        raise UserError(f"{key}.{split}: {expression} leaves {which}; expected some of every class")
    if empty:
        note(f"{key}.{split}: {expression} has no images of {len(empty)} classes, the first is {empty[0]}")


def _check(store: Folder | Zip, rows: Rows, title: str, skip: bool) -> Rows:
    """Looks at both ends of every file, decodes those that look odd, and notes sizes and CRCs.

    Raises:
        UserError: a file is unreadable, and ``skip`` is false: the first one is named.
    """
    from tqdm import tqdm

    n = len(rows.paths)
    numbers, readable = np.full((2, n), UNKNOWN), np.ones(n, bool)

    def check(start: int):
        problems = []
        for i in range(start, min(start + CHUNK, n)):
            size, crc, problem = _examine(store, rows.paths[i])
            numbers[:, i] = size, UNKNOWN if crc is None else crc
            if problem:
                problems.append((i, problem))
        return problems

    bar = tqdm(total=n, desc=f"checking {title}", unit="img", leave=False, mininterval=1)
    pool = ThreadPoolExecutor(4 * (os.cpu_count() or 1))
    try:
        for start, problems in zip(range(0, n, CHUNK), pool.map(check, range(0, n, CHUNK)), strict=True):
            for i, problem in problems:
                message = f"{store}/{rows.paths[i]}: {problem}"
                if not skip:
                    raise UserError(f"{message}; replace the file, or set skip_unreadable: true")
                note(f"skipped {message}")
                readable[i] = False
            bar.update(min(CHUNK, n - start))
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    left = np.flatnonzero(readable)
    if len(left) == n:
        return Rows(rows.paths, rows.labels, *numbers)
    return Rows(rows.paths.take(left), rows.labels[left], *numbers[:, left], skipped=n - len(left))


def _examine(store: Folder | Zip, path: str) -> tuple[int, int | None, str | None]:
    """Size, CRC, and what is wrong with a file, if anything."""
    try:
        size, crc, head, tail = store.ends(path)
        if whole(size, head, tail):
            return size, crc, None
        from hrrl.data.decode import decode

        decode(store.read(path))
        return size, crc, None
    except OSError as error:
        return UNKNOWN, None, error.strerror or str(error)
    except ValueError as error:
        return size, crc, str(error)
