"""Which images are shown, drawn by a seed, and their sheets: several side by side in one file for a phone's width."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.utils import make_grid

from hrrl.data.decode import resize
from hrrl.data.loading import Source

COLUMNS = 4  # images side by side: a phone is about 350 pixels wide
LEAST, MOST = 84, 112  # pixels of an image on a sheet: smaller ones are enlarged in whole steps, larger ones reduced
GAP = 4  # pixels between images, transparent


def write_sheet(folder: Path, name: str, images: torch.Tensor, alt: str) -> dict:
    """Writes <folder>/<name>.webp, without loss where images are small, else as a photograph.

    Args:
        images: (n, 3, S, S) floats; what lies outside of [0, 1] is cut off.
        alt: what is on the sheet, in words.
    Returns:
        {"file", "width", "height", "alt"}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tiles = _tiles((images.clamp(0, 1) * 255).round().to(torch.uint8))
    sheet = Image.fromarray(_arranged(tiles).permute(1, 2, 0).numpy())
    sheet.save(folder / f"{name}.webp", lossless=images.shape[-1] < LEAST // 2, quality=85, method=4)
    return {"file": f"{name}.webp", "width": sheet.width, "height": sheet.height, "alt": alt}


def _tiles(images: torch.Tensor) -> torch.Tensor:
    """Images at the size that they have on a sheet; enlarged pixels stay squares."""
    S = images.shape[-1]
    if S > MOST:
        return resize(images, MOST, MOST)
    times = max(1, LEAST // S)
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3)


def _arranged(tiles: torch.Tensor) -> torch.Tensor:
    """(4, height, width) of (n, 3, S, S) tiles in rows of at most COLUMNS, with an opacity; gaps are transparent."""
    tiles = torch.cat([tiles, torch.full_like(tiles[:, :1], 255)], 1)
    grid = make_grid(tiles, nrow=COLUMNS, padding=GAP)
    return grid if len(tiles) == 1 else grid[:, GAP:-GAP, GAP:-GAP]


def spread(random: np.random.Generator, labels: np.ndarray, classes: list[int], n: int) -> np.ndarray:
    """Positions of up to n images, as evenly over the classes as there are images, in the classes' order.

    Args:
        labels: (N,) class of each image.
        classes: those to draw from.
    """
    shuffled = random.permutation(len(labels))
    pools = {c: [i for i in shuffled if labels[i] == c] for c in classes}
    chosen = [int(pool[k]) for k in range(n) for pool in pools.values() if k < len(pool)][:n]
    return np.array(sorted(chosen, key=lambda i: classes.index(int(labels[i]))), np.int64)


def some(random: np.random.Generator, items: list, n: int) -> list:
    """n of the items, all where there are fewer, in their order."""
    chosen = random.permutation(len(items))[:n]
    return [items[i] for i in sorted(chosen)]


def evenly(items: list, n: int) -> list:
    """n of the items at even distances, the first and the last among them; all where there are fewer."""
    positions = np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)
    return [items[i] for i in positions]


def pixels(source: Source, indices: Iterable[int]) -> torch.Tensor:
    """(n, 3, S, S) images of a source, uint8, as an evaluation sees them."""
    rows = np.fromiter(indices, np.int64)
    return next(source.eval_batches(len(rows), rows=rows))[0]
