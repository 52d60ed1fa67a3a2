"""Time and memory of the manifest stage against the number of files: one tree, in its own process.

    python -m benchmarks.manifest FOLDER     -> {"seconds": of listing and checking its files, "megabytes"}

The trees have ImageNet's layout, 1,000 classes and small JPEG files; the files were just written, so that the disk
does not count.
"""

import io
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import peak_megabytes
from hrrl.data.manifest import prepare
from hrrl.settings.schema import Dataset

FILES = (25_000, 50_000, 100_000)
VALIDATION = 25  # one file of so many


def make_tree(folder: Path, files: int) -> None:
    """Small JPEG files in the layout of ILSVRC2012, of its 1,000 classes."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from timm.data import ImageNetInfo

    contents = []
    for digit in load_digits().images[:100]:
        stream = io.BytesIO()
        Image.fromarray((digit * 15).astype("uint8")).resize((64, 64)).save(stream, "JPEG")
        contents.append(stream.getvalue())
    for position, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names()):
        for split, first, step in (("val", 0, VALIDATION), ("train", 1, 1)):
            (folder / split / wnid).mkdir(parents=True)
            for i in range(first, files // 1000, step):
                if split == "val" or i % VALIDATION:
                    (folder / split / wnid / f"{wnid}_{i}.JPEG").write_bytes(contents[(position + i) % len(contents)])


def measure(folder: Path) -> dict:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        prepare(Dataset(kind="imagenet", root=str(folder)), "tree").write(Path(work, "manifest"))
        return {"seconds": round(time.perf_counter() - start, 3), "megabytes": peak_megabytes()}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
