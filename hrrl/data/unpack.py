"""Packed files, unpacked no further than any dataset goes."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SMALL = 2**26  # bytes that anything may unpack to
TIMES = 64  # its own size that a larger file may unpack to: no photographs come near that


def allowed(packed: int) -> int:
    """Bytes that so many packed ones may unpack to."""
    return max(SMALL, TIMES * packed)


class Bounded(io.RawIOBase):
    """A stream that ends in an error where it gets longer than its file allows."""

    def __init__(self, stream: io.BufferedIOBase, packed: int):
        self.stream, self.left = stream, allowed(packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"unpacks to more than {TIMES} times its size")
        buffer[: len(data)] = data
        return len(data)


def gunzip(path: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        ValueError, OSError, EOFError: it is damaged, or unpacks to far more than images do.
    """
    with gzip.open(path) as stream:
        return Bounded(stream, path.stat().st_size).readall()


def members(archive: bytes | Path, names: Iterable[str]) -> dict[str, bytes]:
    """Content of the files of these names in a tar.gz, whatever folder they are in. Nothing is written anywhere.

    Raises:
        ValueError, OSError, EOFError, tarfile.TarError: it is damaged, or unpacks to far more than images do.
    """
    wanted = set(names)
    found: dict[str, bytes] = {}
    packed = len(archive) if isinstance(archive, bytes) else archive.stat().st_size
    with gzip.open(io.BytesIO(archive) if isinstance(archive, bytes) else archive) as stream:
        bounded = io.BufferedReader(Bounded(stream, packed), 2**20)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:
            for member in tar:
                name = Path(member.name).name
                if member.isfile() and name in wanted and name not in found:
                    found[name] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found
