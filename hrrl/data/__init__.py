"""Pixels: ``open_split(folder, root, split, image_size)`` reads the images of a manifest as batches."""

from hrrl.data.loading import Source, open_split

__all__ = ["Source", "open_split"]
