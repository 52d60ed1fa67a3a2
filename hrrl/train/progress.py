"""Where a training run is, while it goes: a bar on a terminal, a line per epoch, its course in files. No result."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from hrrl.common.rows import write_rows
from hrrl.errors import UserError

if TYPE_CHECKING:
    import torch

    from hrrl.methods.q_history import Trace
    from hrrl.train.runtime import Runtime

Batch = TypeVar("Batch")
INTERVAL = 1.0  # seconds between two notes of where the run is


class Watch:
    """Watches a training run and does nothing: the base of those that do."""

    def steps(self, batches: Iterable[Batch], total: int, epoch: int, epochs: int) -> Iterable[Batch]:
        """The batches of an epoch (counted from 0), one by one."""
        return batches

    def step(self, losses: "torch.Tensor", trace: "Trace", names: list[str]) -> None:
        """Called after each step with its (b,) detached losses, the run's record of q, and the concepts' names."""

    def epoch(self, history: list[dict[str, Any]], images_per_second: float) -> None:
        """Called after each epoch, with the rows of all epochs."""


class Course(Watch):
    """Prints a line per epoch, and keeps ``history.csv`` and ``now.json`` in a folder.

    ``now.json`` is {"done": share of the steps, "left": seconds, "text": the last line}, for whoever waits.

    Args:
        title: of the run.
        folder: of the cell that runs it; what another run left there is overwritten.
        name: of the file with the rows.
        part: which one it is of the runs that the cell does one after another, and how many these are.
    """

    def __init__(self, title: str, folder: Path, name: str = "history", part: tuple[int, int] = (0, 1)):
        self.title, self.folder, self.name, self.part = title, Path(folder), name, part
        self.text, self.noted = "begins", 0.0
        self.started: tuple[float, int] | None = None  # when, and with how many epochs done
        self.folder.mkdir(parents=True, exist_ok=True)

    def steps(self, batches: Iterable[Batch], total: int, epoch: int, epochs: int) -> Iterator[Batch]:
        self.epochs = epochs
        self.started = self.started or (time.perf_counter(), epoch)
        bar = tqdm(batches, f"{self.title} epoch {epoch + 1}/{epochs}", total, leave=False, mininterval=1, disable=None)
        for step, batch in enumerate(bar):
            if time.perf_counter() - self.noted > INTERVAL:
                self._note(epoch + step / total)
            yield batch

    def epoch(self, history: list[dict[str, Any]], images_per_second: float) -> None:
        write_rows(self.folder / f"{self.name}.csv", history)
        row = history[-1]
        worst = {key: value for key, value in row.items() if key.startswith("accuracy_")}
        left = self._left(len(history))
        parts = [f"epoch {len(history)}/{self.epochs}"] + ([f"{duration(left)} left"] if left else [])
        parts += [f"loss {row['train_loss']:.4f}", f"accuracy {row['val_accuracy']:.2f} %"]
        if len(worst) > 1:
            concept = min(worst, key=lambda name: worst[name])
            parts.append(f"worst concept {worst[concept]:.2f} % ({concept.removeprefix('accuracy_')})")
        self.text = ", ".join([*parts, f"{images_per_second:,.0f} images/s"])
        self._note(len(history))
        print(f"{self.title}: {self.text}", flush=True)

    def _left(self, done: float) -> float:
        """Seconds that the rest takes at the speed so far, with ``done`` epochs of this run behind it."""
        started, before = self._start()
        run, runs = self.part
        seconds = (time.perf_counter() - started) / max(done - before, 1e-9)  # per epoch
        return seconds * (self.epochs - done + self.epochs * (runs - run - 1))

    def _start(self) -> tuple[float, int]:
        if self.started is None:
            raise RuntimeError("no epoch has begun")
        return self.started

    def _note(self, done: float) -> None:
        self.noted = time.perf_counter()
        run, runs = self.part
        now = {"done": round((run + done / self.epochs) / runs, 4), "text": self.text}
        if done > self._start()[1]:
            now["left"] = round(self._left(done), 1)
        (self.folder / "now.json").write_text(json.dumps(now), encoding="utf-8")


def watching(runtime: "Runtime", *args: Any) -> Watch:
    """A :class:`Course` of these arguments in the first process of a run, and nothing in the others.

    With HRRL_LIVE=tensorboard in the environment it writes curves as well (hrrl/train/live.py).

    Raises:
        UserError: HRRL_LIVE is something else.
    """
    if runtime.rank:
        return Watch()
    live = os.environ.get("HRRL_LIVE", "")
    if live not in ("", "tensorboard"):
        raise UserError(f"HRRL_LIVE: takes tensorboard, or nothing for no curves; got {live!r}")
    if live:
        from hrrl.train.live import Live

        return Live(*args)
    return Course(*args)


def duration(seconds: float) -> str:
    """ "8 s", "3:05 min" or "1:20 h"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02} min"
    return f"{seconds // 3600}:{seconds // 60 % 60:02} h"
