"""Runs stages in processes that have the libraries already: importing torch takes longer than many a cell.

Python's fork server imports the libraries once, and each stage runs in a child of it. The project's own modules each
child imports for itself, as `python -m stages.<name>` does; what it computes is the same to the byte.
"""

import multiprocessing
import os
import runpy
import shlex
import subprocess
import sys
import threading
from multiprocessing import connection, forkserver
from pathlib import Path

LIBRARIES = ["torch", "torchvision", "numpy", "scipy.linalg", "sklearn.svm", "sklearn.preprocessing"]
LIBRARIES += ["sklearn.model_selection", "safetensors.torch", "threadpoolctl", "ruamel.yaml", "tqdm", "pandas"]

CONTEXT = multiprocessing.get_context("forkserver")
# An exit code is read once from a pipe, by `join` and by the `start` of any other process: of two threads that do so
# at the same time, one would find the pipe empty, and take that for exit code 255.
TURN = threading.Lock()


def start(backbone: str | None) -> None:
    """Starts the server, which ends with the calling thread, and is ready when it has imported what stages need.

    Without a backbone it imports nothing: a few cells import what they need faster than all of it.
    """
    libraries = [] if backbone is None else [*LIBRARIES, *(["timm"] if backbone.startswith("timm/") else [])]
    CONTEXT.set_forkserver_preload(["scripts.tied", *libraries])
    forkserver.ensure_running()


class Command:
    """A stage's command, running in a session of its own, with its output in a file.

    Attributes:
        pid: of the first process of the session.
    """

    def __init__(self, command: str, env: dict[str, str], folder: str, log: Path):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        words = shlex.split(command)
        if words[:3] == ["exec", "python", "-m"]:
            process = CONTEXT.Process(target=_stage, args=(words[3:], env, folder, str(log)), name=env["DVC_STAGE"])
            with TURN:
                process.start()
            self.pid, self._wait = process.pid, lambda: _exit_code(process)
        else:
            with open(log, "ab") as output:
                options = {"env": env, "cwd": folder, "stdout": output, "stderr": output, "start_new_session": True}
                process = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, **options)
            self.pid, self._wait = process.pid, process.wait

    def wait(self) -> int:
        """The exit status, negative for a signal."""
        return self._wait()


def _exit_code(process: multiprocessing.Process) -> int:
    connection.wait([process.sentinel])
    with TURN:
        process.join()
    return process.exitcode


def _stage(words: list[str], env: dict[str, str], folder: str, log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
