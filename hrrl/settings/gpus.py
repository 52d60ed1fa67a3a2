"""GPUs of this machine, each for one program at a time: a lock file for each, which the system gives back.

In a notebook, before torch is imported: ``from hrrl.settings import gpus; gpus.take()``.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from itertools import takewhile
from pathlib import Path

from hrrl.common.files import NO_LOCKS
from hrrl.errors import UserError
from hrrl.settings import machine

VISIBLE = "CUDA_VISIBLE_DEVICES"
ID = re.compile(r"\d+|(GPU|MIG)-.+")  # of what CUDA takes there; at anything else, such as -1, it reads no further
PAUSE = 0.5  # seconds between two looks


def here(given: int | list[int] | None) -> list[str]:
    """The ids of the GPUs that may be taken: those of machine.yaml, else of CUDA_VISIBLE_DEVICES, else all."""
    if given is not None:
        return [str(one) for one in (given if isinstance(given, list) else range(given))]
    if VISIBLE in os.environ:
        return list(dict.fromkeys(takewhile(ID.fullmatch, map(str.strip, os.environ[VISIBLE].split(",")))))
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, encoding="utf-8").stdout
    return [str(one) for one in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def take(count: int = 1, stage: str = "") -> list[str]:
    """Waits for so many free GPUs, takes them until this process and its children end, and shows CUDA no others.

    Returns their ids; none on a machine without any. Before torch is imported.

    Raises:
        UserError: there are fewer.
    """
    ids = here(machine.load(stage=stage).gpus)
    if not ids or not count:
        return []
    if count > len(ids):
        raise UserError(f"launch.nproc: takes at most {len(ids)}, one for each GPU ({', '.join(ids)}); got {count}")
    folder = Path(tempfile.gettempdir(), "hrrl-gpus")
    said = False
    while len(taken := _try(folder, ids, count)) < count:
        if not said:
            print(f"waits for {count} of the GPUs {', '.join(ids)}", flush=True)
        said = True
        time.sleep(PAUSE)
    os.environ |= {VISIBLE: ",".join(taken), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as nvidia-smi counts them
    return list(taken)


def _try(folder: Path, ids: list[str], count: int) -> dict[str, int]:
    """id -> the open lock file, of ``count`` GPUs or of none: holding some while waiting for others could deadlock."""
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)  # everybody's, as the GPUs are
    door = _lock(folder / "door", fcntl.LOCK_EX)
    job = os.environ.get("SLURM_JOB_ID", "")  # which may have a GPU 0 of its own
    taken: dict[str, int] = {}
    for one in ids:
        path = folder / f"{one.replace('/', '-')}{job and f'-of-{job}'}"
        if len(taken) < count and (file := _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
            taken[one] = file
    if len(taken) < count:
        for file in taken.values():
            os.close(file)
        taken = {}
    for file in taken.values():
        os.set_inheritable(file, True)  # torchrun takes the place of this process (hrrl/train/launch.py)
    if door is not None:
        os.close(door)
    return taken


def _lock(path: Path, how: int) -> int | None:
    """An open, locked file, None where another holds it; to read, which is enough, somebody else's opens as well.

    Where there are no locks, it is an open file.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        file = os.open(path, os.O_RDONLY | os.O_CREAT)
        os.fchmod(file, 0o644)  # for others to open, whatever the umask
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return file
