"""Where a training run is, while it goes: a bar on a terminal, a line per epoch, its status in files. No result."""

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

    from hrrl.methods.q_history import QHistory
    from hrrl.train.runtime import Runtime

Batch = TypeVar("Batch")
INTERVAL = 1.0  # seconds between two notes of where the run is


class Callback:
    """Is told where a training run is, and does nothing: the base of those that do."""

    def steps(self, batches: Iterable[Batch], total: int, epoch: float, epochs: int) -> Iterable[Batch]:
        """The batches of an epoch (counted from 0; 1.5 where half of the second is done), one by one."""
        return batches

    def step(self, losses: "torch.Tensor", trace: "QHistory", names: list[str]) -> None:
        """Called after each step with its (b,) detached losses, the run's record of q, and the concepts' names."""

    def epoch(self, history: list[dict[str, Any]], images_per_second: float) -> None:
        """Called after each epoch, with the rows of all epochs."""


class RunStatus(Callback):
    """Prints a line per epoch, and keeps ``history.csv`` and ``now.json`` in a folder.

    ``now.json`` is {"done": share of the steps, "left": seconds, "text": the last line}, for whoever waits.

    Args:
        title: of the run.
        folder: of the cell that runs it; what another run left there is overwritten.
        name: of the file with the rows.
        part: which one it is of the runs that the cell does one after another, and how many these are.
    """

    def __init__(self, title: str, folder: Path, name: str = "history", part: tuple[int, int] = (0, 1)):
        self.title, self.folder, self.name, (self.run, self.runs) = title, Path(folder), name, part
        self.text, self.noted, self.began, self.before = "begins", 0.0, 0.0, 0.0  # before: epochs of a resumed run
        self.folder.mkdir(parents=True, exist_ok=True)

    def steps(self, batches: Iterable[Batch], total: int, epoch: float, epochs: int) -> Iterator[Batch]:
        if not self.began:
            self.began, self.before, self.epochs = time.perf_counter(), epoch, epochs
        name, done = f"{self.title} epoch {int(epoch) + 1}/{epochs}", round(epoch % 1 * total)
        bar = tqdm(batches, name, total, leave=False, mininterval=1, disable=None, initial=done)
        for step, batch in enumerate(bar):
            if time.perf_counter() - self.noted > INTERVAL:
                self._note(epoch + step / total)
            yield batch

    def epoch(self, history: list[dict[str, Any]], images_per_second: float) -> None:
        write_rows(self.folder / f"{self.name}.csv", history)
        row, seconds = history[-1], self._left(len(history))
        parts = [f"epoch {len(history)}/{self.epochs}"] + ([f"{duration(seconds)} left"] if seconds else [])
        parts += [f"loss {row['train_loss']:.4f}", f"accuracy {row['val_accuracy']:.2f} %"]
        concepts = {key.removeprefix("accuracy_"): row[key] for key in row if key.startswith("accuracy_")}
        if len(concepts) > 1:
            worst = min(concepts, key=lambda name: concepts[name])
            parts.append(f"worst concept {concepts[worst]:.2f} % ({worst})")
        self.text = ", ".join([*parts, f"{images_per_second:,.0f} images/s"])
        self._note(len(history))
        print(f"{self.title}: {self.text}", flush=True)

    def _left(self, done: float) -> float:
        """Seconds that the rest takes at the speed so far, with ``done`` epochs of this run behind it."""
        per_epoch = (time.perf_counter() - self.began) / max(done - self.before, 1e-9)
        return per_epoch * (self.epochs * (self.runs - self.run) - done)

    def _note(self, done: float) -> None:
        self.noted = time.perf_counter()
        status = {"done": round((self.run + done / self.epochs) / self.runs, 4), "text": self.text}
        if done > self.before:
            status["left"] = round(self._left(done), 1)
        (self.folder / "now.json").write_text(json.dumps(status), encoding="utf-8")


def run_status(runtime: "Runtime", *args: Any) -> Callback:
    """A :class:`RunStatus` of these arguments in the first process of a run, and nothing in the others.

    With HRRL_LIVE=tensorboard in the environment it writes curves as well (hrrl/train/live.py).

    Raises:
        UserError: HRRL_LIVE is something else.
    """
    if runtime.rank:
        return Callback()
    live = os.environ.get("HRRL_LIVE", "")
    if live not in ("", "tensorboard"):
        raise UserError(f"HRRL_LIVE: takes tensorboard, or nothing for no curves; got {live!r}")
    if not live:
        return RunStatus(*args)
    from hrrl.train.live import Live

    return Live(*args)


def duration(seconds: float) -> str:
    """ "8 s", "3:05 min" or "1:20 h"."""
    minutes, seconds = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds} s"
    return f"{minutes}:{seconds:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"
