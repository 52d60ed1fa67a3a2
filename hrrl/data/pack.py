"""A dataset of image files as one zip of smaller JPEG files: what training reads is decoded several times as fast."""

import hashlib
import itertools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import simplejpeg

from hrrl.common.files import replacing
from hrrl.data import isolated
from hrrl.data.array_dataset import Arrays
from hrrl.data.decode import JPEG, decode, resize
from hrrl.data.image_folder import DatasetReader
from hrrl.data.locate import Definition, locate
from hrrl.data.manifest import UNKNOWN, Rows, held_out, read_all
from hrrl.data.sources import Paths, join
from hrrl.errors import UserError

FORMAT = 2  # raise it when packing makes other files of the same ones


def pack(definition: Definition, name: str, folder: Path, side: int = 256, quality: int = 90) -> Path:
    """Writes the published splits that a dataset's definition takes from as a zip of ``<split>/<class>/<name>.jpg``.

    Args:
        name: its key in ``datasets``.
        folder: that gets the zip; the zip's name tells all settings, and differs where names or sizes of images do.
        side: pixels of the short side; JPEG files that are no larger stay as they are.
    Returns:
        The zip, which is a root for ``kind: imagefolder``; an existing one is left as it is.
    Raises:
        UserError: the dataset is not there or not one of files, an image cannot be read, a class cannot be a folder.
    """
    key = f"datasets.{name}"
    data = locate(definition, f"{key}.root")
    if isinstance(data, Arrays):
        raise UserError(f"{key}: kind {definition.kind} holds its images in arrays, which nothing decodes; leave it")
    if bad := [c for c in data.classes if {"/", "\\"} & {*c}]:
        raise UserError(f"{key}: class {bad[0]!r} has a slash, which no folder's name in a zip can have; expected none")
    splits = [expression.partition("[")[0] for expression in (definition.train, held_out(definition, data))]
    listed = {split: _rows(data, split) for split in dict.fromkeys(splits)}
    settings = {"kind": definition.kind, "splits": splits, "side": side, "quality": quality, "format": FORMAT}
    settings |= {"classes": data.classes, "images": [rows.fingerprint() for rows in listed.values()]}
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
    path = folder / f"{name}-packed-{side}-q{quality}-{digest}.zip"
    if path.exists():
        return path
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for member, content in _files(data, listed, side, quality, definition.skip_unreadable):
            archive.writestr(zipfile.ZipInfo(member), content)  # of one date, so that the bytes are the same
    return path


def _rows(data: DatasetReader, split: str) -> Rows:
    """All images of a published split, whose files are not read yet."""
    paths, labels = data.rows(split, data.classes)
    sizes = np.array([data.store.size(path) or UNKNOWN for path in paths], np.int64)
    return Rows(paths, labels, sizes, np.full(len(paths), UNKNOWN))


def _files(
    data: DatasetReader, listed: dict[str, Rows], side: int, quality: int, skip: bool
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of the zip."""

    def take(path: str) -> bytes:
        return smaller(data.store.read(path), side, quality)

    for split, rows in listed.items():
        members = _members(split, data.classes, rows.paths, rows.labels.tolist())
        for i, content in read_all(data, rows.paths, take, isolated.cores(), f"packing {split}", skip):
            yield members[i], content


def _members(split: str, classes: list[str], paths: Paths, labels: list[int]) -> list[str]:
    """The zip's member for each image, numbered where sorted names would change the order of a class's images."""
    members, last, taken = list[str](), dict[int, str](), set[str]()
    in_order = True
    for path, label in zip(paths, labels, strict=True):
        members.append(_member(split, classes[label], path, taken))
        in_order &= last.get(label, "") < members[-1]
        last[label] = members[-1]
    parts = (member.rpartition("/") for member in members)
    return members if in_order else [f"{folder}/{i:08}_{name}" for i, (folder, _, name) in enumerate(parts)]


def _member(split: str, name: str, path: str, taken: set[str]) -> str:
    """``<split>/<class>/<name>.jpg``, with the file's own ending before it where that name is taken."""
    original = PurePosixPath(path.replace("#", "_").encode(errors="replace").decode())  # a zip's names are Unicode
    stems = itertools.chain((original.stem, original.name), map(str, itertools.count()))
    member = next(candidate for stem in stems if (candidate := f"{join(split, name, stem)}.jpg") not in taken)
    taken.add(member)
    return member


def smaller(content: bytes, side: int, quality: int) -> bytes:
    """An image's file as a JPEG file whose short side is ``side``; a JPEG file that is no larger as it is.

    Raises:
        ValueError: it cannot be decoded.
    """
    image = decode(content)
    height, width = image.shape[1:]
    short = min(height, width)
    if short <= side and content.startswith(JPEG):
        return content
    if short > side:
        image = resize(image, round(height * side / short), round(width * side / short))
    return simplejpeg.encode_jpeg(image.permute(1, 2, 0).contiguous().numpy(), quality=quality, colorsubsampling="420")
