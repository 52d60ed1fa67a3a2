"""Time and memory of an epoch of hrrl against the number of images N, of concepts K and of classes C.

Random images of 28 x 28 pixels and the quick preset's net; images have a class at random, class c is in concept c % K.
"""

import time
from collections import defaultdict

import numpy as np
import torch

from benchmarks.alone import measured, taken
from benchmarks.axes import BATCH, NETS, VARIANTS, compute, method, stepper
from hrrl.data.augment import Augment, augment_batch
from hrrl.train import runtime

POINTS = {
    "images": [(n, 11, 100) for n in (8_000, 16_000, 32_000)],
    "concepts": [(8_000, k, 1000) for k in (11, 100, 1000)],
    "classes": [(8_000, 10, c) for c in (10, 100, 1000)],
}


def results(rounds: int, small: bool) -> dict:
    points = [(name, sizes) for name, several in POINTS.items() for sizes in several]
    found = defaultdict(list)
    for (name, sizes), point in zip(points, measured([(epoch, sizes) for _, sizes in points], rounds), strict=True):
        found[name].append(dict(zip("NKC", sizes, strict=True)) | point)
    return {"scaling": found}


def epoch(n: int, concepts: int, classes: int) -> dict:
    """What an epoch of hrrl takes."""
    size, *net = NETS["quick"]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    labels = torch.from_numpy(rng.integers(0, classes, n))
    augment = Augment(crop="padded", padding=2, flip=True)
    with runtime.start(compute(threads=2)) as here:
        chosen = method(VARIANTS["hrrl"], concepts)
        run = stepper(net, torch.arange(classes) % concepts, chosen, here, decay=0.0)

        def step(batch):
            x = augment_batch(torch.from_numpy(images[batch]), augment, rng, slice(0, BATCH), BATCH)
            run.step(run.model, here.images(x), labels[batch], BATCH)

        for _ in range(3):
            step(np.arange(BATCH))
        order, start = rng.permutation(n), time.perf_counter()
        for first in range(0, n - BATCH + 1, BATCH):
            step(order[first : first + BATCH])
        return taken(start)
