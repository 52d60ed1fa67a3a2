"""How a stage starts, reads its settings, ends and fails."""

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_type_hints

ROOT = Path(__file__).resolve().parent.parent
RESTARTED = "HRRL_RESTARTED"


def use_project_environment() -> None:
    """Restarts the stage with the project's .venv, where there is one, if another `python` is first on PATH.

    So ``.venv/bin/dvc repro`` works without activating the environment, also in a temporary copy of the project
    below it (``dvc exp run --temp``): another Python lacks requirements, or has them in other versions, as conda's
    own may. Stage scripts import this module before any other package.
    """
    environments = [folder / ".venv" for folder in (ROOT, *ROOT.parents) if (folder / "stages/common.py").is_file()]
    restarted = os.environ.pop(RESTARTED, "")  # of this process alone: those that it starts may have another Python
    for environment in (folder for folder in environments if (folder / "bin/python").exists()):
        if Path(sys.prefix).resolve() != environment.resolve() and not restarted:
            os.environ[RESTARTED] = "1"  # once: the restarted Python may not be that of .venv either
            os.environ.pop("PYTHONHOME", None)
            os.execv(environment / "bin/python", [str(environment / "bin/python"), *sys.orig_argv[1:]])
        return
    if importlib.util.find_spec("dvc") is None:
        sys.exit("python lacks the requirements: run `make setup`, or pip install -r requirements.txt")


use_project_environment()

from stages import code_hash, place  # noqa: E402
from stages.paths import STOP, read_json, resolved, write_json  # noqa: E402

from hrrl import arithmetic  # noqa: E402
from hrrl.settings import params_file  # noqa: E402
from hrrl.train import launch  # noqa: E402

if "DVC_STAGE" in os.environ or launch.launched():
    # Otherwise a stage, or torchrun's workers, would train on while the next `dvc repro` trains the same run. Before
    # the slow imports, as the parent may be killed at any moment.
    launch.end_with_parent()

from hrrl.errors import UserError, escape_what_stdout_lacks  # noqa: E402


def use_portable_arithmetic() -> None:
    """Must run before a stage imports NumPy and torch; where they are loaded, the runtime says that it is too late."""
    with contextlib.suppress(UserError):  # the stage itself says what is wrong with params.yaml
        compute = params_file.read(ROOT / "params.yaml").get("compute")
        if isinstance(compute, dict) and compute.get("arithmetic") == "portable" and not arithmetic.libraries_loaded():
            arithmetic.use_portable()


use_portable_arithmetic()

WATCH, GRACE = 0.5, 5.0  # seconds between checks whether the run has ended; from the interrupt to a hard exit
READ = set()  # dotted keys of params.yaml that this process has read


class Settings(dict):
    """A section of params.yaml, with its keys as attributes."""

    def __init__(self, content: dict, key: str = ""):
        super().__init__(content)
        self._key = key

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str):
        value, key = super().get(name), f"{self._key}{name}"
        READ.add(key)
        return Settings(value, f"{key}.") if isinstance(value, dict) else value

    def as_dict(self) -> dict:
        """The section with all that is below it, read."""
        return {name: plain(self[name]) for name in self}


def params_of_run(*values: str) -> Settings:
    """params.yaml with the values that ``resolve`` recorded for this stage, by which DVC records its outputs.

    So an edit of params.yaml while cells run, or before ``dvc repro --single-item``, counts in the next run.

    Args:
        values: those that name the cell.
    Raises:
        UserError: the stage's code was edited since.
    """
    params, stage = params_file.read("params.yaml"), sys.modules["__main__"].__spec__.name.rpartition(".")[2]
    files = [resolved(folder, name) for folder in ("variants", "datasets") for name in values]
    for file in filter(Path.exists, [resolved("stages", stage), *files]):
        content = read_json(file)
        if edited := code_hash.edited(content["code"], since=file.stat().st_mtime):
            raise UserError(f"{edited[0]}: edited since the stage resolve ran; `make repro` or `dvc repro` takes it up")
        for key, value in content.get("settings", {}).items():
            put(params, key, value)
    return Settings(params)


def put(params: dict, key: str, value) -> None:
    """Sets a dotted key to what ``resolve`` wrote; its ``pretrain`` lacks paths of weights and what variants have."""
    *parts, last = key.split(".")
    for part in parts:
        params = params.setdefault(part, {})
    before = params.get(last)
    if key == "pretrain" and before:
        value = {name: setting for name, setting in before.items() if name in {*value, "epochs", "init"}} | value
        before |= {"init": value["init"]} if "init" in value else {}
    if value != before:
        print(f"params.yaml: {key} was edited since the stage resolve ran; that counts in the next run")
    params[last] = value
    if value is None:  # it was not given
        del params[last]


def plain(value):
    """A value of params.yaml as plain dicts, lists and scalars."""
    return value.as_dict() if isinstance(value, Settings) else value


def typed(kind: type, content: dict):
    """A section as a dataclass of the package; what the section lacks keeps its default, other keys are left out."""
    hints = get_type_hints(kind)
    fields = {key: content[key] for key in hints if key in content}
    return kind(**{k: typed(hints[k], v) if is_dataclass(hints[k]) else plain(v) for k, v in fields.items()})


def read_params() -> Settings:
    """params.yaml as it stands, without defaults; the stage ``resolve`` has checked it.

    A stage that imported the schema would run again with every new key of it.
    """
    return Settings(params_file.read("params.yaml"))


def cell(parts: int) -> list[str]:
    """The values of the matrix cell that DVC runs: ["hrrl", "0"] in ``pretrain@hrrl-0``; names have no hyphen."""
    values = os.environ.get("DVC_STAGE", "").partition("@")[2]
    return values.split("-") if parts and values else []


def log_apart() -> None:
    """Sends what this cell prints to a log of its own, and ends the cell with the run that asks for it.

    `make repro` names the folder in HRRL_LOGS and its process in HRRL_RUN: DVC itself is left alone, which may be
    writing dvc.lock. Without these, as for `dvc repro`, the cell prints to the terminal.
    """
    if "HRRL_LOGS" not in os.environ:
        return
    folder = Path(os.environ["HRRL_LOGS"])
    if not launch.launched():  # torchrun's processes have it from their parent
        log = os.open(
            folder / f"{os.environ['DVC_STAGE']}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644
        )
        for stream in (1, 2):
            os.dup2(log, stream)
        if _ended(folder):
            sys.exit("not begun: the run was stopped")
    threading.Thread(target=_end_with_run, args=(folder,), daemon=True).start()


def note(**content) -> None:
    """Writes for `make repro` when this cell began, and ``content``; of several processes, the first does."""
    if "HRRL_LOGS" in os.environ and launch.ranks().rank == 0:
        file = Path(os.environ["HRRL_LOGS"], f"{os.environ['DVC_STAGE']}.json")
        write_json(file, {"began": float(os.environ["HRRL_BEGAN"])} | content)


def _ended(folder: Path) -> bool:
    try:
        os.kill(int(os.environ["HRRL_RUN"]), 0)
    except ProcessLookupError:
        return True
    return (folder / STOP).exists()


def _end_with_run(folder: Path) -> None:
    while not _ended(folder):
        time.sleep(WATCH)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def begun() -> None:
    """Notes when the cell begins, which torchrun's processes inherit."""
    os.environ.setdefault("HRRL_BEGAN", str(time.time()))
    if not launch.launched():
        note()


if "DVC_STAGE" in os.environ:
    os.environ["DVC_STAGE"] = os.environ["DVC_STAGE"].rpartition(":")[2]  # "../dvc.yaml:svm@el-0" from a folder below
    log_apart()
    os.chdir(ROOT)
    place.take(os.environ["DVC_STAGE"], begun, lambda seconds: note(seconds=seconds, status=0))


def run(main, *arguments: str, params=params_of_run) -> None:
    """Calls ``main(params, *values)`` with the values that name the cell; what the user can mend is one line.

    DVC says which cell it runs in the environment, so that no name of params.yaml passes through a shell; by hand,
    the values are command-line arguments. One in brackets may be left out: "[target]".

    Exit status 1 and a line on stderr for bad params, bad data, a full disk, a missing permission, a diverged run.
    With HRRL_DEBUG=1 in the environment, the traceback as well.
    """
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    for argument in arguments:
        parser.add_argument(argument.strip("[]"), nargs="?" if argument.startswith("[") else None)
    values = vars(parser.parse_args(sys.argv[1:] or cell(len(arguments)))).values()
    os.chdir(ROOT)
    escape_what_stdout_lacks()
    try:
        main(params(*values), *values)
        note(seconds=round(time.time() - float(os.environ.get("HRRL_BEGAN", "0")), 2), status=0)
    except (UserError, OSError, FloatingPointError) as error:
        if os.environ.get("HRRL_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        launch.fail(str(error))
    except KeyboardInterrupt:
        launch.fail("interrupted; what is finished is kept, and the next run goes on from there")
    except Exception as error:
        launch.fail(launch.lost_others(error) or traceback.format_exc(), expected=False)
