"""Time and memory of functions, each call in a process of its own, which imports what the function's module does."""

import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median


def measured(points: list[tuple[Callable, tuple]], rounds: int) -> list[dict]:
    """The median "seconds" and "megabytes" of each call; a function returns what it was asked for, as :func:`taken`."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as process:
        runs = [[process.submit(call, *arguments).result() for call, arguments in points] for _ in range(rounds)]
    return [{key: round(median(run[key] for run in own), 3) for key in own[0]} for own in zip(*runs, strict=True)]


def taken(start: float) -> dict[str, float]:
    """The seconds since ``start``, a time.perf_counter(), and the most memory that this process held; on Linux.

    Not ru_maxrss, which starts with the memory of the process that started this one.
    """
    seconds = time.perf_counter() - start
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return {"seconds": seconds, "megabytes": round(int(peak[1]) / 1024, 1)}
