"""Finds a dataset: under its root, in a known system folder, among the project's raw data, or by downloading it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hrrl.common.files import given_path, locked, replacing
from hrrl.data import readers
from hrrl.data.array_dataset import Arrays
from hrrl.data.image_folder import ArrayFile, DatasetReader, NotHereError
from hrrl.errors import UserError, note

SYSTEM = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))  # where distributions put datasets
RAW = Path("data/raw")


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A dataset, as an entry of the section ``datasets`` of params.yaml."""

    kind: str
    root: str | None = None  # folder (imagefolder: or zip); None: known places, then download
    train: str = "train"  # a published split, with an optional slice per class: "train[:1500]"
    test: str | None = None  # the held-out part; None: the published one
    classes: list[str] | None = None
    resolution: int | None = None
    synsets: dict[str, str] = field(default_factory=dict)  # of classes without a wnid; the kind's beside
    skip_unreadable: bool = False


def locate(definition: Definition, where: str) -> DatasetReader:
    """The dataset of a definition, opened where it is: an object of its kind's class.

    Args:
        definition: kind, root and train are read.
        where: the key of the root, for messages.
    Raises:
        UserError: it is nowhere, and cannot be downloaded; says what to put where.
    """
    kind, train = readers.load(definition.kind), definition.train.partition("[")[0]
    root = given_root(kind, definition.root, where)
    if kind.rootless:
        return kind(Path("."), train)
    raw = RAW / definition.kind
    names = definition.kind, definition.kind.replace("_", "-")
    places = [] if root else [*(system / name for system in SYSTEM for name in names), raw]
    for place in places:
        with contextlib.suppress(NotHereError):
            return kind(place, train)
    if places and hasattr(kind, "download"):
        _download(kind.download, kind.needs, raw, where)
    try:
        return kind(root or raw, train)
    except NotHereError as error:
        if root:
            raise UserError(f"{where}: {root}: {error}; expected {kind.needs}") from None
        raise UserError(f"{where}: not set, and {raw}: {error}; set it to where these are: {kind.needs}") from None


def warn_of_checksums(data: Arrays, files: list[ArrayFile], key: str) -> None:
    """Names, on stderr, the files that are not the published ones; not for a distribution's own packages."""
    if any(data.root.is_relative_to(place) for place in SYSTEM):
        return
    published = data.checksums()
    for file in files:
        if published.get(file["name"], file["md5"]) != file["md5"]:
            note(f"{key}: {data.root / file['name']} is not the published file (its MD5 differs); reading it as it is")


def given_root(kind: type[DatasetReader], root: str | None, where: str) -> Path | None:
    """A dataset's root as params.yaml gives it, None where it is not set.

    Raises:
        UserError: the kind takes no root, or there is nothing at it.
    """
    if root is None:
        return None
    if kind.rootless:
        raise UserError(f"{where}: {kind.needs}; set it to null")
    return given_path(root, where, "the folder of the dataset")


def _download(download: Callable[[Path], None], needs: str, raw: Path, where: str) -> None:
    """Downloads beside ``raw`` and moves it there when it is complete."""
    with locked(raw.with_name(f".{raw.name}.lock")):
        if raw.exists() and any(raw.iterdir()):
            return  # by another process in the meantime, or by the user
        print(f"{where}: downloading to {raw}", flush=True)
        try:
            with replacing(raw) as partial:
                partial.mkdir()
                download(partial)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{where}: the download failed ({error}); put this into {raw}, or set it to where it is: {needs}"
            ) from None
