"""One `make repro` at a time in a clone, and no lock of DVC's that a killed process has left: python -m scripts.locks.

DVC writes its table of locks, .dvc/tmp/rwlock, in place. Killed in that moment, it leaves a file that every later
``dvc`` refuses to read. (An entry of a process that is no more does no such harm: DVC passes over it by itself.)
"""

import fcntl
import json
from contextlib import contextmanager
from pathlib import Path

TABLE = Path(".dvc/tmp/rwlock")
GUARD = Path(".dvc/tmp/rwlock.lock")  # DVC holds it for as long as it reads or writes the table


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
    """Removes an unreadable table; does nothing while a ``dvc`` is at it."""
    if not TABLE.exists():
        return
    with open(GUARD, "a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            json.loads(TABLE.read_text())
        except BlockingIOError:
            return
        except ValueError:
            TABLE.unlink()


if __name__ == "__main__":
    main()
