"""What several tests share: real images (scikit-learn's digits), a small network, the settings of a short run."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: tests, and what they start, run side by side
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # they start hundreds of processes, which would all compile the project

import pytest
import torch
from ruamel.yaml import YAML
from xdist.scheduler import LoadScopeScheduling

from hrrl import methods
from hrrl.common.files import locked
from hrrl.data.augment import Augment
from hrrl.data.loading import open_split
from hrrl.data.locate import Definition
from hrrl.data.manifest import prepare
from hrrl.errors import UserError
from hrrl.train import models, runtime, training
from hrrl.train.checkpoint import Checkpoint
from hrrl.train.evaluation import GroupedData
from hrrl.train.progress import Callback
from hrrl.train.recipes import Schedule
from hrrl.train.runtime import Compute
from scripts import ROOT  # which forgets a git hook's repository: tests would commit to it

BIN = Path(sys.executable).parent
PATIENCE = 1800  # seconds until a command hangs: no machine is so slow
OUTPUT = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}  # of a process, together
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # a locale that has no other letters

PADDED = Augment(crop="padded", padding=1, flip=False)
SCHEDULE = Schedule(epochs=2, batch_size=30, lr=0.05, milestones=[1], momentum=0.9, weight_decay=1e-4, augment=PADDED)
REST = dict.fromkeys(("compile", "sync_batchnorm", "tf32", "cudnn_benchmark"), False) | {"fast": True, "threads": 1}
COMPUTE = Compute(arithmetic="native", device="cpu", precision="float32", channels_last=True, **REST)


# Files whose tests share nothing but the clone; and the longest files without it and with it.
CLONE_ALONE = [f"test_{name}" for name in ("pipeline", "interruptions", "dvc", "sharing", "verify")]
LONG = [f"test_{name}" for name in ("arithmetic", "training", "examples", "measurements", "environment", "params_fuzz")]
LONG += ["test_slurm", "test_tutorial", *CLONE_ALONE[:2], "test_graph", *CLONE_ALONE[2:]]


def pytest_collection_modifyitems(items):
    """One worker makes the clone, while others (pytest -n) do what takes none; what takes longest comes first."""
    need_clone = [item for item in items if "smoke_run" in item.fixturenames]
    first = next((item for item in need_clone if item.path.stem in CLONE_ALONE), None)
    files = {item.path for item in need_clone}

    def rank(item) -> tuple:
        name = item.path.stem
        return item is not first, item.path in files, LONG.index(name) if name in LONG else len(LONG)

    items.sort(key=rank)


class Scheduling(LoadScopeScheduling):
    """A worker takes a file as a whole, whose tests share what they have made, or one test with the clone."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if Path(file).stem in CLONE_ALONE else file


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)


def digits_task(folder, test=7, size=16, concepts=(0, 0, 0, 0, 0, 0, 1, 1, 1, 2)) -> GroupedData:
    """Ten classes of 8 x 8 digits in three concepts of 6, 3 and 1 classes; 100 training images."""
    definition = Definition(kind="digits", train="train[:10]", test=f"test[:{test}]")
    if not folder.exists():
        prepare(definition, "digits").write(folder)
    train, test = (open_split(folder, None, split, size) for split in ("train", "test"))
    return GroupedData.by_class(train, test, torch.tensor(concepts), ["many", "some", "few"])


def network(seed: int = 0):
    torch.manual_seed(seed)
    return models.build("timm/resnet18", 10, {"channels": [8, 8, 16, 16]})


def method(task, example=None, concept=None) -> training.Axes:
    return training.Axes(methods.example_axis(example), methods.concept_axis(concept, task.counts))


def point(axis: str, name: str, **settings) -> dict:
    """A point with defaults, and small numbers where there are none; of several steps two, which take time."""
    arguments = methods.arguments(axis, name)
    needed = [argument.name for argument in arguments if argument.default is argument.empty]
    return {name: dict.fromkeys(needed, 0.3) | {a.name: 2 for a in arguments if a.name == "steps"} | settings}


def fit(task, folder, chosen, model=None, schedule=SCHEDULE, compute=COMPUTE, seed=0, status=None) -> training.Training:
    """A finished training, of a small network where none is given, with its checkpoint in a folder."""
    with runtime.start(compute) as here:
        run = training.Training(model or network(), task, chosen, schedule, here, seed, "test", status or Callback())
        run.fit(Checkpoint(folder, {"params": "p"}))
    return run


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """In a folder of its own: data/cache and data/raw are relative to the project's."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    return digits_task(tmp_path_factory.mktemp("digits") / "manifest")


def run(*command, folder=ROOT, without=(), **environment) -> subprocess.CompletedProcess:
    """A command in a folder, with more variables in its environment and without some."""
    given = {key: value for key, value in os.environ.items() if key not in without} | environment
    text = {"encoding": "utf-8", "errors": "replace"}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, timeout=PATIENCE, **text)


def python(*arguments, **options) -> str:
    """What python prints that knows the project."""
    done = run(sys.executable, *arguments, **{"PYTHONPATH": str(ROOT)} | options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def call(folder, *command, ok=True) -> str:
    """Runs a command in a folder and returns what it prints, stdout and stderr together."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment |= {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "commit.gpgsign", "GIT_CONFIG_VALUE_0": "false"}
    done = subprocess.run(command, cwd=folder, env=environment, timeout=PATIENCE, **OUTPUT)
    assert (done.returncode == 0) == ok, done.stdout[-3000:]
    return done.stdout


@contextlib.contextmanager
def ending(run: subprocess.Popen):
    """A process, and its end whatever happens meanwhile."""
    with run:
        try:
            yield run
        finally:
            run.kill()


def script(path: Path, text: str) -> None:
    """Writes a program of the shell."""
    path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    path.chmod(0o755)


def wait_for(condition, seconds: float = 60):
    """The first true value of a condition, or what it says when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def refused(message: str):
    """What is done inside ends in an error of one line, in which this regular expression is found."""
    with pytest.raises(UserError, match=message) as found:
        yield found
    assert "\n" not in str(found.value)


def committed(file: str) -> str:
    """A file of the last commit, whatever has run or been edited here since."""
    shown = subprocess.run(["git", "show", f"HEAD:{file}"], cwd=ROOT, capture_output=True, encoding="utf-8")
    return shown.stdout or pytest.skip(f"no git, or no {file} in the last commit")


def set_key(content, key: str, value) -> None:
    """Sets the dotted key in nested dicts, or deletes it where the value is None."""
    *path, last = key.split(".")
    for part in path:
        content = content[part]
    if value is None:
        del content[last]
    else:
        content[last] = value


def edit(folder, **changes) -> None:
    """Sets dotted keys of params.yaml."""
    yaml, path = YAML(), folder / "params.yaml"
    content = yaml.load(path.read_text())
    for key, value in changes.items():
        set_key(content, key.replace("__", "."), value)
    yaml.dump(content, path)


def outdated(folder) -> dict:
    """The cells that `dvc status` finds outdated in a folder, with its reasons."""
    return json.loads(call(folder, "dvc", "status", "--json"))


def metrics(folder) -> dict:
    """The scores that a run in a folder has left."""
    return json.loads((folder / "reports/metrics.json").read_text())


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory, worker_id):
    """A clone of the working tree in which the smoke preset has run, once for all workers; nobody writes there."""
    base = tmp_path_factory.getbasetemp()
    made = (base if worker_id == "master" else base.parent) / "smoke-run"
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            run_smoke(made.with_suffix(".partial"))
            made.with_suffix(".partial").rename(made)
    return made


@pytest.fixture(scope="session")
def clone(smoke_run, tmp_path_factory):
    """A copy of it for tests that leave it as it is."""
    return shutil.copytree(smoke_run, tmp_path_factory.mktemp("clone") / "hrrl", symlinks=True)


def run_smoke(folder: Path) -> None:
    """Copies the working tree into a repository of its own, runs the smoke preset there, and commits."""
    files = call(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (ROOT / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, folder / file)
    shutil.copy(ROOT / "presets/smoke.yaml", folder / "params.yaml")
    (folder / "dvc.lock").unlink()  # of another preset: DVC takes seconds to read it
    (folder / ".venv").symlink_to(BIN.parent)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
        call(folder, "git", *command)
    # One process of DVC for almost all: `make repro` begins one for each stage, most of which takes less than that.
    call(folder, "dvc", "repro", "card", "svm", "finetune", "robustness", "theory", "gallery")
    call(folder, "python", "-m", "scripts.repro")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "first run")


@pytest.fixture
def restored(smoke_run, tmp_path_factory):
    """A copy for one test, which may do there what it likes: quicker than `dvc checkout`."""
    folder = shutil.copytree(smoke_run, tmp_path_factory.getbasetemp() / "restored/hrrl", symlinks=True)
    yield folder
    shutil.rmtree(folder)
