"""Several processes for one stage, by PyTorch's own launcher, which this module starts."""

import ctypes
import json
import logging
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from hrrl.errors import UserError

PR_SET_PDEATHSIG = 1  # of Linux's prctl
LOST = re.compile("closed by peer|reset by peer|broken pipe|remote process|NCCL", re.IGNORECASE)
REPORT = "TORCHELASTIC_ERROR_FILE"  # where torchrun wants a process to write why it failed
LAUNCHER = "HRRL_LAUNCHER"  # the pid of the launcher, in the environment of what it starts
# What schedulers (SLURM scripts, Kubeflow, a torchrun around everything) export for programs of theirs.
RANKS = re.compile(r"(PET|TORCHELASTIC)_.*|((LOCAL|GROUP|ROLE)_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)")


@dataclass(frozen=True)
class Launch:
    """The section ``launch`` of params.yaml: processes on each node, and nodes."""

    nproc: int
    nnodes: int


class Ranks(NamedTuple):
    """This process among all of a stage, and among those on its node."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1


def launched() -> bool:
    """Whether this process is one of those that this module's launcher has started.

    Rank variables count for these alone: others' schedulers export the same names, and a process that believed them
    would wait for processes that nobody starts.
    """
    return os.environ.get(LAUNCHER) == str(os.getppid())


def ranks() -> Ranks:
    """Which process this is, as its launcher says; alone where it has none."""
    return Ranks(*(int(os.environ[name.upper()]) for name in Ranks._fields)) if launched() else Ranks()


def end_with_parent() -> None:
    """Asks Linux to kill this process when the one ends that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def join(launch: Launch, place: Any) -> None:
    """Restarts this program under torchrun if more than one process is asked for, and this is none of them.

    Args:
        place: the settings of machine.yaml: node_rank, master_addr, master_port.
    Raises:
        UserError: there is no such node among them.
    """
    if launch.nproc * launch.nnodes == 1 or launched():
        return
    torchrun = [sys.executable, "-m", "hrrl.train.launch", f"--nproc-per-node={launch.nproc}"]
    if launch.nnodes == 1:
        torchrun += ["--standalone"]
    elif place.node_rank < launch.nnodes:
        torchrun += [f"--nnodes={launch.nnodes}", f"--node-rank={place.node_rank}"]
        torchrun += [f"--master-addr={place.master_addr}", f"--master-port={place.master_port}"]
    else:
        last = launch.nnodes - 1
        raise UserError(f"machine.yaml: node_rank: takes 0 to {last}, as launch.nnodes says, got {place.node_rank}")
    sys.stdout.flush()
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise RuntimeError("a program that starts several processes of itself is run as a module: python -m")
    os.execv(sys.executable, [*torchrun, "--module", spec.name, *sys.argv[1:]])


def fail(message: str, expected: bool = True) -> NoReturn:
    """Ends this process with status 1 and a message on stderr.

    Under torchrun the message goes to its error file; of several, an ``expected`` one, the user's to fix, is shown.
    """
    if not (launched() and REPORT in os.environ):
        sys.exit(message)
    with open(os.environ[REPORT], "w", encoding="utf-8") as file:
        json.dump({"message": message, "timestamp": int(time.time()), "expected": expected}, file)
    sys.exit(1)


def lost_others(error: Exception) -> str | None:
    """A line for an error that comes from another process's end, None for any other error."""
    reason = " ".join(str(error).split())
    if launched() and isinstance(error, RuntimeError) and LOST.search(reason):
        return f"lost the other processes, which say why themselves ({reason[-100:]})"
    return None


def torchrun(arguments: list[str]) -> None:
    """Runs torchrun; of processes that fail, one message is shown, without a traceback of torchrun's own.

    What schedulers export for other programs is left out: torchrun would take its own options from it.
    """
    logging.disable(logging.ERROR)  # torchrun's own log of each process that ends
    for name in filter(RANKS.fullmatch, list(os.environ)):
        del os.environ[name]
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a node that ends first is a page of warnings to the others
    if "--standalone" in arguments:  # the machine's own name may be one that nothing resolves
        arguments = ["--local-addr=127.0.0.1", *arguments]
    signal.signal(signal.SIGUSR2, _forward_signal)  # which would end torchrun itself
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.run(run.parse_args(arguments))
    except ChildFailedError as error:
        sys.exit(_reason(list(error.failures.values())))
    except SignalException as error:
        sys.exit(f"ended by {error.sigval.name}")
    except RuntimeError as error:  # the processes did not find each other
        sys.exit(f"launch: the processes did not meet ({' '.join(str(error).split())}); see machine.yaml")


def _forward_signal(number: int, frame: object) -> None:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as children:
        for child in children.read().split():
            os.kill(int(child), number)


def _reason(failures: list[Any]) -> str:
    """The message to show of processes that failed: torchrun's record of each."""
    reports = [failure.error_file_data for failure in failures if "expected" in failure.error_file_data]
    if reports:
        return min(reports, key=lambda report: (not report["expected"], report["timestamp"]))["message"]
    first = min(failures, key=lambda failure: (failure.exitcode == -signal.SIGTERM, failure.timestamp))
    outcome = f"was ended by {first.signal_name()}" if first.exitcode < 0 else f"ended with status {first.exitcode}"
    return f"process {first.local_rank} {outcome}"  # torchrun itself ends the others by SIGTERM


if __name__ == "__main__":
    torchrun(sys.argv[1:])
