"""Where a run of the pipeline is: one picture on a terminal, lines of text elsewhere."""

import json
import sys
import time
from collections import Counter
from contextlib import suppress

from stages.paths import WORK
from stages.place import stage_of

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hrrl.train.progress import duration

MINUTE = 60.0  # seconds between two lines of text about cells that run
WORDS = {"running": "running", "called": "waiting", "failed": "failed", "kept": "up to date", "done": "up to date"}


class View:
    """On a terminal a picture that stays in place, a row for each stage and each cell that runs.

    Elsewhere text for a log: a line for each cell that ends, and one a minute for those that run.

    Args:
        run: a scripts.schedule.Schedule, that says where each cell is and how long cells take.
    """

    def __init__(self, run):
        self.run, self.began, self.last = run, time.monotonic(), time.monotonic()
        self.console = Console(highlight=False, soft_wrap=True)
        picture = Live(console=self.console, get_renderable=self._render, refresh_per_second=2, transient=False)
        # FORCE_COLOR makes a terminal of any log for rich, and on a dumb one it shows the last picture alone.
        self.picture = picture if self.console.is_interactive and sys.stdout.isatty() else None

    def __enter__(self):
        if self.picture:
            self.picture.start()
        elif done := self._done():
            self._print(f"{done} of {len(self.run.status)} cells are up to date")
        return self

    def __exit__(self, *_):
        if self.picture:
            self.picture.stop()

    def tick(self) -> None:
        if not self.picture and time.monotonic() - self.last > MINUTE:
            for cell in self._running():
                self._print(f"{cell} runs: {self._now(cell).get('text', self._left())}")
            called = [cell for cell, status in self.run.status.items() if status == "called"]
            if called and not self._running():  # for a place in SLURM's queue, say, or a GPU
                self._print(f"waiting: {', '.join(called)}; their logs say for what")

    def ended(self, cell: str) -> None:
        seconds = duration(self.run.seconds.get(cell, 0.0))
        words = {"ran": f"ran for {seconds}", "kept": "its outputs are there already", "failed": "failed"}
        if not self.picture:
            outcome = words[self.run.status[cell]]
            self._print(f"[{self._done()}/{len(self.run.status)}] {cell}: {outcome}; {self._left()}")

    def _print(self, text: str) -> None:
        self.last = time.monotonic()
        self.console.print(text, markup=False)

    def _done(self) -> int:
        return sum(status in ("done", "kept", "ran") for status in self.run.status.values())

    def _running(self) -> list[str]:
        return [cell for cell, status in self.run.status.items() if status == "running"]

    def _now(self, cell: str) -> dict:
        """What a cell that trains says of itself (hrrl/train/progress.py): "text"; of any, "left", if that is known."""
        elapsed = time.time() - self.run.began[cell]
        progress = {}
        with suppress(OSError, ValueError):
            file = WORK / "course" / self.run.name / cell / "now.json"
            if time.time() - file.stat().st_mtime < elapsed:  # not of a run before
                progress = json.loads(file.read_text(encoding="utf-8"))
        cost = self.run.costs.of(cell)
        return ({} if cost is None else {"left": max(cost - elapsed, 0)}) | progress

    def _left(self) -> str:
        """The time that the rest takes, from the cells that are done and those of earlier runs."""
        later = [cell for cell, status in self.run.status.items() if status in ("later", "called")]
        seconds = [self.run.costs.of(cell) for cell in later]
        seconds += [self._now(cell).get("left") for cell in self._running()]
        known = [value for value in seconds if value is not None]
        if not seconds:
            return "nothing left"
        if sum(known) < 1 and len(known) < len(seconds):
            return "time left unknown yet"
        text = duration(sum(known) / min(self.run.jobs, len(seconds)))
        return f"about {text} left" if len(known) == len(seconds) else f"more than {text} left"

    def _render(self) -> Group:
        elapsed, running = duration(time.monotonic() - self.began), self._running()
        summary = f"{self._done()} of {len(self.run.status)} cells done, {len(running)} running, {elapsed}"
        table = Table.grid(padding=(0, 2))
        for stage in dict.fromkeys(map(stage_of, self.run.status)):
            table.add_row(*self._row(stage))
        rows = [Text(f"{summary}, {self._left()}", "bold"), table]
        for cell in running:
            text = self._now(cell).get("text") or f"running for {duration(time.time() - self.run.began[cell])}"
            rows.append(Text(f"{cell}: {text}", no_wrap=True, overflow="ellipsis"))
        return Group(*rows)

    def _row(self, stage: str) -> tuple:
        """A stage's name, a bar, and what there is to say of its cells."""
        cells = {cell: status for cell, status in self.run.status.items() if stage_of(cell) == stage}
        count = Counter(WORDS.get(status, status) for status in cells.values())
        finished = len(cells) - count["later"] - count["waiting"] - count["running"]
        words = [f"{count[word]} {word}" for word in dict.fromkeys(WORDS.values()) if count[word]]
        seconds = [self.run.seconds[cell] for cell, status in cells.items() if status == "ran"]
        words += [f"{duration(sum(seconds) / len(seconds))} each"] if seconds else []
        style = "bold" if count["running"] else "green" if finished == len(cells) else "dim"
        bar = ProgressBar(len(cells), finished, width=20)
        return Text(stage, style), bar, f"{finished}/{len(cells)}", Text(", ".join(words), "dim")
