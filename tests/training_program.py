"""Short trainings in processes of their own: test_training.py starts, stops and compares them.

Apart, so that each process imports what it needs alone, and no network of timm's, which takes seconds.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from conftest import COMPUTE, SCHEDULE, digits_task, method, point
from torch import nn

from hrrl import methods
from hrrl.train import launch, models, runtime, training
from hrrl.train.checkpoint import Checkpoint
from hrrl.train.progress import Callback

GRADIENT, HRRL = {"gradient": {"tau": 0.3}}, {"hrrl": {"lam": 1.0, "s": 3}}


class Told(Callback):
    """SIGUSR2 in the second of the second epoch's three steps, for the launcher where there is one, as SLURM does."""

    def __init__(self, here: runtime.Runtime | None = None, at: tuple[int, int] = (1, 2)):
        self.here, self.at = here, at

    def step(self, losses, trace, names):
        if (len(trace.epochs), len(trace.q)) != self.at:
            return
        if not self.here:
            os.kill(os.getpid(), signal.SIGUSR2)
        elif self.here.rank == 1:
            os.kill(os.getppid(), signal.SIGUSR2)
            while not self.here.stop_asked.is_set():
                time.sleep(0.01)


def network(*norm: nn.Module) -> models.Classifier:
    """Of tanh, as kinks make rounding visible; batch norm, where it is given, depends on how batches are divided."""
    torch.manual_seed(0)
    return models.Classifier(nn.Sequential(nn.Conv2d(3, 8, 5, 2), *norm, nn.Tanh(), nn.Flatten(), nn.Linear(288, 10)))


def program(world: int, *arguments) -> dict:
    """Calls ``main`` in processes of its own, as arguments of subprocess's functions."""
    launcher = ["-m", "hrrl.train.launch", "--standalone", f"--nproc-per-node={world}"] if world > 1 else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return {"args": [sys.executable, *launcher, __file__, *map(str, arguments)], "env": environment}


def runs(what: str) -> dict[str, tuple]:
    """Names of points -> the points of both axes: "hrrl", or "points" for all there are, and last hrrl."""
    hrrl = {"hrrl": (GRADIENT, HRRL)}
    if what == "hrrl":
        return hrrl
    weightings = {name: point("concept", name) for name in methods.names("concept")}
    weightings |= {"hrrl": HRRL, "group_dro": {"group_dro": {"eta": 0.1}}}
    both = {f"gradient {name}": (GRADIENT, weighting) for name, weighting in weightings.items()}
    return both | {name: (point("example", name), None) for name in methods.names("example")} | hrrl


def main(folder: Path, what: str, told: str = "") -> None:
    """Runs of three epochs, "hrrl" with batch norm and averaged; of batches that processes cannot divide evenly."""
    folder.mkdir(parents=True, exist_ok=True)
    schedule, ends = replace(SCHEDULE, epochs=3, batch_size=31), {}
    with runtime.start(COMPUTE) as here:
        task = digits_task(folder / f"manifest-{here.rank}")
        for name, axes in runs(what).items():
            model, chosen = network(*[nn.BatchNorm2d(8)] * (name == "hrrl")), method(task, *axes)
            recipe = replace(schedule, ema=0.9 if name == "hrrl" else None)
            checkpoint = Checkpoint(folder / "ck" / name, {"params": "p"})
            run = training.Training(model, task, chosen, recipe, here, 0, "test", Told(here) if told else Callback())
            run.fit(checkpoint)
            trace = {part: array.tolist() for part, array in run.trace.arrays().items()}
            ends[name] = {"history": run.history, "q": chosen.concept.q.tolist(), "trace": trace}
        models.save(run.result, folder / str(here.rank), {})
        (folder / f"end-{here.rank}.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    launch.end_with_parent()
    runtime.AGREED = 2
    main(Path(sys.argv[1]), *sys.argv[2:])
