"""How a stage starts, reads its settings, ends and fails."""

import argparse
import contextlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def use_project_environment() -> None:
    """Restarts the stage with the project's .venv where `python` lacks the requirements.

    So ``.venv/bin/dvc repro`` works without activating the environment, also in a temporary copy of the project
    below it (``dvc exp run --temp``). Stage scripts import this module before any other package.
    """
    if importlib.util.find_spec("dvc") is None:
        for folder in (ROOT, *ROOT.parents):
            if (python := folder / ".venv/bin/python").exists() and Path(sys.executable) != python:
                os.execv(python, [str(python), *sys.orig_argv[1:]])
        sys.exit("python lacks the requirements: run `make setup`, or pip install -r requirements.txt")


use_project_environment()

from hrrl import arithmetic, launch, params_file  # noqa: E402

launch.end_with_parent()  # before the imports that take longest: the parent may be killed at any moment

from hrrl.errors import UserError  # noqa: E402


def use_portable_arithmetic() -> None:
    """Before NumPy and torch are loaded, which a stage does next; elsewhere hrrl.runtime says that it is too late."""
    with contextlib.suppress(UserError):  # the stage itself says what is wrong with params.yaml
        compute = params_file.read(ROOT / "params.yaml").get("compute")
        if isinstance(compute, dict) and compute.get("arithmetic") == "portable" and not arithmetic.libraries_loaded():
            arithmetic.use_portable()


use_portable_arithmetic()

READ = set()  # dotted keys of params.yaml that this process has read
NO_RESULT = {"compute": {"workers"}, "launch": {"node_rank", "master_addr", "master_port"}}  # keys that decide none


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


def plain(value):
    """A value of params.yaml as YAML has it."""
    return value.as_dict() if isinstance(value, Settings) else value


def deciding(params: Settings, section: str) -> dict:
    """The keys of a section that decide results."""
    return {key: plain(params[section][key]) for key in params[section] if key not in NO_RESULT.get(section, ())}


def read_params() -> Settings:
    """params.yaml as it stands: the stage ``resolve`` has checked it (hrrl/params.py), and it holds no defaults.

    Stages that change with every key of the schema would run again with every new one.
    """
    return Settings(params_file.read("params.yaml"))


def cell(parts: int) -> list[str]:
    """The values of the matrix cell that DVC runs: ["hrrl", "0"] in ``pretrain@hrrl-0``; names have no hyphen."""
    values = os.environ.get("DVC_STAGE", "").partition("@")[2]
    return values.split("-") if parts and values else []


def run(main, *arguments: str, params=read_params) -> None:
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
    try:
        main(params(), *values)
    except (UserError, OSError, FloatingPointError) as error:
        if os.environ.get("HRRL_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        launch.fail(str(error))
    except KeyboardInterrupt:
        launch.fail("interrupted; what is finished is kept, and the next run goes on from there")
    except Exception as error:
        launch.fail(launch.lost_others(error) or traceback.format_exc(), expected=False)
