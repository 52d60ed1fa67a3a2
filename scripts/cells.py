"""The cells of the pipeline, by DVC's command: which there are, which are outdated, and calls that reproduce some.

`dvc repro` runs one cell at a time, and DVC documents that several may run at once: each call here is a
`dvc --wait-for-lock repro --single-item` of ready cells of one stage, which need nothing of each other. Stages write
their own logs, and note when they begin and end (stages/common.py), so that nobody reads DVC's messages.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from stages.paths import STOP

from hrrl.common.files import replacing
from hrrl.errors import UserError
from scripts import ROOT

# Not by the script `dvc`: its first line names the Python that pip installed it by, which a moved clone lacks.
DVC = [sys.executable, "-P", "-m", "dvc"]
EDGE = re.compile(r'^"([^"]+)"(?: -> "([^"]+)")?;?$', re.MULTILINE)  # of `dvc dag --dot`: a cell, and one that reads it
LOCKFILE, LOCK = Path("dvc.lock"), Path(".dvc/tmp/lock")
HELD = 5.0  # seconds that DVC holds its lock at most while others wait; it holds none while a cell runs
ADVICE = {  # pattern of DVC's message -> what helps
    r"dvc\.lock' (is invalid|validation failed)": "dvc.lock is not whole, or holds both sides of a merge. Take the "
    "committed one; what ran since then, DVC finds in its cache: git checkout HEAD -- dvc.lock",
    "Unable to read RWLock-file": "DVC was stopped while it wrote its table of locks. "
    "When no other dvc runs here: rm .dvc/tmp/rwlock",
}


class Broken(UserError):
    """DVC failed; its message."""


def outdated() -> set[str]:
    """The cells that are not as their last run left them, by `dvc status`."""
    return set(json.loads(dvc("status", "--json")))


def needs(folder: Path = ROOT) -> dict[str, set[str]]:
    """Each cell, in the order of dvc.yaml, with the cells whose outputs it reads, by `dvc stage list` and `dvc dag`."""
    names = dvc("stage", "list", "--name-only", cwd=folder).split()
    edges = EDGE.findall(dvc("dag", "--dot", cwd=folder))
    return {name: {source for source, reader in edges if reader == name} for name in names}


def record(cells: list[str]) -> None:
    """Records the files that are there as the cells' outputs, by one `dvc commit`, which without names takes all."""
    if cells:
        dvc("commit", "--force", "--quiet", *cells)


def with_followers(cells: set[str], needs: dict[str, set[str]]) -> set[str]:
    """The cells and all that read their outputs, however indirectly; files that a user tracks with DVC are no cells."""
    reached = cells & needs.keys()
    while followers := {cell for cell in needs if cell not in reached and needs[cell] & reached}:
        reached |= followers
    return reached


def dvc(*words: str, **options) -> str:
    """What a command of DVC prints; options are those of subprocess."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*DVC, "--wait-for-lock", *words], **output, **options) as process:  # run() would kill it
        out, error = process.communicate()
    if process.returncode:
        raise Broken(*(error.strip() or f"dvc ended with status {process.returncode}").splitlines())
    return out


class Call:
    """A running `dvc repro` of cells, one after the other.

    Args:
        logs: folder of the cells' logs; cells note there what they do.
        force: whether they run although nothing changed that DVC knows of.
        holds: a file that stays open, and locked, while DVC runs.
    """

    def __init__(self, cells: list[str], logs: Path, force: bool, holds: int):
        self.cells, self.logs = cells, logs
        for cell in cells:
            note_of(cell, logs).unlink(missing_ok=True)
        self.log = logs / f"dvc-{cells[0]}.log"
        words = ["--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), *cells]
        environment = os.environ | {"HRRL_LOGS": str(logs.resolve()), "HRRL_RUN": str(os.getpid())}
        with open(self.log, "w", encoding="utf-8") as output:
            # In a session of its own: Ctrl-C reaches cells by us, and never DVC while it writes dvc.lock.
            options = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "start_new_session": True}
            self.process = subprocess.Popen([*DVC, *words], env=environment, pass_fds=[holds], **options)

    def note(self, cell: str) -> dict:
        """What the cell noted: "began" (as time.time()); at its end "seconds" and "status" as well. {}: nothing."""
        with suppress(OSError, ValueError):
            return json.loads(note_of(cell, self.logs).read_text(encoding="utf-8"))
        return {}

    def killed(self, cell: str) -> str:
        """The signal that killed a cell, which then left no status; "" for none."""
        words = self.log.read_text(encoding="utf-8", errors="replace")
        match = re.search(rf"'{re.escape(cell)}'.*exited with -(\d+)", words)
        return signal.Signals(int(match[1])).name if match else ""


def note_of(cell: str, logs: Path) -> Path:
    return logs / f"{cell}.json"


def stop(calls: list[Call], logs: Path, patience: float) -> None:
    """Ends calls: cells see the file STOP and exit, then DVC does; after ``patience`` seconds, they are killed."""
    (logs / STOP).touch()
    deadline = time.monotonic() + patience
    while any(call.process.poll() is None for call in calls) and time.monotonic() < deadline:
        time.sleep(0.1)
    for call in calls:
        with suppress(ProcessLookupError):
            os.killpg(call.process.pid, signal.SIGKILL)
        call.process.wait()


def lock_of_these_params() -> str:
    """dvc.lock without the cells that only an earlier params.yaml had, which DVC leaves in it."""
    names = set(dvc("stage", "list", "--name-only").split())
    head, *entries = re.split(r"^(?=  \S)", LOCKFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return head + "".join(entry for entry in entries if entry.partition(":")[0].strip(" '\"") in names)


def forget_others() -> None:
    """Removes those cells from dvc.lock; their outputs stay in the cache."""
    if (lock := lock_of_these_params()) != LOCKFILE.read_text(encoding="utf-8"):
        with replacing(LOCKFILE) as file:
            file.write_text(lock, encoding="utf-8")


def locked() -> str:
    """What helps where DVC waits for the lock of a killed one: with core.hardlink_lock, a file of two hard links."""

    def holder() -> int:
        with suppress(OSError):
            return LOCK.stat().st_ino if LOCK.stat().st_nlink > 1 else 0
        return 0

    first = holder()
    deadline = time.monotonic() + HELD
    while first and holder() == first:
        if time.monotonic() > deadline:
            return f"Waiting for a dvc that holds {LOCK}. If none runs here, it was killed: rm {LOCK}, and this goes on"
        time.sleep(0.1)
    return ""


def advice(words: str) -> str:
    """What helps where DVC fails with this message; "" where nothing is known to."""
    return next((hint for pattern, hint in ADVICE.items() if re.search(pattern, words)), "")
