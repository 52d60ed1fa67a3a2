"""Stages as DVC runs them, each in a child of one process that has imported the libraries: that takes longest.

For programs that are run in a clone (python -c), so that its own ``hrrl`` and ``stages`` are those that run.
"""

import os
import runpy
import sys
import traceback
from collections.abc import Callable
from importlib import import_module

from hrrl import arithmetic

arithmetic.use_portable()

for library in ("nltk", "pandas", "safetensors.torch", "sklearn.svm", "timm", "torch"):
    import_module(library)


def run(cell: str, module: str, at_its_end: Callable[[], None] = lambda: None) -> int:
    """Runs the module of a cell's stage, and in the same process what is to follow; returns the exit status."""
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.environ["DVC_STAGE"], sys.argv, status = cell, [module], 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        at_its_end()
        status = 0
    except SystemExit as error:
        print(error)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(status)
