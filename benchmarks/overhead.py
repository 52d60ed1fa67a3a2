"""The share of `make repro` that is neither training nor scoring, after installation."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
JOBS = 2
# Stages that train or score.
WORK = ("pretrain", "search-model", "search", "features", "svm", "finetune", "robustness", "theory")


def run(preset: str) -> dict:
    """Runs a preset in a fresh clone; the share, and the mean seconds of a cell of each stage.

    The share is what is left of the time of both jobs when the commands of training and scoring are taken away: DVC,
    starting and waiting, listing data, the report.
    """
    with tempfile.TemporaryDirectory() as work:
        clone = Path(work, "clone")
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        (clone / ".venv").symlink_to(Path(sys.executable).parent.parent)
        shutil.copy(clone / f"presets/{preset}.yaml", clone / "params.yaml")
        (clone / "dvc.lock").unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "scripts.repro", "--jobs", str(JOBS)], cwd=clone, check=True)
        found = json.loads((clone / ".work/logs" / preset / "run.json").read_text(encoding="utf-8"))
    return shares(found, preset)


def shares(found: dict, preset: str) -> dict:
    """What the benchmark reports of a run, from what the run noted of itself."""
    stages = defaultdict(list)
    for cell, seconds in found["commands"].items():
        stages[cell.partition("@")[0]].append(seconds)
    work = sum(sum(stages[stage]) for stage in WORK)
    cells = {preset: {stage: round(mean(seconds), 2) for stage, seconds in stages.items()}}
    return {"values": {"repro_overhead": [1 - work / (found["jobs"] * found["seconds"])]}, "cells": cells}
