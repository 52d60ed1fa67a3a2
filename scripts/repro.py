"""Runs the pipeline and shows where it is: python -m scripts.repro [--jobs 2], or `make repro JOBS=2`.

Does what `dvc repro --keep-going` does, with independent cells side by side. What each cell prints is in
.work/logs/<name>/<cell>.log.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from stages import place, slurm
from stages.common import STOP, read_params
from stages.paths import REPORTS, WORK, remove_unnamed

from rich.console import Console

from hrrl.common.files import write_json
from hrrl.errors import UserError
from hrrl.settings import machine
from scripts import ROOT, cells, commits, committed, overview, plots_page, relist, summary
from scripts.cells import Broken, Call, advice
from scripts.costs import Costs, usual

LINES = 15  # of the log of a cell that failed
INTERRUPTED = 130  # exit status after Ctrl-C
PATIENCE = 20.0  # seconds that cells have between Ctrl-C and the end
TICK = 0.2  # seconds
ENOUGH = 20.0  # seconds that the cells of one call take together, so that DVC's own time is little beside it
UNKNOWN = 5.0  # seconds, for the time being
TRIES = 2  # of a cell that ended well, or did not begin, in a call that failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=number, help="cells that run side by side (default: as machine.yaml says)")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["TQDM_DISABLE"] = "1"  # a bar in a log is noise
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False, soft_wrap=True)
    if reason := commits.let_dvc_do_without():
        console.print(f"note: {reason}; the run goes on, and is compared with none", markup=False)
    try:
        with alone(Path(".work/repro.lock"), console) as holds:
            here = place.settings()
            if words := cells.locked():
                console.print(words, markup=False)
            return run(arguments.jobs or here.jobs, console, holds)
    except KeyboardInterrupt:
        console.print("Stopped. `make repro` goes on from here: cells that are done stay done,")
        console.print("and a training run starts at its last finished epoch.")
        if slurm.JOBS.exists():
            console.print("Jobs of SLURM go on, and `make repro` finds them; `make cancel` ends them.")
        return INTERRUPTED
    except UserError as error:
        console.print("\n".join([str(error), *([advice()] if isinstance(error, Broken) else [])]), markup=False)
        return 1


def number(text: str) -> int:
    """A number of cells, as machine.yaml takes it."""
    least, most = machine.NUMBERS["jobs"]
    if text.isdecimal() and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"takes a whole number from {least} to {most}, got {text!r}")


@contextmanager
def alone(path: Path, console: Console):
    """Holds a lock of this clone, after another `make repro` that holds it, and what that has left running."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Waiting for another `make repro` here.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def run(jobs: int, console: Console, holds: int) -> int:
    """Brings everything up to date and says so; returns the exit status."""
    began = time.monotonic()
    plots_page.main()
    params = opened()
    logs = WORK / "logs" / params.name
    logs.mkdir(parents=True, exist_ok=True)
    ran = Run(params, jobs, logs, holds)
    failures = ran.everything(console)
    for cell, log in failures.items():
        show_failure(console, cell, log)
    if failures:
        console.print("After it is mended, `make repro` goes on: what is done stays done.")
        return 1
    if not committed.is_locked():
        cells.forget_others()
    report = REPORTS / "report.html"
    if ran.seconds:
        seconds = time.monotonic() - began
        note = {"jobs": jobs, "seconds": round(seconds, 2), "commands": ran.seconds}
        write_json(logs / "run.json", note)
        summary.show(console, REPORTS, params.name, seconds)
    elif ran.looked:
        console.print("Nothing ran: DVC's cache has the outputs of these params, code and data.")
    else:
        console.print("Nothing to do: params, code and data are those of the last run.")
    for line in committed.verdict():
        console.print(line, markup=False)
    console.print(f"Report: {report} (`make open` shows it)")
    return 0


def opened():
    """params.yaml, or an end with a line for each mistake in it."""
    try:
        params = read_params()
        if not params.name.isidentifier():
            raise ValueError("params.yaml: name is none")  # before it is used here
        return params
    except Exception as error:  # DVC meets the mistakes of params.yaml in its own ways
        if status := subprocess.run([sys.executable, "-m", "hrrl.params"]).returncode:
            sys.exit(status)
        sys.exit(str(error))


class Run:
    """Brings cells up to date, several at a time.

    Attributes:
        seconds: cell -> how long its command took, of those that ran.
        looked: whether any cell was outdated: where none of them ran, DVC's cache had their outputs.
        failures: cell -> the log that says why.
    """

    def __init__(self, params, jobs: int, logs: Path, holds: int):
        self.params, self.jobs, self.logs, self.holds = params, jobs, logs, holds
        self.seconds: dict[str, float] = {}
        self.looked = False
        self.failures: dict[str, Path] = {}
        self.calls: list = []
        self.tries: Counter = Counter()
        self.forced: set[str] = set()
        self.most = {name: own["jobs"] for name, own in machine.load().stages.items() if "jobs" in own}
        (logs / STOP).unlink(missing_ok=True)

    def everything(self, console) -> dict[str, Path]:
        """Brings all cells up to date; returns those that failed."""
        outdated = cells.outdated()
        self.looked = "resolve" in outdated
        if self.looked:  # what else is outdated shows when it has run
            self.work(self.state(["resolve"], {"resolve"}), {"resolve": set()}, None)
            if self.failures:
                return self.failures
            remove_unnamed(self.params)  # DVC may have had its outputs, and not run it
            outdated = cells.outdated()
        elif remove_unnamed(self.params):
            outdated = cells.outdated()
        if finished := [cell for cell in slurm.finished() if cell in outdated]:
            cells.record(finished)
            outdated = cells.outdated()
        changed = relist.changed(self.params, skip=outdated)
        for cell, why in changed.items():
            console.print(f"{why}: {cell} runs again", markup=False)
        if not outdated and not changed:
            return {}
        self.forced = set(changed)
        needs = cells.needs()
        pending = cells.with_followers(outdated | self.forced, needs)
        self.looked |= bool(pending)
        state = self.state(list(needs), pending)
        with overview.View(state, console) as view:
            self.work(state, needs, view)
        return self.failures

    def state(self, order: list[str], pending: set[str]) -> overview.State:
        name = self.params.name
        costs = Costs(WORK / "costs" / f"{name}.json", usual(name))
        return overview.State(order, pending, self.jobs, costs, WORK / "course" / name)

    def work(self, state, needs: dict[str, set[str]], view) -> None:
        """Reproduces the pending cells in the order of dvc.yaml, each as soon as those are done that it needs."""
        try:
            while self.calls or self.ready(state, needs):
                while len(self.calls) < self.jobs and (ready := self.ready(state, needs)):
                    self.start(self.batch(ready, state), state)
                time.sleep(TICK)
                for call in list(self.calls):
                    self.look(call, state, view)
                if view:
                    view.tick()
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            cells.stop(self.calls, self.logs, PATIENCE)
            raise

    def ready(self, state, needs) -> list[str]:
        """The cells of one stage that can run now: what they need is done, and did not fail."""
        busy = state.pending | set(state.running) | set(self.failures)
        busy |= {cell for call in self.calls for cell in call.cells if cell not in state.ended}
        calls = Counter(stage(call.cells[0]) for call in self.calls)
        full = {name for name, most in self.most.items() if calls[name] >= most}
        found = [cell for cell in state.order if cell in state.pending and not needs[cell] & busy]
        found = [cell for cell in found if stage(cell) not in full]
        return [cell for cell in found if stage(cell) == stage(found[0])]

    def batch(self, ready: list[str], state) -> list[str]:
        """As many of the cells as one call takes: a fair share, that takes some seconds."""
        share = -(-len(ready) // max(1, self.jobs - len(self.calls)))
        chosen: list[str] = []
        seconds = 0.0
        for cell in ready[:share]:
            alone = self.tries[cell] or cell in self.forced
            cost = state.costs.of(cell)
            seconds += UNKNOWN if cost is None else cost
            if chosen and (alone or seconds > ENOUGH):
                break
            chosen.append(cell)
            if alone:
                break
        return chosen

    def start(self, chosen: list[str], state) -> None:
        state.pending -= set(chosen)
        state.waiting |= set(chosen)
        self.calls.append(Call(chosen, self.logs, chosen[0] in self.forced, self.holds))

    def look(self, call, state, view) -> None:
        """Notes what the cells of a call have come to."""
        over = call.ended()  # before the notes are read, which then are the last
        for cell in call.cells:
            note = call.note(cell)
            if "began" in note and cell in state.waiting:
                state.waiting.remove(cell)
                state.running[cell] = note["began"]
            if note.get("status") == 0 and cell not in self.seconds and cell in state.running:
                self.seconds[cell] = note["seconds"]
                state.costs.add(cell, note["seconds"])
        if call.process.returncode in (None, 0):
            begun = [cell for cell in call.cells if cell in state.running]
            last = max(begun, key=lambda cell: state.running[cell], default=None)
            for cell in call.cells if over else [cell for cell in begun if cell != last]:
                self.done(cell, state, view)
        if over:
            self.calls.remove(call)
            if call.process.returncode:
                self.part(call, state, view)

    def done(self, cell: str, state, view) -> None:
        """A cell is up to date."""
        state.waiting.discard(cell)
        began = state.running.pop(cell, None)
        if cell not in state.ended:
            state.ended[cell] = "kept" if began is None else "ran"
            if view:
                view.ended(cell, state.ended[cell], self.seconds.get(cell, 0.0))

    def part(self, call, state, view) -> None:
        """A call failed: one of its cells did, or DVC; those that are not to blame are tried again, each alone."""
        for cell in [cell for cell in call.cells if cell not in state.ended]:
            note = call.note(cell)
            state.waiting.discard(cell)
            state.running.pop(cell, None)
            self.tries[cell] += 1
            if note and note.get("status") != 0:
                self.failures[cell] = self.logs / f"{cell}.log"
            elif self.tries[cell] >= TRIES or call.cells == [cell]:
                self.failures[cell] = call.log
            else:
                state.pending.add(cell)
            if cell in self.failures:
                state.ended[cell] = "failed"
                if view:
                    view.ended(cell, "failed", note.get("seconds", 0.0))


def stage(cell: str) -> str:
    return cell.partition("@")[0]


def show_failure(console, cell: str, log: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    console.print(f"{cell} failed. The end of its log, {log}:", markup=False)
    for line in lines[-LINES:]:
        console.print(f"    {line}", markup=False)
    if log.name.startswith("dvc-") and (words := advice()):
        console.print(words, markup=False)


if __name__ == "__main__":
    sys.exit(main())
