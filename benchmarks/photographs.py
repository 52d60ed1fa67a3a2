"""Random resized crops of 224 pixels from photographs of ImageNet's size: images a second of one core.

    python -m benchmarks.photographs [FOLDER]     of JPEG files; else pieces of scikit-learn's photographs, 500 x 375

Compared are the files as they are and packed (`make pack`), and over the same files torchvision's pipeline with PIL and
with its own decoder, uint8 in and out. Time is the processor's, of one thread, so that a busy machine counts less; each
round times all four on the same images.
"""

import argparse
import io
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from benchmarks.throughput import source
from hrrl.data.augment import Augment
from hrrl.data.pack import pack
from hrrl.settings.schema import Dataset

SIZE, NUMBER = 224, 100
HEIGHT, WIDTH = 375, 500  # of the median image of ILSVRC2012
AUGMENT = Augment(crop="random_resized", scale=(0.08, 1.0), flip=True)


def results(rounds: int, small: bool) -> dict:
    return {"values": compare(rounds)}


def write_tree(folder: Path, given: Path | None) -> Path:
    """A tree of one class, of the given folder's first JPEG files or of pieces of real photographs."""
    (folder / "train/photographs").mkdir(parents=True)
    (folder / "val/photographs").mkdir(parents=True)
    for i, content in enumerate(contents(given)):
        (folder / f"train/photographs/{i}.jpg").write_bytes(content)
    (folder / "val/photographs/0.jpg").write_bytes(content)
    return folder


def contents(given: Path | None) -> list[bytes]:
    if given:
        files = sorted(file for file in given.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
        return [file.read_bytes() for file in files[:NUMBER]]
    from sklearn.datasets import load_sample_images

    rng, found = np.random.default_rng(0), []
    for i in range(NUMBER):
        photo = load_sample_images().images[i % 2]
        top, left = rng.integers(photo.shape[0] - HEIGHT), rng.integers(photo.shape[1] - WIDTH)
        stream = io.BytesIO()
        Image.fromarray(photo[top : top + HEIGHT, left : left + WIDTH]).save(stream, "JPEG", quality=95)
        found.append(stream.getvalue())
    return found


def ours(root: Path, work: Path):
    """A function from a position and a round to an image, as the workers of training call it."""
    images = source(work / f"manifest-{root.stem}", {"kind": "imagefolder", "root": str(root)}, SIZE)
    return lambda i, seed: images.augmented(i, AUGMENT, seed, 0)


def by_torchvision(files: list[Path]):
    crop = v2.Compose([v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()])
    with_pil = v2.Compose([crop, v2.PILToTensor()])
    return {
        "pil": lambda i, seed: with_pil(Image.open(files[i]).convert("RGB")),
        "torchvision": lambda i, seed: crop(decode_jpeg(read_file(str(files[i])), mode=ImageReadMode.RGB)),
    }


def compare(rounds: int, given: Path | None = None) -> dict[str, list[float]]:
    """Images a second over those of torchvision's pipeline with PIL, one ratio a round."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        root = write_tree(work / "files", given)
        files = sorted((root / "train/photographs").iterdir())
        packed = pack(Dataset(kind="imagefolder", root=str(root)), "photographs", work)
        pipelines = by_torchvision(files) | {"files": ours(root, work), "packed": ours(packed, work)}
        ratios: dict[str, list[float]] = {name: [] for name in pipelines}
        for seed in range(rounds + 1):  # the first one warms up
            seconds = dict.fromkeys(pipelines, 0.0)
            for i in range(len(files)):
                for name, read in pipelines.items():
                    start = time.process_time()
                    read(i, seed)
                    seconds[name] += time.process_time() - start
            for name in pipelines:
                ratios[name] += [seconds["pil"] / seconds[name]] * (seed > 0)
    return {f"photographs_{name}_vs_pil": found for name, found in ratios.items() if name != "pil"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps({name: round(median(found), 3) for name, found in compare(args.rounds, args.folder).items()}))
