"""Where a run of the pipeline is: one picture on a terminal, lines of text elsewhere."""

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hrrl.train.progress import duration
from scripts.costs import Costs

MINUTE = 60.0  # seconds between two lines of text about cells that run


@dataclass
class State:
    """What is done, what runs, and how long the rest may take.

    Attributes:
        order: all cells; pending: those that are to be looked at; waiting: those whose turn comes in a running call.
        running: cell -> when it began, as time.time(); ended: cell -> "ran", "kept" (nothing to do) or "failed".
        course: the folder with the progress of cells that train (hrrl/train/progress.py).
    """

    order: list[str]
    pending: set[str]
    jobs: int
    costs: Costs
    course: Path
    began: float = field(default_factory=time.monotonic)
    waiting: set[str] = field(default_factory=set)
    running: dict[str, float] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> int:
        failed = sum(how == "failed" for how in self.ended.values())
        return len(self.order) - len(self.pending) - len(self.waiting) - len(self.running) - failed

    def now(self, cell: str) -> dict:
        """What a cell that trains says of itself: "done", "text", "left"; of any cell, the seconds it may have left."""
        elapsed = time.time() - self.running[cell]
        found = {}
        with suppress(OSError, ValueError):
            file = self.course / cell / "now.json"
            if time.time() - file.stat().st_mtime < elapsed:  # not of a run before
                found = json.loads(file.read_text(encoding="utf-8"))
        cost = self.costs.of(cell)
        if "left" not in found and cost is not None:
            found["left"] = max(cost - elapsed, 0)
        return found

    def left(self) -> str:
        """The time that the rest takes, from the cells that are done and those of earlier runs."""
        seconds = [self.costs.of(cell) for cell in (*self.pending, *self.waiting)]
        seconds += [self.now(cell).get("left") for cell in self.running]
        known = [value for value in seconds if value is not None]
        if not seconds:
            return "nothing left"
        if sum(known) < 1 and len(known) < len(seconds):
            return "time left unknown yet"
        text = duration(sum(known) / min(self.jobs, len(seconds)))
        return f"about {text} left" if len(known) == len(seconds) else f"more than {text} left"

    def summary(self) -> str:
        elapsed = duration(time.monotonic() - self.began)
        return f"{self.done} of {len(self.order)} cells done, {len(self.running)} running, {elapsed}, {self.left()}"


class View:
    """On a terminal a picture that stays in place, a row for each stage and each cell that runs.

    Elsewhere text for a log: a line for each cell that ends, and one a minute for those that run.
    """

    def __init__(self, state: State, console: Console):
        self.state, self.console, self.last = state, console, time.monotonic()
        picture = Live(console=console, get_renderable=self._render, refresh_per_second=2, transient=False)
        self.picture = picture if console.is_terminal else None

    def __enter__(self):
        if self.picture:
            self.picture.start()
        elif self.state.done:
            self._print(f"{self.state.done} of {len(self.state.order)} cells are up to date")
        return self

    def __exit__(self, *_):
        if self.picture:
            self.picture.stop()

    def tick(self) -> None:
        if not self.picture and time.monotonic() - self.last > MINUTE:
            for cell in self.state.running:
                self._print(f"{cell} runs: {self.state.now(cell).get('text', self.state.left())}")

    def ended(self, cell: str, how: str, seconds: float) -> None:
        words = {"ran": f"ran for {duration(seconds)}", "kept": "its outputs are there already", "failed": "failed"}
        state = self.state
        if not self.picture:
            self._print(f"[{state.done}/{len(state.order)}] {cell}: {words[how]}; {state.left()}")

    def _print(self, text: str) -> None:
        self.last = time.monotonic()
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _render(self) -> Group:
        state = self.state
        stages = Counter(cell.partition("@")[0] for cell in state.order)
        table = Table.grid(padding=(0, 2))
        for stage, total in stages.items():
            cells = [cell for cell in state.order if cell.partition("@")[0] == stage]
            later = state.pending | state.waiting
            waiting, running = (sum(cell in group for cell in cells) for group in (later, state.running))
            table.add_row(
                Text(stage, "bold" if running else "green" if not waiting else "dim"),
                ProgressBar(total, total - waiting - running, width=20),
                f"{total - waiting - running}/{total}",
                Text(self._words(cells, running), "dim"),
            )
        rows = [Text(state.summary(), "bold"), table]
        for cell in state.running:
            text = state.now(cell).get("text") or f"running for {duration(time.time() - state.running[cell])}"
            rows.append(Text(f"{cell}: {text}", no_wrap=True, overflow="ellipsis"))
        return Group(*rows)

    def _words(self, cells: list[str], running: int) -> str:
        ran, failed = ([cell for cell in cells if self.state.ended.get(cell) == how] for how in ("ran", "failed"))
        busy = self.state.pending | self.state.waiting | set(self.state.running)
        cached = sum(cell not in busy for cell in cells) - len(ran) - len(failed)
        words = [f"{running} running"] if running else []
        words += [f"{len(failed)} failed"] if failed else []
        words += [f"{cached} up to date"] if cached else []
        seconds = [self.state.costs.seconds[cell] for cell in ran if cell in self.state.costs.seconds]
        return ", ".join(words + ([f"{duration(sum(seconds) / len(seconds))} each"] if seconds else []))
