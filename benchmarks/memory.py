"""The memory that a program took."""

import re
from pathlib import Path


def peak_megabytes() -> float:
    """The most that this process held at a time; on Linux.

    Not ru_maxrss, which starts with the memory of the process that started this one.
    """
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return round(int(peak[1]) / 1024, 1)
