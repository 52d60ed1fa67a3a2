"""machine.yaml: the settings of this machine, which change no result; git ignores it (machine.example.yaml)."""

import dataclasses
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrrl.errors import UserError
from hrrl.settings import params_file

FILE, EXAMPLE = Path("machine.yaml"), "machine.example.yaml"
JOB = "HRRL_JOB"  # environment variable of a cell that is a SLURM job: the job's id
# key -> what it takes: a number's least and greatest value; a text's pattern, and the pattern in words
NUMBERS = {"jobs": (1, 1024), "workers": (0, 1024), "cpus": (1, 4096), "node_rank": (0, 10**9)}
NUMBERS |= {"master_port": (1, 65535)}
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.,:&|()\[\]*-]{0,250}"
TEXTS = {
    "engine": ("local|slurm", "local or slurm"),
    "partition": (NAME, "a partition's name"),
    "account": (NAME, "an account's name"),
    "constraint": (NAME, "features of nodes"),
    "time": (r"([0-9]+-)?[0-9]+(:[0-9]{1,2}){0,2}", "minutes, hours:minutes:seconds or days-hours, as sbatch does"),
    "memory": ("[0-9]+[KMGT]?", "megabytes, or a number with K, M, G or T"),
    "master_addr": (r"[A-Za-z0-9]([A-Za-z0-9_.:-]{0,251}[A-Za-z0-9])?", "a host's name or address"),
}
OF_MACHINE = ("node_rank", "master_addr", "master_port")  # not settable per stage


@dataclass(frozen=True)
class Machine:
    """The settings of one machine, or of one stage on it.

    Attributes:
        engine: ``local``, or ``slurm``: each cell is a job.
        jobs: cells that `make repro` runs side by side, as processes here or as jobs that are queued or run.
        workers: processes that decode images of more than 64 pixels, for each process that trains.
        gpus: those here that cells may take: as many, or these ids; None for all.
        partition, time, memory, cpus, account, constraint: of a job on each node, as sbatch takes them; None for what
            the cluster has set.
        node_rank: which of the nodes this is, where ``launch.nnodes`` asks for several.
        master_addr: of the node with rank 0; master_port: on which it takes the others.
        stages: stage -> those of the keys above that differ for it.
    """

    engine: str = "local"
    jobs: int = 2
    workers: int = 2
    gpus: int | list[int] | None = None
    partition: str | None = None
    time: str | int | None = None
    memory: str | int | None = None
    cpus: int | None = None
    account: str | None = None
    constraint: str | None = None
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 29500
    stages: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


KEYS = [field.name for field in dataclasses.fields(Machine)]


def load(path: Path | None = None, stage: str = "") -> Machine:
    """The file's settings, with those of ``stage`` where one is given, over the defaults of :class:`Machine`.

    Without a path, it is the :func:`nearest` file. In a SLURM job, the node's rank and the first node's address are
    SLURM's.

    Raises:
        UserError: one line per key that is unknown or takes something else.
    """
    path = path or nearest()
    content = params_file.read(path, like=EXAMPLE) if path.exists() else {}
    stages = content.get("stages", {})
    problems = [_problem(str(key), value, KEYS) for key, value in content.items() if key != "stages"]
    if not isinstance(stages, dict) or not all(isinstance(overrides, dict) for overrides in stages.values()):
        problems.append(f"stages: takes a mapping for each stage, got {params_file.shown(stages)}")
        stages = {}
    stage_keys = [key for key in KEYS if key not in (*OF_MACHINE, "stages")]
    for name, overrides in stages.items():
        stage_problems = [_problem(str(key), value, stage_keys) for key, value in overrides.items()]
        problems += [f"stages.{params_file.cut(str(name))}.{problem}" for problem in stage_problems if problem]
    if problems := [problem for problem in problems if problem]:
        raise UserError(*(f"{path}: {problem}" for problem in problems))
    return dataclasses.replace(Machine(**content), **stages.get(stage, {}), **_in_job())


def nearest() -> Path:
    """The working folder's file, else that of the clone above it: of a notebook, or of a temporary copy of the clone.

    `dvc exp run --queue` and `--temp` make such copies, without the files that git ignores.
    """
    parents = (folder / FILE for folder in Path.cwd().parents if (folder / EXAMPLE).is_file())
    return next((path for path in (FILE, *parents) if path.exists()), FILE)


def _in_job() -> dict[str, Any]:
    """Rank, address and port of a SLURM job's node, from the variables that each of its tasks has; else nothing."""
    if "SLURM_NODEID" not in os.environ or JOB not in os.environ:
        return {}
    port = 20000 + int(os.environ[JOB]) % 20000  # differs between two jobs on one node
    rank, first = int(os.environ["SLURM_NODEID"]), os.environ.get("HRRL_FIRST_NODE", "127.0.0.1")
    return {"node_rank": rank, "master_addr": first, "master_port": port}


def _problem(key: str, value: object, known: list[str]) -> str | None:
    if key not in known:
        return f"{params_file.cut(key)}: unknown key; known: {', '.join(known)}"
    if key in TEXTS:
        pattern, words = TEXTS[key]
        is_number = key in ("time", "memory") and _is_number(value, 1, math.inf)
        fits = is_number or (isinstance(value, str) and bool(re.fullmatch(pattern, value)))
    elif key == "gpus":
        words = "a number from 1, or a list of ids"
        ids, least = (value, 0) if isinstance(value, list) else ([value], 1)
        fits = bool(ids) and all(_is_number(gpu, least, 1024) for gpu in ids) and len(set(ids)) == len(ids)
    else:
        least, most = NUMBERS[key]
        words = f"a whole number from {least} to {most}"
        fits = _is_number(value, least, most)
    return None if fits else f"{key}: takes {words}, got {params_file.shown(value)}"


def _is_number(value: object, least: int, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
