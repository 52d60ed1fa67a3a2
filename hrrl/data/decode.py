"""Image files to pixels."""

import io

import numpy as np
import torch
import torch.nn.functional as F


def decode(data: bytes) -> torch.Tensor:
    """A (3, H, W) uint8 RGB image from a file's content: grey, CMYK, palette and transparent images become RGB.

    By torchvision's decoder, and by PIL for the formats that it does not know (BMP, TIFF, PPM).

    Raises:
        ValueError: the content is cut off, damaged, or no image.
    """
    from torchvision.io import ImageReadMode, decode_image

    if not data:
        raise ValueError("is empty")
    try:
        image = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    except RuntimeError as error:
        if "truncated" in str(error):
            raise ValueError("is cut off") from None
        return _decode_by_pil(data)
    image = image[0] if image.ndim == 4 else image  # the first frame of an animation
    return image if image.dtype == torch.uint8 else (image.int() >> 8).to(torch.uint8)  # PNG with 16 bits


def _decode_by_pil(data: bytes) -> torch.Tensor:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
    except Exception as error:  # PIL's decoders raise all sorts on damaged content
        reason = "is no image" if type(error).__name__ == "UnidentifiedImageError" else f"is damaged: {error}"
        raise ValueError(reason) from None


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., C, H, W) uint8 images at another size: bilinear, with antialiasing where they get smaller."""
    if images.shape[-2:] == (height, width):
        return images
    batch = images if images.ndim == 4 else images[None]
    batch = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return batch if images.ndim == 4 else batch[0]
