"""``concepts: {csv: file}``: a file that gives the concept of each class of the benchmark, or of each of its images."""

import csv
import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hrrl.common.names import composed
from hrrl.concepts.names import OTHERS, some, usable_name
from hrrl.errors import UserError

KEYS = {"image": "an image", "path": "an image", "class": "a class"}  # columns beside concept; the first present counts
TAKES = "class,concept or image,concept"


class Line(NamedTuple):
    number: int
    key: str  # the class or the image
    concept: str


class Grouping(NamedTuple):
    """The lines of a file, and whether they group images instead of classes."""

    path: Path
    by_image: bool
    lines: list[Line]

    def error(self, line: Line, problem: str) -> UserError:
        return UserError(f"{self.path}, line {line.number}: {problem}")


def read(path: str | Path) -> Grouping:
    """Reads a file with the columns class,concept or image,concept (or path,concept) and any others.

    Columns are separated by commas, semicolons or tabs: spreadsheet programs write all three.

    Raises:
        UserError: the file cannot be read or is malformed; names the line, if one is to blame.
    """
    path = Path(os.path.expanduser(os.path.expandvars(path)))  # pathlib's own raises where there is no home
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first_line = file.readline().strip()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first_line.count), skipinitialspace=True)
            rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read ({error}); save it as CSV in UTF-8, with columns {TAKES}") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); it takes a CSV with columns {TAKES}") from None
    header = [name.lower() for name in rows[0][1]] if rows else []
    key_column = next((name for name in KEYS if name in header), None)
    if key_column is None or header.count("concept") != 1 or header.count(key_column) > 1:
        raise UserError(f"{path}: the first line is {first_line!r}; it takes {TAKES}")
    grouping = Grouping(path, key_column != "class", [])
    for number, row in ((number, row) for number, row in rows[1:] if any(row)):
        fields = dict(zip(header, map(composed, row), strict=False))
        line = Line(number, fields.get(key_column, ""), fields.get("concept", ""))
        if len(row) != len(header) or not (line.key and line.concept):
            quoted = ", in quotes where it has a comma" * (len(row) > len(header))
            raise grouping.error(line, f"{','.join(row)!r}; a line takes {KEYS[key_column]} and its concept{quoted}")
        if line.concept != OTHERS:
            try:
                usable_name(line.concept)
            except UserError as error:
                raise grouping.error(line, str(error)) from None
        grouping.lines.append(line)
    return grouping


def by_image(concepts: object) -> bool:
    """Whether the setting ``concepts`` names a file that groups images."""
    return isinstance(concepts, dict) and "csv" in concepts and read(concepts["csv"]).by_image


def sha256(concepts: object) -> str | None:
    """SHA-256 of the file that the setting ``concepts`` names, None where it names none.

    Raises:
        UserError: the file cannot be read.
    """
    if not (isinstance(concepts, dict) and "csv" in concepts):
        return None
    return hashlib.sha256(read(concepts["csv"]).path.read_bytes()).hexdigest()


def order(grouping: Grouping) -> list[str]:
    """The concepts in the file's order, "others" last."""
    return [name for name in dict.fromkeys(line.concept for line in grouping.lines) if name != OTHERS] + [OTHERS]


def of_classes(grouping: Grouping) -> dict[str, str]:
    """{class: concept}.

    Raises:
        UserError: the file groups images, or gives a class two concepts.
    """
    table: dict[str, str] = {}
    if grouping.by_image:
        raise UserError(f"{grouping.path}: gives the concepts of images; those of classes take columns class,concept")
    for line in grouping.lines:
        if table.setdefault(line.key, line.concept) != line.concept:
            raise grouping.error(line, f"class {line.key!r} is both {table[line.key]!r} and {line.concept!r}")
    return table


def of_images(
    path: str | Path, images: Mapping[str, Sequence[str]], beside: Iterable[str] = (), partial: bool = False
) -> tuple[list[str], dict[str, list[int]]]:
    """The concept of each image of a dataset.

    Args:
        images: split -> paths as its manifest has them; concepts are those of the images in "train".
        beside: paths of images that the manifest leaves out, which may have a line.
        partial: whether the dataset is a part of another, whose other images may have lines.
    Returns:
        The K names, "others" last, and split -> index of each image's concept, in 0 .. K - 1.
    Raises:
        UserError: an image has no line or two, a line has no image, or a concept no training image.
    """
    grouping, image_paths = read(path), [name for paths in images.values() for name in paths]
    if not grouping.by_image:
        raise UserError(f"{path}: gives the concepts of classes; those of images take columns image,concept")
    known = {composed(name): name for name in [*beside, *image_paths]} | {name: name for name in image_paths}
    lines: dict[str, Line] = {}
    for line in grouping.lines:
        name = next((known[spelling] for spelling in _spellings(line.key) if spelling in known), None)
        if name in lines:
            raise grouping.error(line, f"image {line.key!r} has a line already, {lines[name].number}")
        if name is None and not partial:
            hint = f"takes paths as its manifest.csv has them, relative to its root, such as {image_paths[0]!r}"
            raise grouping.error(line, f"the dataset has no image {line.key!r}; {hint}")
        if name is not None:
            lines[name] = line
    if missing := [name for name in image_paths if name not in lines]:
        raise UserError(f"{path}: no concept for image {some(missing, 2)}; every image of the dataset takes a line")
    image_concepts = {split: [lines[name].concept for name in paths] for split, paths in images.items()}
    in_train, in_any_split = set(image_concepts["train"]), set().union(*image_concepts.values())
    if untrained := [name for name in order(grouping) if name in in_any_split - in_train]:
        raise UserError(f"{path}: no training image has the concept {untrained[0]!r}; every concept takes some")
    indices = {name: k for k, name in enumerate(name for name in order(grouping) if name in in_train)}
    return list(indices), {split: [indices[name] for name in names] for split, names in image_concepts.items()}


def _spellings(path: str) -> Iterator[str]:
    """How a manifest may write a path: unchanged, without Windows' or a shell's spelling, relative to any root."""
    yield path
    plain = posixpath.normpath(path.replace("\\", "/"))
    yield plain
    if re.match(r"~?/|[A-Za-z]:/", plain):
        parts = plain.split("/")
        yield from ("/".join(parts[start:]) for start in range(1, len(parts)))
