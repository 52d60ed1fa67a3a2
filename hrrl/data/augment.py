"""Random crops and flips of batches of uint8 images. All randomness comes from the generator that is passed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from hrrl.data.decode import resize

RATIO = (3 / 4, 4 / 3)  # width to height of a random resized crop
NARROWEST, WIDEST = np.log(RATIO)
ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How training images are cropped and flipped: a section ``augment`` of params.yaml.

    Attributes:
        padding: of "padded", in pixels at the network's size.
        scale: of "random_resized", the least and the greatest share of the image's area.
    """

    crop: Literal["random_resized", "padded", "none"]
    padding: int | None = None
    scale: Sequence[float] | None = None
    flip: bool

    def __post_init__(self) -> None:
        for crop, key in (("padded", "padding"), ("random_resized", "scale")):
            if self.crop == crop and getattr(self, key) is None:
                raise ValueError(f"crop: {crop} takes {key}")


def crop_boxes(rng: np.random.Generator, n: int, height: int, width: int, scale: Sequence[float]) -> np.ndarray:
    """(n, 4) int64: top, left, height, width of n random crops, drawn as torchvision's RandomResizedCrop does.

    Area uniform in ``scale`` (fractions of the image), logarithm of the ratio uniform; the first of ten draws that
    fits in the image, else the largest centre crop of an allowed ratio.
    """
    (least, most), crops = scale, np.arange(n)
    area = height * width * rng.uniform(least, most, (n, ATTEMPTS))
    ratio = np.exp(rng.uniform(NARROWEST, WIDEST, (n, ATTEMPTS)))
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.argmax(1)
    w, h, unfit = w[crops, first], h[crops, first], ~fits[crops, first]
    down, right = rng.random((2, n))
    top, left = np.floor(down * (height - h + 1)), np.floor(right * (width - w + 1))
    if unfit.any():
        bounded_ratio = min(max(width / height, RATIO[0]), RATIO[1])
        w[unfit], h[unfit] = min(width, round(height * bounded_ratio)), min(height, round(width / bounded_ratio))
        top[unfit], left[unfit] = (height - h[unfit]) // 2, (width - w[unfit]) // 2
    return np.array([top, left, h, w]).T.astype(np.int64)


def resized_crops(images: torch.Tensor, boxes: np.ndarray) -> torch.Tensor:
    """One crop of each of (n, C, H, W) uint8 images, at S x S where H = W = S.

    Image by image: at these sizes faster than sampling the whole batch at once (grid_sample works in floats).
    """
    out = torch.empty_like(images)
    for image, resized, (top, left, h, w) in zip(images, out, boxes.tolist(), strict=True):
        resized.copy_(resize(image[:, top : top + h, left : left + w], *images.shape[-2:]))
    return out


def padded_crops(images: torch.Tensor, padding: int, offsets: np.ndarray) -> torch.Tensor:
    """(n, C, S, S) images shifted by up to ``padding`` pixels each way, black beyond; offsets (n, 2) from 0."""
    n, _, S, _ = images.shape
    padded = F.pad(images, (padding,) * 4).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(padded, (S, S), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    return torch.from_numpy(windows[np.arange(n), offsets[:, 0], offsets[:, 1]])  # NumPy copies rows, torch bytes


def augment_batch(
    images: torch.Tensor, augment: Augment, rng: np.random.Generator, part: slice | np.ndarray, m: int
) -> torch.Tensor:
    """Augments one process's part (n, C, S, S) of a batch of m square images at the network's size.

    Draws for all m images, so that an image comes out the same however the batch is divided.
    """
    if augment.crop == "padded" and augment.padding:
        images = padded_crops(images, augment.padding, rng.integers(0, 2 * augment.padding + 1, (m, 2))[part])
    elif augment.crop == "random_resized" and augment.scale:
        height, width = images.shape[-2:]
        images = resized_crops(images, crop_boxes(rng, m, height, width, augment.scale)[part])
    return flip_some(images, rng.random(m)[part]) if augment.flip else images


def flip_some(images: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
    """(n, C, S, S) images, mirrored left to right where the draw is below 1/2."""
    flips = np.flatnonzero(draws < 0.5)
    flipped = images.numpy().copy()
    flipped[flips] = torch.from_numpy(flipped[flips]).flip(3).numpy()
    return torch.from_numpy(flipped)
