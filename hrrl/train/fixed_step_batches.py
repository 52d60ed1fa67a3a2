"""Training with few evaluations, or for a number of steps: epochs, cut into rounds of the same number of steps.

The training loop evaluates, changes its learning rate and saves after each epoch. With rounds in the place of epochs it
does so after several of them, or at the same steps for every dataset; a small one is passed over several times then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch

from hrrl.data.augment import Augment
from hrrl.data.loading import Source
from hrrl.train.recipes import Recipe, Schedule


@dataclass(frozen=True, kw_only=True)
class FixedStepSchedule(Recipe):
    """A recipe for so many steps, or epochs, which is evaluated after each ``eval_every`` of them."""

    epochs: int | None = None
    steps: int | None = None  # the same for every dataset, however many images it has
    eval_every: int | None = None  # left out, each epoch


class FixedStepBatches(Source):
    """A source of training images whose epochs are rounds of ``every`` steps of another one.

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
        self,
        batch_size: int,
        augment: Augment,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        steps: slice = slice(None),
    ) -> Iterator[tuple[torch.Tensor, np.ndarray, int]]:
        """The batches of round ``epoch``, as :meth:`hrrl.data.loading.Source.drawn_batches` yields them."""
        per_epoch = self.source.steps(batch_size)
        step, end = (epoch * self.every + limit for limit in steps.indices(self.every)[:2])
        while step < end:
            source_epoch, first = divmod(step, per_epoch)
            last = min(per_epoch, first + end - step)
            yield from self.source.drawn_batches(
                batch_size, augment, seed, source_epoch, rank, world, slice(first, last)
            )
            step += last - first


def in_fixed_steps(schedule: FixedStepSchedule, source: Source) -> tuple[Schedule, FixedStepBatches]:
    """A schedule and its images, as the training loop takes them: in rounds of ``schedule.eval_every`` steps or epochs.

    Args:
        schedule: ``steps`` or ``epochs``, and ``milestones``, are multiples of ``eval_every``, or of 1 where it is left
            out; further settings stay as they are.
        source: the training images.
    """
    every, length = schedule.eval_every or 1, schedule.steps or schedule.epochs or 0
    unit = 1 if schedule.steps else source.steps(schedule.batch_size)
    settings = {field.name: getattr(schedule, field.name) for field in fields(Recipe)}
    settings |= {"warmup": (schedule.warmup or 0) / every, "milestones": [n // every for n in schedule.milestones]}
    return Schedule(**settings, epochs=length // every), FixedStepBatches(source, every * unit)
