"""Where a cell runs, as machine.yaml says: here, with GPUs of its own, or as a job of SLURM."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from hrrl.errors import UserError
from hrrl.settings import gpus, machine, params_file

NETWORKS = ("search-model", "search", "pretrain", "features", "finetune", "robustness", "gallery")
PARALLEL = ("search-model", "pretrain", "finetune")  # in launch.nproc processes on launch.nnodes nodes
QUICK = ("resolve", "select", "given", "card")  # and head itself: no work for a job
PLACED = "HRRL_PLACED"  # in the environment of what a cell starts once it has its place


def stage_of(cell: str) -> str:
    return cell.partition("@")[0]


def settings(stage: str = "") -> machine.Machine:
    """machine.yaml, for a stage where one is given.

    Raises:
        UserError: one line for each mistake; the stages are those of dvc.yaml.
    """
    config = machine.load(stage=stage)
    if config.stages:
        known = [*YAML(typ="safe").load(Path("dvc.yaml"))["stages"], "head"]
        if unknown := [name for name in config.stages if name not in known]:
            raise UserError(*(f"machine.yaml: stages.{name}: no stage; known: {', '.join(known)}" for name in unknown))
    return config


def shape(stage: str, params: dict) -> tuple[int, int]:
    """(nodes, GPUs on each) that a stage computes on with these params."""
    launch, compute = params["launch"], params["compute"]
    cuda = compute["arithmetic"] == "native" and compute["device"] != "cpu"
    nodes, processes = (launch["nnodes"], launch["nproc"]) if stage in PARALLEL else (1, 1)
    if stage == "preflight":  # checks that the GPUs are there
        return 1, launch["nproc"] * cuda
    return nodes, processes * (cuda and stage in NETWORKS)


def refuse_links() -> None:
    """Refuses outputs behind a link before a cell computes them: with git, DVC would do so afterwards.

    Raises:
        UserError: a folder of outputs, of any stage, is one.
    """
    stages = YAML(typ="safe").load(Path("dvc.yaml"))["stages"].values()
    outs = [str(*out) if isinstance(out, dict) else out for stage in stages for out in stage.get("outs", [])]
    links = sorted({str(folder) for out in outs for folder in Path(out).parents if folder.is_symlink()})
    if links and any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        raise UserError(
            f"{links[0]}: is a link, and DVC takes no outputs behind one; make it a folder. For another disk: "
            "dvc cache dir --local FOLDER, then dvc config --local cache.type symlink"
        )


def take(cell: str, begun: Callable[[], None], ended: Callable[[float], None]) -> None:
    """Returns when this process is where the cell runs; ends it when a job of SLURM has run the cell.

    Called before torch is imported. ``begun`` is called when the cell begins, ``ended`` with the seconds that it took.
    """
    stage = stage_of(cell)
    if machine.JOB in os.environ:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # until hrrl.train.runtime listens
    if machine.JOB in os.environ or PLACED in os.environ:
        return begun()
    try:
        refuse_links()
        if stage == "resolve":
            return begun()
        config, params = settings(stage), params_file.read("params.yaml")
        nodes, count = shape(stage, params)
        from stages import slurm

        if config.engine == "slurm" and stage not in QUICK:
            ended(slurm.run(cell, config, nodes, count, begun))
            sys.exit()
        slurm.leave(cell)
        if stage != "preflight":
            gpus.take(count, stage)
        os.environ[PLACED] = "1"
        begun()
    except (UserError, OSError) as error:
        begun()
        sys.exit(str(error))
    except KeyboardInterrupt:
        begun()
        sys.exit("interrupted; what is finished is kept, and a job of SLURM goes on")
