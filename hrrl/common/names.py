"""Names as people compare them."""

import re
import unicodedata
from pathlib import Path

PACKED = re.compile(r"-packed-\d+-q\d+-[0-9a-f]{8}\.zip$")  # how the names of packed datasets end


def composed(name: str) -> str:
    """A name with its accents composed (Unicode's NFC): macOS writes them apart, and equal words would differ."""
    return unicodedata.normalize("NFC", name)


def is_wnid(name: str) -> bool:
    """Whether a name is written as ImageNet writes a noun of WordNet."""
    return re.fullmatch(r"n\d{8}", name) is not None


def packed_name(root: str | None) -> str | None:
    """The file's name, where a dataset's root is a packed one (hrrl/data/pack.py)."""
    return Path(root).name if root and PACKED.search(root) else None
