"""Image files to pixels. No content ends the process, takes more memory than LARGEST pixels, or is read by halves."""

import io
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from PIL import Image

JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 100_000_000  # pixels: more is no photograph but an attack on the memory


def decode(data: bytes) -> torch.Tensor:
    """A (3, H, W) uint8 RGB image from a file's content: grey, CMYK, palette and transparent images become RGB.

    JPEG by torchvision's decoder, all else by Pillow: torchvision's libpng ends the process on some damaged files.

    Raises:
        ValueError: the content is cut off, damaged, too large, or no image.
    """
    if not data:
        raise ValueError("is empty")
    if data.startswith(PNG):
        _check_png(data)
    return _decode_jpeg(data) if data.startswith(JPEG) else _decode_by_pillow(data)


def check(data: bytes) -> None:
    """Decodes what is not plainly a complete JPEG file, which is what nearly all photographs are.

    Raises:
        ValueError: as :func:`decode`.
    """
    if not (data.startswith(JPEG) and data.endswith(JPEG_END)):
        decode(data)


def _decode_jpeg(data: bytes) -> torch.Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    _refuse_large(*_jpeg_size(data))
    try:
        return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    except RuntimeError as error:
        if "truncated" in str(error):
            raise ValueError("is cut off") from None
        return _decode_by_pillow(data)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in the first frame header; 0, 0 where there is none: the decoder will say so."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 1 if marker == 0xFF else 2 + length
    return 0, 0


def _refuse_large(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise ValueError(f"has {width} x {height} pixels; at most {LARGEST:,} are decoded")


def _check_png(data: bytes) -> None:
    """Every chunk whole and with its CRC, to the last one: Pillow and libpng look at most of them, and not the end."""
    start = len(PNG)
    while True:
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        crc = data[end : end + 4]
        if len(crc) < 4:
            raise ValueError("is cut off")
        if zlib.crc32(memoryview(data)[start + 4 : end]) != int.from_bytes(crc, "big"):
            raise ValueError("is damaged: the CRC of a PNG chunk differs")
        if data[start + 4 : start + 8] == b"IEND":
            return
        start = end + 4


def _decode_by_pillow(data: bytes) -> torch.Tensor:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a decompression bomb is refused below
            with Image.open(io.BytesIO(data)) as image:
                _refuse_large(*image.size)
                return torch.from_numpy(_rgb(image)).permute(2, 0, 1).contiguous()
    except (MemoryError, RecursionError, Image.DecompressionBombError):
        raise ValueError(f"is too large; at most {LARGEST:,} pixels are decoded") from None
    except Exception as error:  # Pillow's decoders raise all sorts on damaged content
        reason = "is no image" if type(error).__name__ == "UnidentifiedImageError" else f"is damaged: {error}"
        message = str(error) if type(error) is ValueError and str(error).startswith("has ") else reason
        raise ValueError(" ".join(message.split())) from None


def _rgb(image: "Image.Image") -> np.ndarray:
    """(H, W, 3) uint8; of 16 bits the upper 8, which Pillow would cut at 255."""
    if image.mode.startswith("I"):
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, 2)
    return np.array(image.convert("RGB"))


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., C, H, W) uint8 images at another size: bilinear, with antialiasing where they get smaller."""
    if images.shape[-2:] == (height, width):
        return images
    batch = images if images.ndim == 4 else images[None]
    batch = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return batch if images.ndim == 4 else batch[0]
