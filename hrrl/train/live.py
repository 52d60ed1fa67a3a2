"""Curves of a training run in TensorBoard's format, for whoever wants to look at them while it goes."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from hrrl.methods.q_history import QHistory
from hrrl.train.progress import Batch, RunStatus

EVERY = 10  # steps between two points, so that curves cost less than 1% of a step


class Live(RunStatus):
    """A :class:`hrrl.train.progress.RunStatus` that also writes event files, which `tensorboard --logdir` shows.

    ``step/``: the batch's loss, q, and the norm of q's gradient in this process, at every tenth step; ``epoch/``: the
    numbers of history.csv. Steps are those of the optimizer.
    """

    def steps(self, batches: Iterable[Batch], total: int, epoch: float, epochs: int) -> Iterator[Batch]:
        if not self.began:
            folder = self.folder / self.name
            for file in [] if epoch else folder.glob("events.*"):  # a resumed run keeps its own, and no other's
                file.unlink()
            self.writer = SummaryWriter(str(folder))
        return super().steps(batches, total, epoch, epochs)

    def step(self, losses: torch.Tensor, trace: QHistory, names: list[str]) -> None:
        weighting = trace.weighting
        if weighting.t % EVERY or not trace.sums:
            return
        terms = trace.sums[-1][:-1] / trace.sums[-1][-1] / weighting.share
        norm = weighting.gradient(terms[None], trace.q[-1][None]).norm()
        values = torch.cat([losses.mean().double().view(1), norm.view(1), weighting.q]).tolist()  # one wait for all
        for name, value in zip(["loss", "q_gradient", *(f"q/{name}" for name in names)], values, strict=True):
            self.writer.add_scalar(f"step/{name}", value, weighting.t)

    def epoch(self, history: list[dict[str, Any]], images_per_second: float) -> None:
        super().epoch(history, images_per_second)
        for name, value in history[-1].items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(f"epoch/{name}", value, history[-1]["step"])
        self.writer.flush()
