"""Names as people compare them."""

import unicodedata


def composed(name: str) -> str:
    """A name with its accents composed (Unicode's NFC): macOS writes them apart, and equal words would differ."""
    return unicodedata.normalize("NFC", name)
