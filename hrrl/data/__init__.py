"""Datasets: a manifest (path, label, split) over files that stay where they are, and batches of their images.

``prepare(definition, name)`` finds a dataset, checks it and lists it; ``Manifest.write`` and ``read_manifest`` keep the
list in a folder; ``open_split(folder, definition, split, image_size)`` reads the images as batches.
"""

from hrrl.data.manifest import Manifest, prepare, read_manifest

__all__ = ["Manifest", "Source", "open_split", "prepare", "read_manifest"]


def __getattr__(name):
    # Manifests need neither torch nor torchvision; what reads images does, and takes seconds to import.
    if name in ("open_split", "Source"):
        from hrrl.data import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
