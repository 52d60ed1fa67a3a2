"""Training for a number of steps: epochs one after the other, cut into rounds of the same number of steps.

The training loop evaluates, changes its learning rate and saves after each epoch. With rounds in the place of epochs it
does so at the same steps for every dataset; a small one is passed over several times in a round.
"""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Protocol

import numpy as np
import torch

from hrrl.data.augment import Augment
from hrrl.data.loading import Source
from hrrl.train import recipes


class StepSchedule(Protocol):
    """A schedule that counts steps."""

    steps: int
    milestones: Sequence[int]
    every: int


class Rounds:
    """A source of training images (hrrl.data.Source) whose epochs are rounds of ``every`` steps.

    Round r has the batches r every, ..., (r + 1) every - 1 of the source's epochs in their order: what is in a batch is
    the source's alone.
    """

    def __init__(self, source: Source, every: int):
        self.source, self.every = source, every
        self.labels, self.classes = source.labels, source.classes

    def __len__(self) -> int:
        return len(self.source)

    def steps(self, batch_size: int) -> int:
        return self.every

    def drawn_batches(
        self, batch_size: int, augment: Augment, seed: int, epoch: int, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[torch.Tensor, np.ndarray, int]]:
        """The batches of round ``epoch``, as :meth:`hrrl.data.loading.Source.drawn_batches` yields them."""
        whole, step, end = self.source.steps(batch_size), epoch * self.every, (epoch + 1) * self.every
        while step < end:
            number, first = divmod(step, whole)
            last = min(whole, first + end - step)
            yield from self.source.drawn_batches(batch_size, augment, seed, number, rank, world, slice(first, last))
            step += last - first


def in_rounds(schedule: StepSchedule, source: Source) -> tuple[SimpleNamespace, Rounds]:
    """A schedule in steps and its images, as the training loop takes them: in rounds of ``schedule.every`` steps.

    Args:
        schedule: ``steps`` and ``milestones`` are multiples of ``every``; further settings stay as they are.
        source: the training images.
    """
    every = schedule.every
    kept = {name: getattr(schedule, name) for name in ("batch_size", "lr", "weight_decay", "momentum", "augment")}
    kept |= {name: recipes.given(schedule, name) for name in recipes.SETTINGS}
    kept["warmup"] = (kept["warmup"] or 0) / every
    turned = {"epochs": schedule.steps // every, "milestones": [step // every for step in schedule.milestones]}
    return SimpleNamespace(**kept, **turned), Rounds(source, every)
