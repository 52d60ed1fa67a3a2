"""Image files to pixels. Memory is bounded by LARGEST pixels, and a truncated file is an error.

Decoders are C code, which some content crashes: files that are not yet checked are decoded in child processes
(hrrl/data/isolated.py).
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from hrrl.errors import reason

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")  # Pillow has others, which run programs
LARGEST = 100_000_000  # pixels: more is no photograph but an attack on the memory
BITS_PER_SAMPLE, LARGEST_VALUE, SAMPLE_FORMAT, LARGEST_NUMBER = 258, 281, 339, 341  # tags of TIFF
DARK = 16  # an image of more than 8 bits is refused as black where its highest value is below white / DARK
ROWS = 256  # of an image that are converted to RGB at a time

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # profiles and notes of more than 1 MB are no damage

# What libjpeg warns of and goes on, with grey or shifted pixels. Its other warnings are about unusual headers.
DAMAGE = re.compile(r"premature end|bad huffman|bad arithmetic|found marker|(\d+) extraneous bytes before marker", re.I)
JPEG_END = b"\xff\xd9"
SEQUENTIAL, SCAN, FILL = (0xC0, 0xC1), 0xDA, 0xFF  # bytes of JPEG's markers, after 0xFF

Box = Callable[[int, int], Sequence[int]]  # an image's height and width to the top, left, height and width of a part


# For libjpeg, at an eighth of the size: it reads and checks all of the content, and computes little.
EIGHTH = {"colorspace": "GRAY", "min_height": 1, "min_width": 1, "min_factor": 8}


def decode(data: bytes) -> torch.Tensor:
    """A (3, H, W) uint8 RGB image from a file's content: grey, CMYK, palette and transparent images become RGB.

    JPEG by simplejpeg, which tells what libjpeg warns of, all else by Pillow.
    Of an animation the first image; of more than 8 bits the upper 8 of as many as the file says; as stored, whatever
    orientation a camera noted, but a TIFF, which Pillow turns.

    Raises:
        ValueError: the content is cut off, damaged, too large, no image, or of values that have no known white.
    """
    return _decode(data, {"colorspace": "RGB"})


def decode_part(data: bytes, box: Box) -> torch.Tensor:
    """A part of what :func:`decode` makes of a file's content, which was checked before.

    Of most JPEG files, rows below the part are not decoded: damage there goes unnoticed.
    """
    offset = _height_offset(data)
    if not offset:
        return boxed(decode(data), box)
    height, width = (int.from_bytes(data[start : start + 2]) for start in (offset, offset + 2))
    top, left, h, w = box(height, width)
    rows = min(height, top + h + 2).to_bytes(2)  # and those that chroma upsampling reads
    try:
        image = simplejpeg.decode_jpeg(b"".join((data[:offset], rows, data[offset + 2 :])), "RGB", strict=False)
        return cut(torch.from_numpy(image).permute(2, 0, 1), top, left, h, w)
    except ValueError:  # an unusual header
        return cut(decode(data), top, left, h, w)


def boxed(image: torch.Tensor, box: Box) -> torch.Tensor:
    """The part of a (C, H, W) image that a box selects."""
    return cut(image, *box(*image.shape[1:]))


def cut(image: torch.Tensor, top: int, left: int, height: int, width: int) -> torch.Tensor:
    """(C, height, width) of a (C, H, W) image."""
    return image[:, top : top + height, left : left + width]


def _height_offset(data: bytes) -> int:
    """Where the header of a sequential JPEG file has its height; 0 for a progressive one, CMYK, and other formats."""
    offset = 2
    while data.startswith(JPEG) and data[offset] == FILL and data[offset + 1] not in (SCAN, FILL):
        if data[offset + 1] in SEQUENTIAL:
            return offset + 5 if data[offset + 9] in (1, 3) else 0
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4])
    return 0


def check(data: bytes) -> bool:
    """Raises a ValueError where :func:`decode` does; a JPEG file, as nearly all photographs are, takes less time.

    Returns:
        Whether the image is of one colour all over.
    """
    return _is_constant(_decode(data, EIGHTH)) and _is_constant(decode(data))


def _is_constant(image: torch.Tensor) -> bool:
    return bool((image == image[:, :1, :1]).all())


def _decode(data: bytes, options: dict) -> torch.Tensor:
    """The image; a JPEG file with these arguments of simplejpeg."""
    if not data:
        raise ValueError("is empty")
    return _decode_jpeg(data, options) if data.startswith(JPEG) else _decode_by_pillow(data)


def _decode_jpeg(data: bytes, options: dict) -> torch.Tensor:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # CMYK with some samplings, and unusual headers
        return _decode_by_pillow(data)
    _refuse_size(width, height)
    if space in ("CMYK", "YCCK"):
        return _decode_by_pillow(data)
    try:
        return torch.from_numpy(simplejpeg.decode_jpeg(data, **options, strict=True)).permute(2, 0, 1)
    except ValueError as error:
        damage = DAMAGE.search(str(error))
        if damage and not _is_padding(data, damage[1]):
            raise ValueError(f"is damaged or cut off: {error}") from None
    return _decode_by_pillow(data)


def _is_padding(data: bytes, extraneous: str | None) -> bool:
    """Whether the extraneous bytes before the end marker all have one value: some cameras pad files so."""
    end = data.rfind(JPEG_END)
    return extraneous is not None and end > 0 and len(set(data[end - int(extraneous) : end])) == 1


def _refuse_size(width: int, height: int) -> None:
    if not 0 < width * height <= LARGEST:
        raise RefusedError(f"has {width} x {height} pixels; 1 to {LARGEST:,} are decoded")


def _decode_by_pillow(data: bytes) -> torch.Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a decompression bomb is refused below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.format == "PNG":  # all chunks and CRCs: decoding looks at most of them, and not at the end
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
        with image:
            _refuse_size(*image.size)
            return torch.from_numpy(_rgb(image, _depth(data, image)))
    except Image.UnidentifiedImageError:
        raise ValueError(f"is no image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ValueError(f"is too large; at most {LARGEST:,} pixels are decoded") from None
    except MemoryError:
        raise ValueError("takes too much memory") from None
    except RefusedError:
        raise
    except Exception as error:  # Pillow's readers raise all sorts on damaged content
        raise ValueError(f"is damaged: {reason(error) or type(error).__name__}") from None


class RefusedError(ValueError):
    """A valid image that is not decoded, for its size or its values."""


def _rgb(image: Image.Image, depth: int) -> np.ndarray:
    """(3, H, W) uint8, some rows at a time; of more than 8 bits the upper 8, where Pillow would cut at 255.

    Raises:
        RefusedError: the file does not state which value is white, or states an implausible one.
    """
    image.load()
    width, height = image.size
    deep = image.mode.startswith(("I", "F"))
    white = _white(image, depth) if deep else 2.0**depth - 1
    pixels, highest = np.empty((3, height, width), np.uint8), 0.0
    for top in range(0, height, ROWS):
        strip = image.crop((0, top, width, min(top + ROWS, height)))
        if deep:
            values = np.asarray(strip).astype(np.float64)
            highest = max(highest, float(values.max()))
            pixels[:, top : top + ROWS] = np.floor(values * (256 / (white + 1 if white > 1 else white))).clip(0, 255)
        else:
            pixels[:, top : top + ROWS] = np.asarray(strip.convert("RGB")).transpose(2, 0, 1)
    if depth > 8 and not deep:  # of which Pillow has kept the upper 8 bits
        highest = max(1.0, float(pixels.max()) * 2 ** (depth - 8))
    if depth > 8 and 0 < highest < white / DARK:
        raise RefusedError(
            f"comes out black: of {depth} bits, its values take the lowest sixteenth, as those of fewer bits in a "
            "deeper file do; scale them to the file's depth, or convert it to 8 bits"
        )
    return pixels


def _depth(data: bytes, image: Image.Image) -> int:
    """Bits of a value, as a PNG's header or a TIFF's tag says; of other formats, as Pillow's mode does."""
    if image.format == "PNG":
        return data[len(PNG) + 16]
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
    return 16 if image.mode.startswith("I") else 8


def _white(image: Image.Image, depth: int) -> float:
    """The value of white in an image whose values are integers of more than 8 bits, or floats.

    Raises:
        RefusedError: the file does not state it: hardly an image fills 32 bits, and floats have any scale.
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    white = max(tags.get(LARGEST_VALUE) or tags.get(LARGEST_NUMBER) or (0,))
    if white >= 1:
        return float(white)
    if image.mode == "F" or depth > 16:
        kind = "floats" if image.mode == "F" else f"integers of {depth} bits"
        raise RefusedError(f"has {kind}, and does not say which value is white; convert it to 8 or 16 bits")
    signed = tags.get(SAMPLE_FORMAT, (1,))[0] == 2
    return 2.0 ** (depth - signed) - 1


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., C, H, W) uint8 images at another size: bilinear, with antialiasing where they get smaller."""
    if images.shape[-2:] == (height, width):
        return images
    batch = images if images.ndim == 4 else images[None]
    batch = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return batch if images.ndim == 4 else batch[0]
