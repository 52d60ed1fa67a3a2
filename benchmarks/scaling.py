"""Time and memory against the number of images N, of concepts K and of classes: one point, in its own process.

    python -m benchmarks.scaling N K CLASSES     -> {"seconds": of one epoch of hrrl, "megabytes": of the process}

Random images of 28 x 28 pixels and the quick preset's net; images have a class at random, class c is in concept c % K.
"""

import json
import sys
import time

import numpy as np
import torch

from benchmarks.axes import BATCH, NETS, VARIANTS, compute
from benchmarks.memory import peak_megabytes
from benchmarks.steps import stepper
from hrrl import methods
from hrrl.data.augment import Augment, augment_batch
from hrrl.train import models, runtime, training

POINTS = {
    "images": [(n, 11, 100) for n in (8_000, 16_000, 32_000)],
    "concepts": [(8_000, k, 1000) for k in (11, 100, 1000)],
    "classes": [(8_000, 10, c) for c in (10, 100, 1000)],
}


def epoch(n: int, concepts: int, classes: int) -> dict:
    size, backbone, arguments = NETS["quick"]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    labels = torch.from_numpy(rng.integers(0, classes, n))
    augment = Augment(crop="padded", padding=2, flip=True)
    spec = VARIANTS["hrrl"]
    with runtime.start(compute(threads=2)) as here:
        torch.manual_seed(0)
        model = models.build(backbone, classes, arguments).to(memory_format=here.memory_format).train()
        concept = methods.concept_axis(spec["concept"], torch.full((concepts,), 100))
        method = training.Variant(methods.example_axis(spec["example"]), concept)
        run = stepper(model, torch.arange(classes) % concepts, method, 1e-3, 0.0, here)

        def step(batch):
            x = augment_batch(torch.from_numpy(images[batch]), augment, rng, slice(0, BATCH), BATCH)
            y = labels[batch]
            run.step(model, here.images(x), y, BATCH)

        for _ in range(3):
            step(np.arange(BATCH))
        order, start = rng.permutation(n), time.perf_counter()
        for first in range(0, n - BATCH + 1, BATCH):
            step(order[first : first + BATCH])
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 3), "megabytes": peak_megabytes()}


if __name__ == "__main__":
    print(json.dumps(epoch(*map(int, sys.argv[1:]))))
