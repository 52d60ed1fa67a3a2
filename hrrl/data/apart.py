"""Work on files from elsewhere in child processes: a crash, a hang or a run on the memory is an error like others."""

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
MEMORY = 2**30  # bytes that a call may take beyond what its process had
SECONDS = 60  # of the processor that a call may take: waiting for a disk does not count
GROUP = 32  # items that go to a process at a time

_function: Callable  # of a child: what it calls, and the memory that a call may take
_limit: int


class Apart:
    """Calls a function in child processes, which a bad file cannot take this process along with.

    They are forked, so that the function may be any; where one dies, others take their place.

    Args:
        function: called with one item; what it returns or raises is pickled.
        size: number of processes.
        memory: bytes that a call may take.
    """

    def __init__(self, function: Callable, size: int, memory: int = MEMORY):
        self._start, self._size, self._memory = (function, memory), size, memory
        self._open(size)

    def _open(self, size: int) -> None:
        self._executor = ProcessPoolExecutor(size, multiprocessing.get_context("fork"), _prepare, self._start)
        pid = self._executor.submit(os.getpid).result()
        self._child = next(child for child in multiprocessing.active_children() if child.pid == pid)

    def __call__(self, items: list) -> list:
        """``function(item)`` for each item; in its place the Exception where it raised one, or died: a ValueError."""
        try:
            return list(self._executor.map(_answer, items, chunksize=GROUP))
        except (BrokenProcessPool, MemoryError):  # the latter from an answer too large to send
            self.close()
        self._open(1)
        answers = [self._alone(item) for item in items]  # which one was it?
        self.close()
        self._open(self._size)
        return answers

    def _alone(self, item: Any) -> Any:
        try:
            return self._executor.submit(_answer, item).result()
        except MemoryError:
            return _hungry(self._memory)
        except BrokenProcessPool:
            self.close()  # waits for who collects the exit code
            code = self._child.exitcode or 0
            self._open(1)
        if code == -signal.SIGPROF:
            return ValueError(f"takes more than {SECONDS} s to read")
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"exit code {code}"
        return ValueError(f"ends the process that reads it ({name}, with {self._memory / 2**30:.1f} GB of memory)")

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def pool(function: Callable[[Any], Any], size: int, memory: int = MEMORY) -> Iterator[Callable[[list[Any]], list[Any]]]:
    """An :class:`Apart`, closed at the end."""
    with contextlib.closing(Apart(function, size, memory)) as call:
        yield call


def once(function: Callable[[], T], files: Iterable[Path] = ()) -> T:
    """What a function without arguments returns or raises, called in a child process.

    Args:
        files: what it reads: for large ones it gets more memory.
    Raises:
        ValueError: the child died.
    """
    with pool(lambda _: function(), 1, MEMORY + 8 * sum(file.stat().st_size for file in files)) as call:
        [answer] = call([None])
    if isinstance(answer, Exception):
        raise answer
    return answer


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(function: Callable, memory: int) -> None:
    """What a child does first."""
    global _function, _limit
    _function, _limit = function, memory
    faulthandler.disable()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: who waits for the answer decides
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    if tqdm := sys.modules.get("tqdm"):
        tqdm.tqdm.set_lock(threading.RLock())  # the parent's would stay taken if this process ended holding it
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # the threads of its pool stayed behind in the parent
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C say much there, and name no file
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if (statm := Path("/proc/self/statm")).exists():  # elsewhere, sizes in headers are the only limit
        most = int(statm.read_text(encoding="utf-8").split()[5]) * resource.getpagesize() + memory
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _end_with_parent() -> None:
    """A child waits for the next items on a pipe that it could write to as well: it would for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _hungry(memory: int) -> ValueError:
    return ValueError(f"takes more than {memory / 2**30:.1f} GB of memory to read")


def _answer(item: Any) -> Any:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return _function(item)
    except MemoryError:
        return _hungry(_limit)
    except Exception as error:
        error.add_note(traceback.format_exc())  # the parent's ends at the pipe
        try:
            return pickle.loads(pickle.dumps(error))
        except Exception:  # some can be pickled, and not read again
            return ValueError(str(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
