"""One `make repro` at a time in a clone, and nothing half written that a killed DVC has left: python -m scripts.locks.

DVC writes its table of locks, .dvc/tmp/rwlock, and dvc.lock in place. Killed in that moment, it leaves a file that
every later ``dvc`` refuses to read. (An entry of a process that is no more does no such harm: DVC passes over it by
itself.)
"""

import fcntl
import json
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

LOCKFILE = Path("dvc.lock")
TABLE = Path(".dvc/tmp/rwlock")
GUARDS = {LOCKFILE: Path(".dvc/tmp/lock"), TABLE: Path(".dvc/tmp/rwlock.lock")}  # DVC holds them meanwhile


@contextmanager
def alone(path: Path, wait):
    """Holds a lock of this clone, after another process that holds it; calls ``wait()`` before it waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Mends both files; leaves one alone while a ``dvc`` is at it."""
    for path, mend in ((LOCKFILE, mend_lockfile), (TABLE, mend_table)):
        if path.exists():
            GUARDS[path].parent.mkdir(parents=True, exist_ok=True)
            with open(GUARDS[path], "a") as guard, suppress(BlockingIOError):
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mend(path.read_bytes().decode(errors="replace"))


def mend_lockfile(text: str) -> None:
    """Removes the stage within which the text is cut off, and takes what is missing as it is committed.

    What was not committed is in DVC's cache of runs.
    """
    from hrrl.files import replacing
    from scripts.parsed_once import HEAD, is_stage, named, split

    head, *stages = split(text.rstrip() + "\n")
    if stages and not is_stage(stages[-1]):
        stages.pop()
    if (stages and head + "".join(stages) == text) or not all(is_stage(stage) for stage in stages):
        return  # whole, or not what a kill leaves: DVC will say what is wrong
    committed = subprocess.run(["git", "show", f"HEAD:./{LOCKFILE}"], capture_output=True, text=True).stdout
    if known := named(split(committed)[1:]) | named(stages):
        with replacing(LOCKFILE) as temporary:
            temporary.write_text((head if stages else HEAD) + "".join(known.values()))
    else:
        LOCKFILE.unlink()
    print(f"dvc.lock was cut off, as DVC was killed: {len(stages)} cells kept, the others as committed or cached.")


def mend_table(text: str) -> None:
    """Removes the table if it is cut off."""
    try:
        json.loads(text)
    except ValueError:
        TABLE.unlink()


if __name__ == "__main__":
    main()
