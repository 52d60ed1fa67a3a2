"""Calls in child processes, for files from elsewhere: a crash, a hang or too much memory is an error like others."""

import faulthandler
import functools
import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
FORK = multiprocessing.get_context("fork")
MEMORY = 2**30  # bytes that a call may take beyond what its process had
SECONDS = 60  # of the processor that a call may take: waiting for a disk does not count
CHUNK = 32  # items that go to a process at a time

_function: Callable  # of a child: what it calls, and the memory that a call may take
_limit: int


def imap(
    function: Callable, items: Iterable, size: int, ahead: int = 0, chunk: int = CHUNK
) -> Generator[Any, None, None]:
    """Yields ``function(item)`` for each item in order; the exception where it raised one, a ValueError where it died.

    It is called in forked processes, so that it may be any function; others take the place of those that died.

    Args:
        function: what it returns or raises is pickled.
        size: number of processes, which end with the iterator.
        ahead: chunks in flight beyond two for each process.
        chunk: items that go to a process at a time.
    """
    pool = functools.partial(ProcessPoolExecutor, size, FORK, _prepare, (function, MEMORY))
    left, chunks, futures = iter(items), deque[list](), deque[Future]()
    executor = pool()
    try:
        while True:
            while len(chunks) <= 2 * size + ahead and (some := [*itertools.islice(left, chunk)]):
                chunks.append(some)
            if not chunks:
                return
            try:
                for some in itertools.islice(chunks, len(futures), None):
                    futures.append(executor.submit(_answers, some))
                answers = futures.popleft().result()
            except (BrokenProcessPool, MemoryError):  # the latter from an answer too large to send
                executor.shutdown(cancel_futures=True)
                answers = [_alone(function, item, MEMORY) for item in chunks[0]]
                executor, futures = pool(), deque()
            chunks.popleft()
            yield from answers
    finally:
        executor.shutdown(cancel_futures=True)


def call(function: Callable[[], T], files: Iterable[Path] = ()) -> T:
    """What a function without arguments returns or raises, called in a child process.

    Args:
        files: what it reads: for large ones it gets more memory.
    Raises:
        ValueError: the child died.
    """
    answer = _alone(lambda _: function(), None, MEMORY + 8 * sum(file.stat().st_size for file in files))
    if isinstance(answer, Exception):
        raise answer
    return answer


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _alone(function: Callable, item: Any, memory: int) -> Any:
    """The answer to one item by a process of its own, or an error that says how this died."""
    received, sent = FORK.Pipe(duplex=False)

    def run() -> None:
        _prepare(function, memory)
        try:
            sent.send(_answer(item))
        except MemoryError:
            sent.send(_hungry(memory))

    process = FORK.Process(target=run)
    process.start()
    sent.close()
    try:
        return received.recv()
    except EOFError:
        process.join()
        return _death(process.exitcode or 0, memory)
    finally:
        process.kill()
        process.join()
        received.close()


def _death(code: int, memory: int) -> ValueError:
    if code == -signal.SIGPROF:
        return ValueError(f"takes more than {SECONDS} s to read")
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"exit code {code}"
    return ValueError(f"ends the process that reads it ({name}, with {memory / 2**30:.1f} GB of memory)")


def _hungry(memory: int) -> ValueError:
    return ValueError(f"takes more than {memory / 2**30:.1f} GB of memory to read")


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


def _answers(items: list) -> list:
    return [_answer(item) for item in items]


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
