"""Work on files from elsewhere in child processes: a crash, a hang or a run on the memory is an error like others."""

import contextlib
import faulthandler
import mmap
import os
import pickle
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
MEMORY = 2**30  # bytes that a call may take beyond what its process had
SECONDS = 60  # of the processor that a call may take: waiting for a disk does not count


class Apart:
    """Calls a function in a child process, which a bad file cannot take this process along with.

    The child is forked, so that the function may be any, and should be before threads are started. A second child,
    which does nothing but wait, starts the first one anew when it dies. Both end with this process.

    Args:
        function: called with one item; what it returns or raises is pickled.
        memory: bytes that a call may take.
    """

    def __init__(self, function: Callable, memory: int = MEMORY):
        self._memory = memory
        self._connection, theirs = Pipe()
        sys.stdout.flush()
        self._supervisor = os.fork()
        if not self._supervisor:
            self._connection.close()
            _supervise(function, theirs, memory)
        theirs.close()

    def __call__(self, items: list) -> list:
        """``function(item)`` for each item; in its place the Exception where it raised one, or died: a ValueError."""
        answer = self._ask(items)
        if isinstance(answer, list):
            return answer
        if len(items) > 1:  # which one was it?
            return [self([item])[0] for item in items]
        return [ValueError(self._cause(answer))]

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a closed connection does not do: later children have copies of its end
            self._connection.send(None)
        self._connection.close()
        os.waitpid(self._supervisor, 0)

    def _ask(self, items: list) -> list | int:
        """The answers, or the exit code of the child that died over them, as multiprocessing counts."""
        try:
            self._connection.send(items)
            return _receive(self._connection)
        except (EOFError, OSError):
            raise ChildProcessError("a process that reads files was ended, and the one that waits for it") from None

    def _cause(self, code: int) -> str:
        if code == -signal.SIGPROF:
            return f"takes more than {SECONDS} s to read"
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"exit code {code}"
        return f"ends the process that reads it ({name}, with {self._memory / 2**30:.1f} GB of memory)"


@contextlib.contextmanager
def pool(function: Callable[[Any], Any], size: int, memory: int = MEMORY) -> Iterator[Callable[[list[Any]], list[Any]]]:
    """A function like :class:`Apart`'s, to be called from many threads; ``size`` calls run at a time."""
    idle: queue.SimpleQueue[Apart] = queue.SimpleQueue()
    all_: list[Apart] = []

    def call(items: list[Any]) -> list[Any]:
        apart = idle.get()
        try:
            return apart(items)
        finally:
            idle.put(apart)

    try:
        for _ in range(size):
            all_.append(Apart(function, memory))
            idle.put(all_[-1])
        yield call
    finally:
        for apart in all_:
            apart.close()


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


def _supervise(function: Callable, connection: Connection, memory: int) -> None:
    """The life of the second child: in the place of a first one that dies, it answers how, and starts another."""
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: this process ends with its parent
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    working = mmap.mmap(-1, 1)  # shared with the first child: 1 from a whole request to the start of its answer
    while True:
        working[0] = 0
        worker = os.fork()
        if not worker:
            code = 1
            try:
                _work(function, connection, memory, working)
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if code == 0 or not working[0]:
            os._exit(0)  # killed with half a message in the pipe, or none to answer: its end is the only clear word
        with contextlib.suppress(OSError):
            connection.send_bytes(pickle.dumps((code, [])))


def _work(function: Callable, connection: Connection, memory: int, working: mmap.mmap) -> None:
    """The life of the first child, until its parent is gone or says so."""
    _limit(memory)
    if tqdm := sys.modules.get("tqdm"):
        tqdm.tqdm.set_lock(threading.RLock())  # the parent's would stay taken if this process ended holding it
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C say much there, and name no file
    while True:
        try:
            items = connection.recv()
        except (EOFError, OSError):
            return
        if items is None:
            return
        working[0] = 1
        answers = []
        for item in items:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                answers.append(function(item))
            except MemoryError:
                answers.append(ValueError(f"takes more than {memory / 2**30:.1f} GB of memory to read"))
            except Exception as error:
                error.add_note(traceback.format_exc())  # the parent's ends at the pipe
                answers.append(error)
            signal.setitimer(signal.ITIMER_PROF, 0)
        _send(connection, answers, working)


def _limit(memory: int) -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # the threads of its pool stayed behind in the parent
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if (statm := Path("/proc/self/statm")).exists():  # elsewhere, sizes in headers are the only limit
        used = int(statm.read_text(encoding="utf-8").split()[5]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = used + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _send(connection: Connection, answers: list, working: mmap.mmap) -> None:
    """Arrays are not copied on the way."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        body = pickle.dumps(answers, protocol=5, buffer_callback=buffers.append)
    except Exception:  # an error that cannot be pickled
        buffers, body = [], pickle.dumps([a if not isinstance(a, Exception) else ValueError(str(a)) for a in answers])
    raw = [buffer.raw() for buffer in buffers]
    head = pickle.dumps((body, [len(view) for view in raw]))
    working[0] = 0
    connection.send_bytes(head)
    for view in raw:
        connection.send_bytes(view)


def _receive(connection: Connection) -> list | int:
    body, sizes = pickle.loads(connection.recv_bytes())
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        connection.recv_bytes_into(buffer)
    return pickle.loads(body, buffers=buffers) if isinstance(body, bytes) else body
