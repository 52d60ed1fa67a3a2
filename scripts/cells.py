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

# Its command names the Python that pip installed it by, which a clone that was moved has no more.
DVC = [sys.executable, "-P", "-m", "dvc"]
EDGE = re.compile(r'^"([^"]+)"(?: -> "([^"]+)")?;?$', re.MULTILINE)  # of `dvc dag --dot`: a cell, and one that reads it
LOCKFILE, LOCK = Path("dvc.lock"), Path(".dvc/tmp/lock")
HELD = 5.0  # seconds that DVC holds its lock at most, while others wait: not while a cell runs
ADVICE = {  # words of DVC -> what helps
    r"dvc\.lock' (is invalid|validation failed)": "dvc.lock is not whole, or holds both sides of a merge. Take the "
    "committed one; what ran since then, DVC finds in its cache: git checkout HEAD -- dvc.lock",
    "Unable to read RWLock-file": "DVC was stopped while it wrote its table of locks. "
    "When no other dvc runs here: rm .dvc/tmp/rwlock",
}


class Broken(UserError):
    """DVC refused to work; its words."""


def outdated() -> set[str]:
    """The cells that are not as their last run left them, by `dvc status`."""
    return set(json.loads(dvc("status", "--json")))


def needs(folder: Path = ROOT) -> dict[str, set[str]]:
    """Each cell, in the order of dvc.yaml, with the cells whose outputs it reads, by `dvc stage list` and `dvc dag`."""
    names = dvc("stage", "list", "--name-only", cwd=folder).split()
    found = EDGE.findall(dvc("dag", "--dot", cwd=folder))
    return {name: {first for first, second in found if second == name} for name in names}


def record(cells: list[str]) -> None:
    """Takes what lies there for what the cells make, by one `dvc commit`; of no cells, it would be of all."""
    if cells:
        dvc("commit", "--force", "--quiet", *cells)


def with_followers(cells: set[str], needs: dict[str, set[str]]) -> set[str]:
    """The cells and all that read their outputs, or outputs of those; what else a user tracks with DVC is none."""
    found = cells & needs.keys()
    while more := {cell for cell in needs if cell not in found and needs[cell] & found}:
        found |= more
    return found


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
        """Which signal ended a cell, which then has no last word; "" for none."""
        words = self.log.read_text(encoding="utf-8", errors="replace")
        found = re.search(rf"'{re.escape(cell)}'.*exited with -(\d+)", words)
        return signal.Signals(int(found[1])).name if found else ""


def note_of(cell: str, logs: Path) -> Path:
    return logs / f"{cell}.json"


def stop(calls: list[Call], logs: Path, patience: float) -> None:
    """Ends calls: cells see the file and go, then DVC does; what is not gone after some seconds is killed."""
    (logs / STOP).touch()
    deadline = time.monotonic() + patience
    while any(call.process.poll() is None for call in calls) and time.monotonic() < deadline:
        time.sleep(0.1)
    for call in calls:
        with suppress(ProcessLookupError):
            os.killpg(call.process.pid, signal.SIGKILL)
        call.process.wait()


def lock_of_these_params() -> str:
    """dvc.lock without the cells of an earlier params.yaml that this one has not, which DVC leaves in it."""
    names = set(dvc("stage", "list", "--name-only").split())
    head, *entries = re.split(r"^(?=  \S)", LOCKFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return head + "".join(entry for entry in entries if entry.partition(":")[0].strip(" '\"") in names)


def forget_others() -> None:
    """Leaves those cells out of dvc.lock; they stay in the cache."""
    if (left := lock_of_these_params()) != LOCKFILE.read_text(encoding="utf-8"):
        with replacing(LOCKFILE) as file:
            file.write_text(left, encoding="utf-8")


def locked() -> str:
    """What helps where DVC waits for a lock that a killed one holds: with core.hardlink_lock, a file of two names."""

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
    """What helps where DVC refuses to work with these words; "" where nothing is known to."""
    return next((help_ for refusal, help_ in ADVICE.items() if re.search(refusal, words)), "")
