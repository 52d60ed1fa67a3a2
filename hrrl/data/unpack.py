"""Unpacks gzip and tar files, up to a limit that no dataset reaches."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

SMALL = 2**26  # bytes that anything may unpack to
TIMES = 64  # its own size that a larger file may unpack to: no photographs come near that


def allowed(packed: int) -> int:
    """Bytes that a file of ``packed`` bytes may unpack to."""
    return max(SMALL, TIMES * packed)


def gunzip(packed: bytes) -> bytes:
    """The content of a gzip file.

    Raises:
        ValueError, OSError, EOFError: it is damaged, or unpacks to far more than images do.
    """
    content = bytearray()
    with gzip.open(io.BytesIO(packed)) as stream:
        while piece := stream.read(2**20):  # a buffer for all that is allowed would take the memory
            content += piece
            if len(content) > allowed(len(packed)):
                raise ValueError(f"unpacks to more than {TIMES} times its size")
    return bytes(content)


def members(archive: bytes | Path, names: Iterable[str]) -> dict[str, bytes]:
    """Content of the files of these names in a tar.gz, whatever folder they are in. Nothing is written anywhere.

    Raises:
        ValueError, OSError, EOFError, tarfile.TarError: it is damaged, or unpacks to far more than images do.
    """
    packed = archive if isinstance(archive, bytes) else archive.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(gunzip(packed))) as tar:
        files = {Path(member.name).name: member for member in tar if member.isfile()}
        return {name: tar.extractfile(files[name]).read() for name in names if name in files}  # type: ignore[union-attr]
