"""The pipeline's training loop, a step at a time."""

from types import SimpleNamespace

import torch

from hrrl.train import runtime, training


def stepper(model, concepts: torch.Tensor, variant: training.Variant, lr: float, decay: float, here: runtime.Runtime):
    """A run without data: ``step(model, x, y, m)`` is an iteration; ``concepts`` (C,) are those of the classes."""
    schedule = SimpleNamespace(epochs=1, milestones=[], batch_size=1, lr=lr, momentum=0.9, weight_decay=decay)
    data = SimpleNamespace(train=SimpleNamespace(steps=lambda batch_size: 1))
    run = training.Training(model, data, variant, schedule, here, 0, "benchmark")
    return SimpleNamespace(model=model, step=lambda net, x, y, m: run.step(net, x, y, concepts[y], m))
