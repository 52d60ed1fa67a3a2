"""Sheets: several images side by side in one file that fits a phone's width."""

from pathlib import Path

import torch
from PIL import Image
from torchvision.utils import make_grid

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
        sheet = Image.fromarray(_arranged(tiles).permute(1, 2, 0).numpy())
        sheet.save(self.folder / f"{name}.webp", lossless=images.shape[-1] < LEAST // 2, quality=85, method=4)
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
