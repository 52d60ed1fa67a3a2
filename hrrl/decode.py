"""Image files to pixels. No content takes more memory than LARGEST pixels, or is read by halves.

Decoders are programs in C, and some content ends the process: what is not yet known to be harmless is decoded apart
(hrrl/apart.py).
"""

import io
import re
import warnings
import zlib

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")  # Pillow has others, which run programs
LARGEST = 100_000_000  # pixels: more is no photograph but an attack on the memory
ROWS = 256  # of an image that are converted to RGB at a time

# What libjpeg warns of and goes on, with grey or shifted pixels. Its other warnings are about unusual headers.
DAMAGE = re.compile(r"premature end|bad huffman|bad arithmetic|found marker|(\d+) extraneous bytes before marker", re.I)
JPEG_END = b"\xff\xd9"


# For libjpeg, at an eighth of the size: it reads and checks all of the content, and computes little.
EIGHTH = {"colorspace": "GRAY", "min_height": 1, "min_width": 1, "min_factor": 8}


def decode(data: bytes) -> torch.Tensor:
    """A (3, H, W) uint8 RGB image from a file's content: grey, CMYK, palette and transparent images become RGB.

    JPEG by simplejpeg, which tells what libjpeg warns of, all else by Pillow.
    Of an animation the first image; of 16 bits the upper 8; as stored, whatever orientation a camera noted.

    Raises:
        ValueError: the content is cut off, damaged, too large, or no image.
    """
    return _decode(data, {"colorspace": "RGB"})


def check(data: bytes) -> None:
    """Raises a ValueError where :func:`decode` does; a JPEG file, as nearly all photographs are, takes less time."""
    _decode(data, EIGHTH)


def _decode(data: bytes, as_: dict) -> torch.Tensor:
    """The image, a JPEG file decoded ``as_`` simplejpeg's arguments say."""
    if not data:
        raise ValueError("is empty")
    if data.startswith(PNG):
        _check_png(data)
    return _decode_jpeg(data, as_) if data.startswith(JPEG) else _decode_by_pillow(data)


def _decode_jpeg(data: bytes, as_: dict) -> torch.Tensor:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # CMYK with some samplings, and unusual headers
        return _decode_by_pillow(data)
    _refuse_size(width, height)
    if space in ("CMYK", "YCCK"):
        return _decode_by_pillow(data)
    try:
        return torch.from_numpy(simplejpeg.decode_jpeg(data, **as_, strict=True)).permute(2, 0, 1)
    except ValueError as error:
        found = DAMAGE.search(str(error))
        if found and not _is_padding(data, found[1]):
            raise ValueError(f"is damaged or cut off: {error}") from None
    return _decode_by_pillow(data)


def _is_padding(data: bytes, extraneous: str | None) -> bool:
    """Whether the bytes that libjpeg found behind a whole image are one value all over, as some cameras write them."""
    end = data.rfind(JPEG_END)
    return extraneous is not None and end > 0 and len(set(data[end - int(extraneous) : end])) == 1


def _refuse_size(width: int, height: int) -> None:
    if not 0 < width * height <= LARGEST:
        raise ValueError(f"has {width} x {height} pixels; 1 to {LARGEST:,} are decoded")


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


def _opened_by_pillow(data: bytes) -> Image.Image:
    """An image of Pillow's whose header is read and no larger than we decode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a decompression bomb is refused below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError(f"is no image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ValueError(f"is too large; at most {LARGEST:,} pixels are decoded") from None
    except Exception as error:  # Pillow's readers raise all sorts on damaged content
        raise ValueError(_damage(error)) from None
    _refuse_size(*image.size)
    return image


def _decode_by_pillow(data: bytes) -> torch.Tensor:
    with _opened_by_pillow(data) as image:
        try:
            return torch.from_numpy(_rgb(image))
        except MemoryError:
            raise ValueError("takes too much memory") from None
        except Exception as error:
            raise ValueError(_damage(error)) from None


def _damage(error: Exception) -> str:
    return " ".join(f"is damaged: {error or type(error).__name__}".split())


def _rgb(image: Image.Image) -> np.ndarray:
    """(3, H, W) uint8, some rows at a time; of 16 bits the upper 8, which Pillow would cut at 255."""
    image.load()
    width, height = image.size
    pixels = np.empty((3, height, width), np.uint8)
    for top in range(0, height, ROWS):
        rows = image.crop((0, top, width, min(top + ROWS, height)))
        if image.mode.startswith("I"):
            pixels[:, top : top + ROWS] = (np.asarray(rows).astype(np.int64) >> 8).clip(0, 255)
        else:
            pixels[:, top : top + ROWS] = np.asarray(rows.convert("RGB")).transpose(2, 0, 1)
    return pixels


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., C, H, W) uint8 images at another size: bilinear, with antialiasing where they get smaller."""
    if images.shape[-2:] == (height, width):
        return images
    batch = images if images.ndim == 4 else images[None]
    batch = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return batch if images.ndim == 4 else batch[0]
