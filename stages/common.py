"""What the stage scripts share: where things are, how a stage starts, ends and fails."""

import argparse
import importlib.util
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def use_project_environment() -> None:
    """Restarts the script with the project's .venv where `python` lacks the requirements.

    So ``.venv/bin/dvc repro`` works without activating the environment, also in a temporary copy of the project
    below it (``dvc exp run --temp``). Stage scripts import this module before any other package.
    """
    if importlib.util.find_spec("dvc") is None:
        for folder in (ROOT, *ROOT.parents):
            if (python := folder / ".venv/bin/python").exists() and Path(sys.executable) != python:
                os.execv(python, [str(python), *sys.argv])
        sys.exit("python lacks the requirements: run `make setup`, or pip install -r requirements.txt")


use_project_environment()

from hrrl import launch  # noqa: E402  (the scripts run from a clone, without an installed package)

launch.end_with_parent()  # before the imports that take longest: the parent may be killed at any moment

from hrrl.errors import UserError  # noqa: E402
from hrrl.params import Params, load  # noqa: E402

WORK = Path(".work")  # git-ignored: checkpoints, and outputs until they are whole

MODULES = ("convolution", "inputgrad", "methods", "models", "objective", "runtime", "simplex", "training")
TRAINING_CODE = ("data", *(f"{module}.py" for module in MODULES))


def run(main, *arguments: str) -> None:
    """Calls ``main(params, *values)`` with the positional command-line arguments; what the user can mend is one line.

    Exit status 1 and a line on stderr for bad params, bad data, a full disk, a missing permission, a diverged run.
    """
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    for argument in arguments:
        parser.add_argument(argument)
    values = vars(parser.parse_args()).values()
    os.chdir(ROOT)
    try:
        main(load(), *values)
    except (UserError, OSError, FloatingPointError) as error:
        sys.exit(str(error))


@contextmanager
def whole(target: Path):
    """A temporary path for an output file or folder, which takes its place at the end, or never."""
    temporary = WORK / "partial" / target
    remove(temporary)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    yield temporary
    target.parent.mkdir(parents=True, exist_ok=True)
    remove(target)
    os.replace(temporary, target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content) -> None:
    with whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def key(variant: str, seed) -> str:
    """The name of one pretraining run, of its folder in models/ and of all that is measured on it."""
    return f"{variant}-{seed}"


def model_folder(params: Params, variant: str, seed) -> Path:
    return Path("models", params.name, key(variant, seed))


def measured(params: Params, what: str, variant: str, seed, suffix: str = "") -> Path:
    """Where a stage keeps what it measures on one pretraining run."""
    return Path("data", params.name, what, key(variant, seed) + suffix)


def dataset_folder(params: Params, target: str | None = None) -> Path:
    """The manifest folder of a target, or (None) of the benchmark."""
    return Path("data", params.name, *(("targets", target) if target else ("benchmark",)))


def concepts_folder(params: Params) -> Path:
    return Path("data", params.name, "concepts")


def q0_file(params: Params, variant: str) -> Path:
    """Where the concepts stage writes the reference distribution of a variant."""
    return concepts_folder(params) / "q0" / f"{variant}.json"


def open_data(params: Params, split: str, image_size: int, target: str | None = None):
    """A source of the images of a target, or (None) of the benchmark; ``split`` is train or test."""
    from hrrl.data import open_split

    definition = params.datasets[target or params.benchmark]
    return open_split(dataset_folder(params, target), definition, split, image_size, params.compute.workers)


def benchmark_task(params: Params, image_size: int):
    """The benchmark's images with the concept of each class."""
    import torch

    from hrrl.training import Task

    concepts = json.loads((concepts_folder(params) / "benchmark.json").read_text())
    train, test = (open_data(params, split, image_size) for split in ("train", "test"))
    return Task(train, test, torch.tensor(concepts["ids"]), concepts["names"])


def open_checkpoint(params: Params, name: str, settings: dict, data: list[Path]):
    """The checkpoint of a training run; it fits only the same settings, machine settings, code and data."""
    from hrrl.checkpoint import Checkpoint, fingerprint

    processes = params.launch.model_dump(exclude={"node_rank"})
    settings = settings | {"compute": params.compute.model_dump(), "launch": processes}
    code = [ROOT / "hrrl" / module for module in TRAINING_CODE]
    return Checkpoint(WORK / "checkpoints" / params.name / name, fingerprint(settings, code, data))
