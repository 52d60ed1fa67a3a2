"""Where image files lie: a folder, or a zip that is read without unpacking. Both list, read and check files alike."""

import contextlib
import os
import stat
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from hrrl.common.files import NAMES
from hrrl.data.unpack import TIMES, allowed
from hrrl.errors import UserError

IMAGES = (".jpeg", ".jpg", ".png", ".bmp", ".gif", ".jfif", ".jpe", ".pgm", ".ppm", ".tif", ".tiff", ".webp")

LARGEST = 2**28  # bytes of one file: more is no image but an attack on the memory
HIDDEN = (".", "__MACOSX", "@eaDir")  # how names begin that macOS, Synology's and other systems add to folders
SAYS_UTF8 = 0x800  # flag of a zip's member


class Paths:
    """Many paths in one buffer: a million of them take tens of MB, and forked processes share it."""

    def __init__(self, paths: Iterable[str] = ()):
        self.text, self.ends = bytearray(), array("q", [0])
        self.extend(paths)

    def extend(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.text += path.encode(*NAMES)
            self.ends.append(len(self.text))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        return self.text[self.ends[i] : self.ends[i + 1]].decode(*NAMES)

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def take(self, indices: Iterable[int]) -> "Paths":
        return Paths(self[i] for i in indices)


class Store:
    """Files below a root, by their paths with slashes; a subclass lists one folder, and reads a file."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """Names in a folder, sorted, and whether each is a folder."""
        raise NotImplementedError

    def shown(self, path: str) -> list[tuple[str, bool]]:
        """:meth:`entries` but hidden ones."""
        return [(name, is_folder) for name, is_folder in self.entries(path) if not name.startswith(HIDDEN)]

    def hidden(self, path: str) -> list[str]:
        """Names of the hidden folders in a folder, sorted."""
        return [name for name, is_folder in self.entries(path) if is_folder and name.startswith(HIDDEN)]

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders in a folder, sorted."""
        return [name for name, is_folder in self.shown(path) if is_folder]

    def names(self, path: str = "") -> list[str]:
        """Names of the files in a folder, sorted."""
        return [name for name, is_folder in self.shown(path) if not is_folder]

    def files(self, path: str) -> list[str]:
        """Paths of all files in a folder and the folders in it, sorted by their names in each."""
        paths = []
        for name, is_folder in self.shown(path):
            below = join(path, name)
            paths += self.files(below) if is_folder else [below]
        return paths


class Folder(Store):
    def __init__(self, root: Path):
        self.root, self._bytes = Path(root), os.fsencode(root)

    def _at(self, path: str) -> bytes:
        return os.path.join(self._bytes, path.encode(*NAMES))

    def entries(self, path: str) -> list[tuple[str, bool]]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._at(path)) as entries:
            return sorted((e.name.decode(*NAMES), e.is_dir()) for e in entries if not _leads_up(e))
        return []

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            OSError: it is not there, no regular file (a pipe would block), too large, or cannot be read.
        """
        with open(self._at(path), "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError("is no regular file")
            _refuse_large(status.st_size)
            return file.read()

    def size(self, path: str) -> int | None:
        """Bytes of a file, without reading it; None where it is not there."""
        with contextlib.suppress(OSError):
            return os.stat(self._at(path)).st_size
        return None


class Zip(Store):
    """The files in a zip, listed once: forked processes share the list, and read members by position, without a lock.

    ``zipfile`` reads at the one position of an open file, which forked processes would move for each other; opened anew
    in each, it would list a million members again.
    """

    def __init__(self, root: Path):
        self.root, self.descriptor = Path(root), os.open(root, os.O_RDONLY)
        try:
            with zipfile.ZipFile(root) as archive:
                listed = [(*_path_of(member), member) for member in archive.infolist()]
        except Exception as error:  # a damaged list of members raises all sorts
            raise UserError(f"{root}: {error}; expected a whole, readable zip file") from None
        self.members = {path: member for path, is_folder, member in listed if not is_folder}
        self.tree: dict[str, dict[str, bool]] = {}  # folder -> name -> whether it is a folder
        for path, is_folder, _ in listed:
            while path:
                folder, _, name = path.rpartition("/")
                self.tree.setdefault(folder, {})[name] = is_folder
                path, is_folder = folder, True

    def entries(self, path: str) -> list[tuple[str, bool]]:
        return sorted(self.tree.get(path, {}).items())

    def read(self, path: str) -> bytes:
        """The content of a member.

        Raises:
            OSError: it is not there, too large, damaged, or compressed or encrypted as we do not read.
        """
        member = self.members.get(path)
        if member is None:
            raise FileNotFoundError(2, "no such file in the zip", path)
        if member.flag_bits & 1:
            raise OSError("is encrypted in the zip")
        if member.file_size > allowed(member.compress_size):
            raise OSError(f"unpacks to {member.file_size:,} bytes, more than {TIMES} times its size")
        _refuse_large(max(member.compress_size, member.file_size))
        lengths = os.pread(self.descriptor, 4, member.header_offset + 26)  # of name and extra field, before the content
        start = member.header_offset + 30 + sum(int.from_bytes(n, "little") for n in (lengths[:2], lengths[2:]))
        data = _unpacked(os.pread(self.descriptor, member.compress_size, start), member)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise OSError("damaged in the zip (its CRC differs)")
        return data

    def size(self, path: str) -> int | None:
        """Bytes of a file, without reading it; None where it is not there."""
        member = self.members.get(path)
        return None if member is None else member.file_size


def open_store(root: Path) -> Folder | Zip:
    """The files under a folder or in a zip."""
    return Zip(root) if root.is_file() else Folder(root)


def join(*parts: str) -> str:
    """A path with slashes, without empty parts."""
    return "/".join(part for part in parts if part)


def is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def _refuse_large(size: int) -> None:
    if size > LARGEST:
        raise OSError(f"has {size:,} bytes; at most {LARGEST:,} are read")


def _unpacked(data: bytes, member: zipfile.ZipInfo) -> bytes:
    """The content of a zip's member, and a byte more where it is larger than the zip says."""
    if member.compress_type == zipfile.ZIP_STORED:
        return data
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise OSError(f"compressed by method {member.compress_type}; stored or deflated is needed")
    try:
        return zlib.decompressobj(-15).decompress(data, member.file_size + 1)
    except zlib.error as error:
        raise OSError(f"damaged in the zip ({error})") from None


def _path_of(member: zipfile.ZipInfo) -> tuple[str, bool]:
    """A member's normalised path, and whether it is a folder.

    Some programs write Windows' backslashes, ``./`` before everything, or UTF-8 without saying so (macOS).
    """
    name = member.filename
    if not member.flag_bits & SAYS_UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    name = name.replace("\\", "/")
    return "/".join(part for part in name.split("/") if part not in ("", ".")), name.endswith("/")


def _leads_up(entry: os.DirEntry[bytes]) -> bool:
    """Whether it is a link to a folder that contains it: following it would never end."""
    if not (entry.is_symlink() and entry.is_dir()):
        return False
    folder, target = map(os.path.realpath, (os.path.dirname(entry.path), entry.path))
    return os.path.commonpath((folder, target)) == target
