"""Files that are there whole or not at all, whatever happens while they are written."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path for a file or folder, which takes the place of ``target`` at the end, or never.

    It lies beside the target, under a name of this process alone, and is on the disk when it takes its place.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.partial")
    remove(temporary)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        _flush(temporary)
        if target.is_dir():
            remove(target)  # os.replace puts files in the place of files only
        os.replace(temporary, target)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Removes a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
