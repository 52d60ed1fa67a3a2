"""The same bytes on every x86-64 CPU with AVX2, or as fast as the machine can: ``compute.arithmetic`` of params.yaml.

PyTorch, oneDNN, MKL, OpenBLAS and NumPy pick their kernels by the CPU that they find, and kernels of different vector
width add in different orders. ``portable`` holds them all to what AVX2 CPUs share, in float32 and one thread, by the
variables of the environment that they document. They read them as they are loaded: :func:`use_portable` comes first.
MKL's own AVX2 branch differs between Intel and AMD, so it gets the one that is the same on both.
"""

import os
import platform
import sys
from functools import cache
from pathlib import Path

from hrrl.errors import UserError

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",  # exp and log differ by the last bit
    "OMP_NUM_THREADS": "1",
}
THEIRS = ("ATEN_", "DNNL_", "GOTO_", "KMP_", "MKL_", "NPY_", "OMP_", "ONEDNN_", "OPENBLAS_")  # what they read
LIBRARIES = ("numpy", "torch")  # that load the libraries that read them
NEEDED = {"avx2", "fma"}


def use_portable() -> None:
    """Holds this process, and those that it starts, to portable arithmetic; before NumPy and torch are imported.

    On a CPU that has no AVX2 or is no x86-64 it does nothing: see :func:`cpu_lacks`.

    Raises:
        UserError: one of the libraries is loaded already.
    """
    if cpu_lacks():
        return
    if not (loaded := libraries_loaded()):
        for name in [name for name in os.environ if name.startswith(THEIRS)]:
            del os.environ[name]
        os.environ.update(PORTABLE)
    elif not is_portable():
        raise UserError(
            f"compute.arithmetic: {loaded[0]} is loaded and has chosen its arithmetic by this CPU; in a new process, "
            "call hrrl.arithmetic.use_portable() before any other import, or set compute.arithmetic to native"
        )


def libraries_loaded() -> list[str]:
    """The libraries that are loaded, and so have read the environment already."""
    return [name for name in LIBRARIES if name in sys.modules]


def is_portable() -> bool:
    """Whether the environment asks for portable arithmetic, and did before torch was loaded."""
    is_set = all(os.environ.get(name) == value for name, value in PORTABLE.items())
    torch = sys.modules.get("torch")
    return is_set and (torch is None or torch.backends.cpu.get_cpu_capability() == "AVX2")


@cache
def cpu_lacks() -> str:
    """Why this machine cannot compute portably, "" where it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"{sys.platform} on {platform.machine()} is not Linux on x86_64"
    missing = NEEDED - set(_cpuinfo("flags").split())
    return f"this CPU has no {' and no '.join(sorted(missing))}" if missing else ""


def cpu() -> str:
    """The kind of this machine's CPU, as far as its arithmetic goes: model and widest vectors."""
    flags = set(_cpuinfo("flags").split())
    widest = [name for name in ("avx512_bf16", "avx512f", "avx2", "avx") if name in flags]
    return ", ".join([_cpuinfo("model name") or platform.processor() or platform.machine(), *widest[:1]])


def _cpuinfo(key: str) -> str:
    """The first value of a key in Linux's /proc/cpuinfo, "" where there is none."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
