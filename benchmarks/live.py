"""What curves for TensorBoard cost while training (hrrl/train/live.py)."""

import tempfile
import time

import torch

from benchmarks.axes import BATCH, CONCEPTS, NETS, compute, seconds
from benchmarks.steps import stepper
from hrrl import methods
from hrrl.methods.q_history import Trace
from hrrl.train import models, runtime, training
from hrrl.train.live import Live

STEPS = 1000


def cost() -> float:
    """Time of the curves per step over an erm step, on the quick preset's net."""
    size, backbone, args = NETS["quick"]
    weighting = methods.concept_axis({"hrrl": {"lam": 1.0}}, torch.ones(CONCEPTS))
    concepts = torch.arange(CONCEPTS)
    with runtime.start(compute()) as here, tempfile.TemporaryDirectory() as folder:
        erm = training.Variant(methods.example_axis(None), methods.concept_axis(None, torch.ones(CONCEPTS)))
        run = stepper(models.build(backbone, CONCEPTS, args), concepts, erm, 0.1, 5e-4, here)
        x = here.images(torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8))
        y = torch.randint(0, CONCEPTS, (BATCH,))
        step = seconds(lambda: run.step(run.model, x, y, BATCH), least=3)
        losses, trace = torch.rand(BATCH), Trace(weighting)
        names = [f"concept {k}" for k in range(CONCEPTS)]
        watch = Live("benchmark", folder)
        list(watch.steps([], STEPS, 0, 1))
        spent = 0.0
        for _ in range(STEPS):
            trace.record(losses, concepts[y])
            weighting.update(losses, concepts[y])
            start = time.perf_counter()
            watch.step(losses, trace, names)
            spent += time.perf_counter() - start
    return spent / STEPS / step
