"""The pipeline's training loop, a step at a time."""

from types import SimpleNamespace

import torch

from hrrl.data.augment import Augment
from hrrl.train import recipes, runtime, training

PLAIN = Augment(crop="none", flip=False)


class ByClass(training.Training):
    """A run whose steps look up the concepts of classes."""

    def step(self, net, x, y, m):
        return super().step(net, x, y, self.task.concepts[y], m)


def stepper(model, concepts: torch.Tensor, variant: training.Variant, lr: float, decay: float, here: runtime.Runtime):
    """A run without data: ``step(model, x, y, m)`` is an iteration; ``concepts`` (C,) are those of the classes."""
    sgd = {"lr": lr, "momentum": 0.9, "weight_decay": decay}
    schedule = recipes.Schedule(epochs=1, milestones=[], batch_size=1, augment=PLAIN, **sgd)
    task = SimpleNamespace(concepts=concepts.to(here.device), train=SimpleNamespace(steps=lambda batch_size: 1))
    return ByClass(model, task, variant, schedule, here, 0, "benchmark")
