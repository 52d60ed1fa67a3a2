"""Brings cells up to date, several at a time, each as soon as those are done that it needs."""

import json
import signal
import time
from collections import Counter
from itertools import accumulate, takewhile
from pathlib import Path
from statistics import mean

from stages.paths import STOP, WORK
from stages.place import stage_of

from hrrl.common.files import write_json
from hrrl.settings import machine
from scripts import cells
from scripts.overview import View

PATIENCE = 20.0  # seconds that cells have between Ctrl-C and the end
TICK = 0.2  # seconds
ENOUGH = 20.0  # seconds that the cells of one call take together, so that DVC's overhead is small
UNKNOWN = 5.0  # seconds assumed where a cell's are not known
TRIES = 2  # of a cell that ended well, or did not begin, in a call that failed


class Costs:
    """Seconds per cell of a preset: the last ones on this machine, or of other cells of the stage, or elsewhere."""

    def __init__(self, name: str):
        self.file, elsewhere = WORK / "costs" / f"{name}.json", Path("benchmarks/results.json")
        self.seconds = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}
        self.usual = json.loads(elsewhere.read_text(encoding="utf-8"))["cells"].get(name, {})

    def add(self, cell: str, seconds: float) -> None:
        self.seconds[cell] = seconds
        write_json(self.file, self.seconds)

    def of(self, cell: str) -> float | None:
        """None where nothing is known."""
        others = [seconds for other, seconds in self.seconds.items() if stage_of(other) == stage_of(cell)]
        return self.seconds.get(cell, mean(others) if others else self.usual.get(stage_of(cell)))


class Schedule:
    """The cells of a run, and where they are.

    Args:
        name: the run's, of params.yaml.
        jobs: cells that run side by side.
        holds: a file that stays open, and locked, while DVC runs.

    Attributes:
        status: of each cell, in the order of dvc.yaml: "later" or "called" (its turn comes in a running call), then
            "running", at last "ran", "kept" (its outputs were there) or "failed"; "done" where nothing was to do.
        began: cell -> when it began, as time.time().
        seconds: cell -> how long its command took, of those that ran.
        failures: cell -> the log that says why.
    """

    def __init__(self, name: str, jobs: int, holds: int):
        self.name, self.jobs, self.holds = name, jobs, holds
        self.logs, self.costs = WORK / "logs" / name, Costs(name)
        self.most = {name: section["jobs"] for name, section in machine.load().stages.items() if "jobs" in section}
        self.status: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, Path] = {}
        self.calls: list[cells.Call] = []
        self.tries: Counter = Counter()
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / STOP).unlink(missing_ok=True)

    def work(self, needs: dict[str, set[str]], pending: set[str], forced: set[str] = frozenset()) -> None:
        """Reproduces the pending cells, in the order of ``needs``; those that are forced whatever DVC knows."""
        self.needs, self.forced = needs, forced
        self.status = {cell: "later" if cell in pending else "done" for cell in needs}
        try:
            with View(self) as self.view:
                while self.calls or self.ready():
                    while len(self.calls) < self.jobs and (ready := self.ready()):
                        self.start(self.batch(ready))
                    time.sleep(TICK)
                    for call in list(self.calls):
                        self.look(call)
                    self.view.tick()
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            cells.stop(self.calls, self.logs, PATIENCE)
            raise

    def ready(self) -> list[str]:
        """The cells of one stage that can run now: what they need is done, and did not fail."""
        calls = Counter(stage_of(call.cells[0]) for call in self.calls)
        full = {name for name, most in self.most.items() if calls[name] >= most}
        busy = {cell for cell, status in self.status.items() if status not in ("done", "kept", "ran")}
        runnable = [cell for cell, status in self.status.items() if status == "later" and not self.needs[cell] & busy]
        runnable = [cell for cell in runnable if stage_of(cell) not in full]
        return [cell for cell in runnable if stage_of(cell) == stage_of(runnable[0])]

    def batch(self, ready: list[str]) -> list[str]:
        """The cells of one call: a fair share of those that are ready, of ENOUGH seconds or just one."""
        share = -(-len(ready) // (self.jobs - len(self.calls)))
        together = list(takewhile(lambda cell: not self.tries[cell] and cell not in self.forced, ready[:share]))
        costs = [UNKNOWN if (cost := self.costs.of(cell)) is None else cost for cell in together]
        return ready[: max(1, sum(seconds <= ENOUGH for seconds in accumulate(costs)))]

    def start(self, chosen: list[str]) -> None:
        self.status |= dict.fromkeys(chosen, "called")
        self.calls.append(cells.Call(chosen, self.logs, chosen[0] in self.forced, self.holds))

    def look(self, call: cells.Call) -> None:
        """Updates the status of a call's cells."""
        ended = call.process.poll() is not None  # before the notes are read, which then are the last
        for cell in call.cells:
            note = call.note(cell)
            if "began" in note and self.status[cell] == "called":
                self.status[cell], self.began[cell] = "running", note["began"]
            if note.get("status") == 0 and self.status[cell] == "running" and cell not in self.seconds:
                self.seconds[cell] = note["seconds"]
                self.costs.add(cell, note["seconds"])
        if call.process.returncode in (None, 0):
            begun = [cell for cell in call.cells if self.status[cell] == "running"]
            last = max(begun, key=self.began.get, default=None)  # DVC has yet to take its outputs
            for cell in call.cells if ended else [cell for cell in begun if cell != last]:
                self.end(cell, "ran" if cell in begun else "kept")
        if ended:
            self.calls.remove(call)
            if call.process.returncode:
                self.part(call)

    def end(self, cell: str, how: str) -> None:
        if self.status[cell] in ("called", "running"):
            self.status[cell] = how
            self.view.ended(cell)

    def part(self, call: cells.Call) -> None:
        """A call failed: one of its cells did, or DVC; those that are not to blame are tried again, each alone."""
        for cell in [cell for cell in call.cells if self.status[cell] in ("called", "running")]:
            note = call.note(cell)
            self.tries[cell] += 1
            if note and note.get("status") != 0:
                self.failures[cell] = self.logs / f"{cell}.log"
                if sig := call.killed(cell):
                    with open(self.failures[cell], "a", encoding="utf-8") as log:
                        log.write(f"ended by {sig}{', as a system short of memory does' if sig == 'SIGKILL' else ''}\n")
            elif self.tries[cell] >= TRIES or call.cells == [cell]:
                self.failures[cell] = call.log
            else:
                self.status[cell] = "later"
                continue
            self.end(cell, "failed")
