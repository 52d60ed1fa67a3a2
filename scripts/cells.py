"""The cells of the pipeline as DVC knows them, reproduced side by side by one process.

`dvc repro` runs one stage at a time, and a `dvc` of its own for each cell spends seconds on imports, on parsing
dvc.lock and on waiting for DVC's lock. Here threads call DVC's own `Repo.reproduce`, one at a time, and leave to others
the time in which a cell's command runs. What dvc.lock and the caches hold is DVC's, byte for byte.
"""

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import dvc.progress
import dvc.stage.run
from dvc.lock import Lock
from dvc.repo import Repo
from dvc.stage.exceptions import StageCmdFailedError

from scripts import parsed_once
from scripts.warm import Command

GRACE = 5.0  # seconds that a process has between Ctrl-C and the end


class Failed(Exception):
    """A cell's command failed."""

    def __init__(self, cell: str, reason: str, log: Path):
        super().__init__(f"{cell} failed ({reason})")
        self.cell, self.log = cell, log


class TakingTurns(Lock):
    """DVC's lock of a repository, for threads that would poll for it, half a second each time."""

    turn = threading.Lock()

    def lock(self):
        self.turn.acquire()
        try:
            super().lock()
        except BaseException:
            self.turn.release()
            raise

    def unlock(self):
        super().unlock()
        self.turn.release()


class Cells:
    """All cells of dvc.yaml with the params of the moment.

    Args:
        logs: folder for what the cells print, one file each.
    Attributes:
        order: their names, as in dvc.yaml.
        needs: name -> the cells whose outputs it reads.
        seconds: name -> how long its command took, of those that ran.
        outdated: those that are not as their last run left them, and all that follow from them.
    Raises:
        DvcException: dvc.yaml and params.yaml do not fit together.
    """

    def __init__(self, logs: Path):
        self.logs, self.running, self.seconds = Path(logs), {}, {}
        self.local, self.stopped = threading.local(), False
        self._quiet()
        dvc.stage.run._run = self._command
        parsed_once.speed_up()
        self.look()

    def look(self) -> None:
        """Finds out which cells there are, and which are outdated."""
        repo = _repo()
        graph, stages = repo.index.graph, repo.index.stages
        self.order = [stage.addressing for stage in stages]
        self.needs = {stage.addressing: {other.addressing for other in graph.successors(stage)} for stage in stages}
        self.outdated = self.with_followers(set(repo.status()))

    def with_followers(self, cells: set[str]) -> set[str]:
        """The cells and all that read their outputs, or outputs of those."""
        found = set(cells)
        while more := {cell for cell in self.order if cell not in found and self.needs[cell] & found}:
            found |= more
        return found

    def reproduce(self, cell: str, force: bool = False) -> str:
        """Brings a cell up to date: "ran", "cached" (its outputs are those of an earlier run) or "unchanged".

        Raises:
            Failed: its command failed, or DVC could not keep its outputs.
        """
        if not hasattr(self.local, "repo"):
            self.local.repo = _repo()
        self.local.ran = False
        try:
            changed = self.local.repo.reproduce(cell, single_item=True, force=force)
        except Exception as error:
            cause = error.__cause__ or error
            known = isinstance(cause, StageCmdFailedError)
            raise Failed(cell, self.local.reason if known else str(cause), self.log(cell)) from error
        return "ran" if self.local.ran else "cached" if changed else "unchanged"

    def log(self, cell: str) -> Path:
        return self.logs / f"{cell}.log"

    def stop(self) -> None:
        """Ends all commands: with Ctrl-C's signal first, so that they clear away what is half written."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.stopped, deadline = True, time.monotonic() + GRACE
        while self.running:
            late = time.monotonic() > deadline
            for command in list(self.running.values()):
                with suppress(ProcessLookupError):
                    os.killpg(command.pid, signal.SIGKILL if late else signal.SIGINT)
            time.sleep(0.5)

    def _command(self, executable, command, cwd, env, **_):
        """Takes the place of DVC's own function, which runs a command on the terminal."""
        cell = env["DVC_STAGE"]
        if self.stopped:
            raise KeyboardInterrupt
        self.local.ran = True
        began = time.monotonic()
        self.running[cell] = running = Command(command, env, cwd, self.log(cell))
        try:
            status = running.wait()
        finally:
            del self.running[cell]
            self.seconds[cell] = round(time.monotonic() - began, 2)
        if status:
            self.local.reason = f"exit status {status}" if status > 0 else signal.Signals(-status).name
            raise StageCmdFailedError(command, status)

    def _quiet(self) -> None:
        """DVC's messages, which are advice for who calls it by hand, go to a file."""
        self.logs.mkdir(parents=True, exist_ok=True)
        logger = logging.getLogger("dvc")
        logger.handlers = [logging.FileHandler(self.logs / "dvc.log", "w")]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        dvc.progress.logger.setLevel(logging.CRITICAL)  # no bars


def _repo() -> Repo:
    repo = Repo()
    repo.lock = TakingTurns(repo.lock.lockfile, wait=True)
    return repo
