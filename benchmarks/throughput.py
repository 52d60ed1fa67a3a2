"""Throughput of pretraining and of feature extraction against plain PyTorch loops over the same JPEG files.

The plain loop is in the style of torchvision's reference script: ImageFolder, PIL transforms image by image, a
DataLoader with two workers, float32, contiguous. It runs in a process of its own, with PyTorch's defaults.
"""

import itertools
import multiprocessing
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torchvision import datasets, io, transforms

from benchmarks.axes import compute, plain_net, stepper
from hrrl import objective
from hrrl.data.augment import Augment
from hrrl.data.decode import resize
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare
from hrrl.settings import schema
from hrrl.train import models, runtime, training

BATCH = {32: 128, 64: 128, 224: 32}
STEPS = {32: 12, 64: 8, 224: 4}
WARM = 2  # steps before the clock starts


def results(rounds: int, small: bool) -> dict:
    values = {}
    for size in STEPS:
        with TemporaryDirectory() as work:
            values |= compare(rounds, size, Path(work))
    return {"values": values}


def source(folder: Path, definition: dict, size: int, split: str = "train"):
    definition = schema.Dataset(**definition)
    if not (folder / "dataset.json").exists():
        prepare(definition, folder.name).write(folder)
    return open_split(folder, definition.root, split, size, workers=2)


def real_images(work: Path, size: int, per_class: int = 400, split: str = "train"):
    """Fashion-MNIST; or Tiny-ImageNet photographs, where HRRL_DATA is a folder that has tiny-imagenet-100.zip."""
    photographs = Path(os.environ.get("HRRL_DATA", "."), "tiny-imagenet-100.zip")
    definition = {"kind": "fashion_mnist", "train": f"train[:{per_class}]", "test": "test[:100]"}
    if photographs.exists():
        definition = {"kind": "imagefolder", "root": str(photographs), "train": "train[:40]", "test": "val[:10]"}
    return source(work / definition["kind"], definition, size, split)


def write_tree(work: Path, size: int) -> Path:
    """The real images as JPEG files in class folders: 256 x 256 for the 224 pixel loops, which crop."""
    root, images, counts = work / f"jpeg{size}", real_images(work, min(size, 64)), {}
    stored = 256 if size == 224 else size
    most = 4 * BATCH[224] * STEPS[224] if size == 224 else len(images)
    for x, y in itertools.islice(images.eval_batches(1), 0, len(images), max(1, len(images) // most)):
        label = int(y)
        counts[label] = counts.get(label, 0) + 1
        folder = root / "train" / f"class{label:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        io.write_jpeg(resize(x[0].contiguous(), stored, stored), str(folder / f"{counts[label]}.jpg"), quality=90)
    test = root / "val" / "class0000"
    test.mkdir(parents=True)
    (test / "1.jpg").write_bytes((root / "train" / "class0000" / "1.jpg").read_bytes())
    return root


# ---------------------------------------------------------------------------------------------- the plain loops


def reference(root: Path, size: int, pipe) -> None:
    """A process that runs the plain loop each time it is told which one, and answers with its images per second."""
    normalise = [transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float)]
    normalise += [transforms.Normalize(models.IMAGENET_MEAN, models.IMAGENET_STD)]
    crop = transforms.RandomResizedCrop(224) if size == 224 else transforms.RandomCrop(size, padding=size // 8)
    augmented = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *normalise])
    folder = {
        "train": datasets.ImageFolder(root / "train", augmented),
        "features": datasets.ImageFolder(root / "train", transforms.Compose(normalise)),
    }
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = plain_net("resnet18", len(folder["train"].classes), {}).backbone
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def train(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def extract(x, y):
        features.append(torch.nn.Sequential(*list(model.children())[:-1])(x).flatten(1))

    features = []
    for name in iter(pipe.recv, None):
        model.train(name == "train")
        loader = torch.utils.data.DataLoader(folder[name], BATCH[size], shuffle=name == "train", num_workers=2)
        pipe.send(rate(loader, train if name == "train" else extract, size))


def rate(batches, work, size: int) -> float:
    """Images per second of ``work`` on batches (x, y, ...), the first of which do not count."""
    count, iterator = 0, iter(batches)
    for number, batch in enumerate(itertools.islice(iterator, WARM + STEPS[size])):
        if number == WARM:
            start = time.perf_counter()
        work(*batch[:2])
        count += len(batch[1]) * (number >= WARM)
    elapsed = time.perf_counter() - start
    getattr(iterator, "close", lambda: None)()
    return count / elapsed


# ---------------------------------------------------------------------------------------------- hrrl's


def compare(rounds: int, size: int, work: Path) -> dict:
    """Images per second of hrrl over those of the plain loops, one ratio per round; features at 64 pixels."""
    root = write_tree(work, size)
    ours = source(work / f"manifest{size}", {"kind": "imagefolder", "root": str(root)}, size)
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=reference, args=(root, size, there))
    process.start()

    def theirs(name):
        here.send(name)
        return here.recv()

    ratios = {f"erm_vs_reference_{size}px": []} | ({"features_vs_reference": []} if size == 64 else {})
    with runtime.start(compute(threads=2)) as settings:
        loops = {"train": trainer(ours, size, settings), "features": extractor(ours, size, settings)}
        for _ in range(rounds):
            for key in ratios:
                name = "train" if key.startswith("erm") else "features"
                ratios[key].append(loops[name]() / theirs(name))
    here.send(None)
    process.join()
    return ratios


def trainer(images, size: int, here: runtime.Runtime):
    """erm with the default settings: a function that runs some steps and returns their images per second."""
    crop = "random_resized" if size == 224 else "padded"
    augment = Augment(crop=crop, padding=size // 8, scale=(0.08, 1.0), flip=True)
    concepts, epochs = torch.zeros(len(images.classes), dtype=torch.long), itertools.count()
    erm = training.Axes(objective.Perturbation(), objective.GroupWeighting([1]))
    run = stepper(("resnet18", {}), concepts, erm, here, lr=0.01)

    def work(x, y):
        run.step(run.model, here.images(x), y, len(y))

    return lambda: rate(images.train_batches(BATCH[size], augment, 0, next(epochs)), work, size)


def extractor(images, size: int, here: runtime.Runtime):
    """hrrl.transfer.features.features, batch by batch."""
    torch.manual_seed(0)
    model = models.build("resnet18", len(images.classes)).to(memory_format=here.memory_format).eval()
    features = []

    def work(x, y):
        with torch.inference_mode(), here.autocast():
            features.append(model.features(here.images(x)).float())

    return lambda: rate(images.eval_batches(BATCH[size]), work, size)
