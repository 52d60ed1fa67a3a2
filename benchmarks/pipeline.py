"""The pipeline in a fresh clone: how long DVC takes where nothing is to do, and `make repro` beside its work."""

import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from stages.place import stage_of

from benchmarks import ROOT

JOBS = 2
WORK = ("pretrain", "search-model", "search", "features", "svm", "finetune", "robustness", "theory")  # or scoring


def clone(folder: Path, preset: str) -> Path:
    """A clone of the last commit with a preset, and without another one's results: plain DVC reads all of dvc.lock."""
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    shutil.copy(folder / f"presets/{preset}.yaml", folder / "params.yaml")
    (folder / "dvc.lock").unlink(missing_ok=True)
    return folder


def noop(rounds: int, small: bool) -> dict:
    """Seconds of `dvc repro` in a clone in which the smoke preset has run."""
    dvc, seconds = [sys.executable, "-m", "dvc", "repro", "-q"], []
    with TemporaryDirectory() as work:
        folder = clone(Path(work, "clone"), "smoke")
        for _ in range(rounds + 1):
            start = time.perf_counter()
            subprocess.run(dvc, cwd=folder, check=True)
            seconds.append(time.perf_counter() - start)
    return {"values": {"noop_repro_seconds": seconds[1:]}}


def overhead(rounds: int, small: bool) -> dict:
    """The share of `make repro` that neither trains nor scores, and the mean seconds of a cell of each stage.

    The share is what is left of the time of both jobs when the commands of training and scoring are taken away: DVC,
    starting and waiting, listing data, the report. One round, since it takes as long as the preset does.
    """
    preset = "smoke" if small else "quick"
    with TemporaryDirectory() as work:
        folder = clone(Path(work, "clone"), preset)
        subprocess.run([sys.executable, "-m", "scripts.repro", "--jobs", str(JOBS)], cwd=folder, check=True)
        found = json.loads((folder / ".work/logs" / preset / "run.json").read_text(encoding="utf-8"))
    stages = defaultdict(list)
    for cell, seconds in found["commands"].items():
        stages[stage_of(cell)].append(seconds)
    work = sum(sum(stages[stage]) for stage in WORK)
    cells = {preset: {stage: round(mean(seconds), 2) for stage, seconds in stages.items()}}
    return {"values": {"repro_overhead": [1 - work / (found["jobs"] * found["seconds"])]}, "cells": cells}
