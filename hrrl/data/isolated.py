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

_function: Callable  # in a child: what it calls, and the bytes of memory that a call may take
_limit: int


def imap(
    function: Callable, items: Iterable, size: int, ahead: int = 0, chunk: int = CHUNK
) -> Generator[Any, None, None]:
    """Yields ``function(item)`` for each item in order; the exception where it raised one, a ValueError where it died.

    It is called in forked processes, so that it may be any function; those that die are replaced.

    Args:
        function: what it returns or raises is pickled.
        size: number of processes, which end with the iterator.
        ahead: chunks in flight beyond two for each process.
        chunk: items that go to a process at a time.
    """
    start_pool = functools.partial(ProcessPoolExecutor, size, FORK, _prepare, (function, MEMORY))
    remaining, chunks, futures = iter(items), deque[list](), deque[Future]()
    executor = start_pool()
    try:
        while True:
            while len(chunks) <= 2 * size + ahead and (next_chunk := [*itertools.islice(remaining, chunk)]):
                chunks.append(next_chunk)
            if not chunks:
                return
            try:
                for unsent in itertools.islice(chunks, len(futures), None):
                    futures.append(executor.submit(_answers, unsent))
                answers = futures.popleft().result()
            except (BrokenProcessPool, MemoryError):  # the latter from an answer too large to send
                executor.shutdown(cancel_futures=True)
                answers = [_answer_alone(function, item, MEMORY) for item in chunks[0]]
                executor, futures = start_pool(), deque()
            chunks.popleft()
            yield from answers
    finally:
        executor.shutdown(cancel_futures=True)


def call(function: Callable[[], T], files: Iterable[Path] = ()) -> T:
    """What a function without arguments returns or raises, called in a child process.

    Args:
        files: that it reads; their sizes raise its limit of memory.
    Raises:
        ValueError: the child died.
    """
    answer = _answer_alone(lambda _: function(), None, MEMORY + 8 * sum(file.stat().st_size for file in files))
    if isinstance(answer, Exception):
        raise answer
    return answer


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _answer_alone(function: Callable, item: Any, memory: int) -> Any:
    """The answer to one item from a process of its own, or an error that says how that process died."""
    receiver, sender = FORK.Pipe(duplex=False)

    def run() -> None:
        _prepare(function, memory)
        try:
            sender.send(_answer(item))
        except MemoryError:
            sender.send(_out_of_memory(memory))

    process = FORK.Process(target=run)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        return _exit_error(process.exitcode or 0, memory)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _exit_error(code: int, memory: int) -> ValueError:
    if code == -signal.SIGPROF:
        return ValueError(f"takes more than {SECONDS} s to read")
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"exit code {code}"
    return ValueError(f"ends the process that reads it ({name}, with {memory / 2**30:.1f} GB of memory)")


def _out_of_memory(memory: int) -> ValueError:
    return ValueError(f"takes more than {memory / 2**30:.1f} GB of memory to read")


def _prepare(function: Callable, memory: int) -> None:
    """Sets up a child process: what it calls, its signals and limits."""
    global _function, _limit
    _function, _limit = function, memory
    faulthandler.disable()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent decides
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    if tqdm := sys.modules.get("tqdm"):
        tqdm.tqdm.set_lock(threading.RLock())  # a child that is killed would never release the parent's
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # a fork does not copy the threads of its pool
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C warn there, and name no file
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if (statm := Path("/proc/self/statm")).exists():  # elsewhere, sizes in headers are the only limit
        limit = int(statm.read_text(encoding="utf-8").split()[5]) * resource.getpagesize() + memory
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _end_with_parent() -> None:
    """Ends a child whose parent died: it holds the write end of the pipe that it reads, and would wait for ever."""
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
        return _out_of_memory(_limit)
    except Exception as error:
        error.add_note(traceback.format_exc())  # pickling loses the traceback
        try:
            return pickle.loads(pickle.dumps(error))
        except Exception:  # some can be pickled and not unpickled
            return ValueError(str(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
