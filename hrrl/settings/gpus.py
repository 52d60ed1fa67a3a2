"""Allocates this machine's GPUs, each to one program at a time: a lock file per GPU, which the system releases.

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
ID = re.compile(r"\d+|(GPU|MIG)-.+")  # what CUDA takes there; it stops reading at anything else, such as -1
PAUSE = 0.5  # seconds between two attempts


def here(given: int | list[int] | None) -> list[str]:
    """The ids of the GPUs that may be taken: those of machine.yaml, else of CUDA_VISIBLE_DEVICES, else all."""
    if given is not None:
        return [str(gpu) for gpu in (given if isinstance(given, list) else range(given))]
    if VISIBLE in os.environ:
        return list(dict.fromkeys(takewhile(ID.fullmatch, map(str.strip, os.environ[VISIBLE].split(",")))))
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, encoding="utf-8").stdout
    return [str(gpu) for gpu in range(sum(line.startswith("GPU ") for line in listing.splitlines()))]


def take(count: int = 1, stage: str = "") -> list[str]:
    """Waits for ``count`` free GPUs, holds them until this process and its children end, and hides others from CUDA.

    Returns their ids; none on a machine without any. Call it before torch is imported.

    Raises:
        UserError: there are fewer.
    """
    ids = here(machine.load(stage=stage).gpus)
    if not ids or not count:
        return []
    if count > len(ids):
        raise UserError(f"launch.nproc: takes at most {len(ids)}, one for each GPU ({', '.join(ids)}); got {count}")
    folder = Path(tempfile.gettempdir(), "hrrl-gpus")
    announced = False
    while len(taken := _try(folder, ids, count)) < count:
        if not announced:
            print(f"waits for {count} of the GPUs {', '.join(ids)}", flush=True)
        announced = True
        time.sleep(PAUSE)
    os.environ |= {VISIBLE: ",".join(taken), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as nvidia-smi counts them
    return list(taken)


def _try(folder: Path, ids: list[str], count: int) -> dict[str, int]:
    """id -> descriptor of its lock file, of ``count`` GPUs or of none: to hold some while waiting could deadlock."""
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)  # everybody's, as the GPUs are
    door = _lock(folder / "door", fcntl.LOCK_EX)
    job = os.environ.get("SLURM_JOB_ID", "")  # which may have a GPU 0 of its own
    taken: dict[str, int] = {}
    for gpu in ids:
        path = folder / f"{gpu.replace('/', '-')}{job and f'-of-{job}'}"
        if len(taken) < count and (descriptor := _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
            taken[gpu] = descriptor
    if len(taken) < count:
        for descriptor in taken.values():
            os.close(descriptor)
        taken = {}
    for descriptor in taken.values():
        os.set_inheritable(descriptor, True)  # torchrun takes the place of this process (hrrl/train/launch.py)
    if door is not None:
        os.close(door)
    return taken


def _lock(path: Path, operation: int) -> int | None:
    """The descriptor of a locked file, None where another process holds it; not locked where locks are unsupported.

    Opened read-only, which suffices for a lock: another user's file opens as well.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT)
        os.fchmod(descriptor, 0o644)  # for others to open, whatever the umask
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return descriptor
