"""Atomic writes: a file is there whole or not at all, whatever happens while it is written."""

import errno
import fcntl
import glob
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hrrl.errors import UserError

NAMES = "utf-8", "surrogateescape"  # the encoding of file names here, whatever the locale's
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # on file systems without locks, as some Lustre


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path for a file or folder, which replaces ``target`` at the end, or never.

    It lies beside the target, under a name of this process alone, and is flushed to the disk before it replaces it.

    Raises:
        OSError: the target cannot be written; the error names it.
    """
    target = Path(target)
    prefix = f".{target.name}.{socket.gethostname()}."
    temporary = target.with_name(f"{prefix}{os.getpid()}.partial")
    for leftover in target.parent.glob(f"{glob.escape(prefix)}*.partial"):
        if leftover == temporary or not _runs(leftover.name.removeprefix(prefix).removesuffix(".partial")):
            remove(leftover)  # of a process that was killed
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        _flush(temporary)
        if target.is_dir():
            remove(target)  # os.replace replaces files only
        os.replace(temporary, target)
    except OSError as error:
        if error.errno and error.filename is None:  # an error of writing, such as of a full disk, names no file
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        remove(temporary)


@contextmanager
def locked(path: Path, waits: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Holds an exclusive lock on this machine; no lock where the file system has none.

    Yields the descriptor of the lock file: the lock is held as long as a process has it open. ``waits`` is called
    before waiting for another process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield file.fileno()


def given_path(given: str, key: str, expected: str) -> Path:
    """A path of params, with ``~`` and environment variables expanded.

    Raises:
        UserError: a variable is not set, or the path does not exist; names the key, and what is ``expected`` there.
    """
    path = os.path.expanduser(os.path.expandvars(given))
    if "$" in path:
        raise UserError(f"{key}: {given}: an environment variable in it is not set; set it, or write the path")
    for candidate in (path, os.fsdecode(path.encode(*NAMES))):  # the latter where the locale is not UTF-8
        if os.path.exists(candidate):
            return Path(candidate)
    raise UserError(f"{key}: {path} does not exist; expected {expected}")


def write_json(path: Path, content: object) -> None:
    with replacing(path) as new:
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def remove(path: Path) -> None:
    """Removes a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass  # of another user
    return True


def _flush(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
