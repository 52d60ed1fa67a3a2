"""Several processes for one stage, by PyTorch's own launcher."""

import ctypes
import os
import signal
import sys
from typing import Protocol

PR_SET_PDEATHSIG = 1  # of Linux's prctl


class Launch(Protocol):
    """The section ``launch`` of params.yaml: processes on each of several nodes, and where the first one is."""

    nproc: int
    nnodes: int
    node_rank: int
    master_addr: str
    master_port: int


def end_with_parent() -> None:
    """Lets this process end when DVC or torchrun, which started it, is killed.

    Otherwise a stage, or torchrun's workers, would train on, while the next ``dvc repro`` trains the same run. Only on
    Linux; does nothing in a process that neither started.
    """
    if sys.platform == "linux" and ("DVC_STAGE" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def join(launch: Launch) -> None:
    """Restarts this module under torchrun if the params section ``launch`` asks for more than one process.

    Returns in a process that torchrun started, and where one process is all that is asked for.
    """
    if launch.nproc * launch.nnodes == 1 or "WORLD_SIZE" in os.environ:
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={launch.nproc}"]
    if launch.nnodes == 1:
        torchrun += ["--standalone"]
    else:
        torchrun += [f"--nnodes={launch.nnodes}", f"--node-rank={launch.node_rank}"]
        torchrun += [f"--master-addr={launch.master_addr}", f"--master-port={launch.master_port}"]
    sys.stdout.flush()
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise RuntimeError("a program that starts several processes of itself is run as a module: python -m")
    os.execv(sys.executable, [*torchrun, "--module", spec.name, *sys.argv[1:]])
