"""Time and memory of the manifest stage against the number of files.

The trees have ImageNet's layout, 1,000 classes and small JPEG files; the files were just written, so that the disk
does not count.
"""

import io
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.alone import measured, taken
from hrrl.data.manifest import prepare
from hrrl.settings.schema import Dataset

FILES = (25_000, 50_000, 100_000)
VALIDATION = 25  # one file of so many


def results(rounds: int, small: bool) -> dict:
    with TemporaryDirectory() as work:
        trees = [make_tree(Path(work, str(files)), files) for files in FILES]
        found = measured([(listing, (tree,)) for tree in trees], rounds)
    return {"scaling": {"manifest": [{"files": n} | point for n, point in zip(FILES, found, strict=True)]}}


def make_tree(folder: Path, files: int) -> Path:
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
        for i in range(files // 1000):
            file = folder / ("train" if i % VALIDATION else "val") / wnid / f"{wnid}_{i}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(contents[(position + i) % len(contents)])
    return folder


def listing(folder: Path) -> dict:
    """What listing and checking the files of a tree takes."""
    start = time.perf_counter()
    with TemporaryDirectory() as work:
        prepare(Dataset(kind="imagenet", root=str(folder)), "tree").write(Path(work, "manifest"))
        return taken(start)
