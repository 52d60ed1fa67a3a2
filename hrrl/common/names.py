"""Names as people compare them."""

import re
import unicodedata
from pathlib import Path

PACKED = re.compile(r"-packed-\d+-q\d+-[0-9a-f]{8}\.zip$")  # the end of a packed dataset's file name


def composed(name: str) -> str:
    """A name with its accents composed (Unicode's NFC): macOS writes them apart, and equal words would differ."""
    return unicodedata.normalize("NFC", name)


def is_wnid(name: str) -> bool:
    """Whether a name has the form of a wnid, ImageNet's name of a noun of WordNet."""
    return re.fullmatch(r"n\d{8}", name) is not None


def packed_name(root: str | None) -> str | None:
    """The file name of a dataset's root if it is packed (hrrl/data/pack.py), else None."""
    return Path(root).name if root and PACKED.search(root) else None
