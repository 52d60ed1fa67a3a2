"""Sheets: several images side by side in one file that fits a phone's width."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hrrl.data.decode import resize

COLUMNS = 4  # images side by side: a phone is about 350 pixels wide
LEAST, MOST = 84, 112  # pixels of an image on a sheet: smaller ones are enlarged in whole steps, larger ones reduced
GAP = 4  # pixels between images, transparent


class Album:
    """Writes sheets into a folder as WebP: without loss where images are small, else as photographs."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, images: torch.Tensor, alt: str) -> dict:
        """Writes <name>.webp and returns {"file", "width", "height", "alt"}.

        Args:
            images: (n, 3, S, S) floats; what lies outside of [0, 1] is cut off.
            alt: what is on the sheet, in words.
        """
        tiles = _tiles((images.clamp(0, 1) * 255).round().to(torch.uint8))
        sheet = Image.fromarray(_arranged(tiles.permute(0, 2, 3, 1).numpy()))
        sheet.save(self.folder / f"{name}.webp", lossless=images.shape[-1] < LEAST // 2, quality=85, method=4)
        return {"file": f"{name}.webp", "width": sheet.width, "height": sheet.height, "alt": alt}


def _tiles(images: torch.Tensor) -> torch.Tensor:
    """Images at the size that they have on a sheet; enlarged pixels stay squares."""
    S = images.shape[-1]
    if S > MOST:
        return resize(images, MOST, MOST)
    times = max(1, LEAST // S)
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3)


def _arranged(tiles: np.ndarray) -> np.ndarray:
    """(height, width, 4) of (n, S, S, 3) tiles in rows of at most COLUMNS."""
    n, S = tiles.shape[:2]
    columns = min(n, COLUMNS)
    rows, pitch = -(-n // columns), S + GAP
    sheet = np.zeros((rows * pitch - GAP, columns * pitch - GAP, 4), np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * pitch, i % columns * pitch
        sheet[top : top + S, left : left + S, :3] = tile
        sheet[top : top + S, left : left + S, 3] = 255
    return sheet
