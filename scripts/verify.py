"""Makes cells of a committed run again and compares each output's hash: python -m scripts.verify, or `make verify`.

    make verify                                      # three cells at random of the last commit's run
    make verify RUN=photos CELLS="pretrain@erm-0"    # this one of results/photos
    make verify CPU=Haswell                          # on an emulated CPU: slow, needs Debian's qemu-user

A cell is made from raw images on, with all cells that it needs, in a temporary clone of the last commit without a
cache, below .work/, where machine.yaml counts. What the search chose is taken from the committed hash, without the
search, unless its cells are asked for.
Exit status 1 where an output differs.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

from stages import slurm
from stages.paths import WORK
from stages.place import stage_of

from hrrl.errors import UserError
from hrrl.train.progress import duration
from hrrl.transfer import search
from scripts import ROOT, cells, committed, run

AT_RANDOM = {"search-model", "pretrain", "features", "svm", "finetune", "robustness"}  # the stages that compute most
LINES = 15  # of the output of a cell that fails


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a folder of results/ (default: the run of the last commit)")
    parser.add_argument("--cells", nargs="+", default=[], help="as in dvc.lock (default: some at random)")
    parser.add_argument("--number", type=int, default=3, help="of cells that are taken at random")
    parser.add_argument("--cpu", help="that QEMU emulates, e.g. Haswell")
    arguments = parser.parse_args()
    run = committed.named(arguments.run) if arguments.run else committed.last_commit()
    if run is None:
        sys.exit("no committed run: this is no git repository, or its last commit has no dvc.lock")
    if arguments.cpu and not shutil.which("qemu-x86_64"):
        sys.exit("CPU: needs qemu-x86_64, which Debian has in its package qemu-user")
    (ROOT / WORK).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=ROOT / WORK) as folder:
        clone = prepare(Path(folder, "clone"), run)
        try:
            order, rerun = remade(clone, run, arguments)
        except KeyboardInterrupt:
            sys.exit("Stopped; nothing of it is kept.")
        finally:
            if (clone / slurm.JOBS).exists():  # a job would go on in a folder that is gone
                subprocess.run([sys.executable, "-m", "stages.slurm", "cancel"], cwd=clone, stdout=subprocess.DEVNULL)
    same, lines = committed.compared(run, rerun, order)
    print(*lines, sep="\n")
    return int(not same)


def remade(clone: Path, run: committed.Run, arguments: argparse.Namespace) -> tuple[list[str], dict[str, dict]]:
    """Makes the cells that the arguments ask for; returns these with all that they need, and the clone's dvc.lock."""
    needs = cells.needs(clone)
    stages = {cell: entry for cell, entry in run.stages.items() if cell in needs}  # no cells of earlier params
    chosen = arguments.cells or at_random(stages, arguments.number)
    if unknown := [cell for cell in chosen if cell not in stages]:
        sys.exit(f"{unknown[0]}: the dvc.lock of {run.name} has no such cell")
    print(f"Of the run of {run.name}: {' '.join(chosen)}", flush=True)
    order = needed(needs, chosen)
    for cell in order:
        began = time.monotonic()
        make(clone, cell, arguments.cpu)
        print(f"{cell}: {duration(time.monotonic() - began)}", flush=True)
        if cell == "resolve":
            take_choices(clone, stages, order)
    return order, committed.stages((clone / "dvc.lock").read_text(encoding="utf-8"))


def at_random(stages: dict[str, dict], number: int) -> list[str]:
    candidates = [cell for cell in stages if stage_of(cell) in AT_RANDOM]
    return random.SystemRandom().sample(candidates, min(number, len(candidates)))


def needed(needs: dict[str, set[str]], chosen: list[str]) -> list[str]:
    """The cells and all that they need, in order; not the search for a choice that is taken over, nor the choice."""
    taken = {cell for cell in needs if cell.startswith("select@")} - set(chosen)
    selected, todo = set(), list(chosen)
    while todo:
        if (cell := todo.pop()) not in selected | taken:
            selected.add(cell)
            todo += needs.get(cell, ())
    return [cell for cell in needs if cell in selected]


def prepare(clone: Path, run: committed.Run) -> Path:
    """A clone of the last commit with the run's params and hashes, and with a cache of its own."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (clone / "params.yaml").write_text(run.params, encoding="utf-8")
    (clone / "dvc.lock").write_text(run.lock, encoding="utf-8")
    cells.dvc("config", "--local", "cache.dir", str(clone.with_name("cache")), cwd=clone)
    return clone


def make(clone: Path, cell: str, cpu: str | None) -> None:
    """Reproduces one cell, or ends with the last lines of what it printed."""
    emulator = [str(emulated(clone.with_name("bin"), cpu))] if cpu else []
    path = os.pathsep.join([*emulator, str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        cells.dvc("repro", "--single-item", "--force", cell, cwd=clone, env=os.environ | {"PATH": path})
    except cells.Broken as error:
        sys.exit("\n".join([f"{cell} failed:", *error.args[-LINES:]]))


def emulated(folder: Path, cpu: str) -> Path:
    """A folder with a ``python`` that runs this one on an emulated CPU."""
    folder.mkdir(exist_ok=True)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec qemu-x86_64 -cpu {cpu} "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def take_choices(clone: Path, stages: dict[str, dict], order: list[str]) -> None:
    """Writes what the search chose for the variants that the cells train: of all choices, the one with its hash."""
    hashes = {Path(dep["path"]): dep["md5"] for cell in order for dep in stages.get(cell, {}).get("deps", [])}
    for path, md5 in hashes.items():
        if path.parent.name == "selected" and not (clone / path).exists():
            spec = json.loads((clone / path.parent.with_name("resolved") / "variants" / path.name).read_text("utf-8"))
            texts = (json.dumps(choice, indent=1) + "\n" for choice in choices(spec, stages))
            matches = [text for text in texts if hashlib.md5(text.encode()).hexdigest() == md5]
            if not matches:
                sys.exit(f"{path}: no choice of the search has its hash in dvc.lock; verify its stage select as well")
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(matches[0], encoding="utf-8")


def choices(spec: dict, stages: dict[str, dict]) -> Iterator[dict]:
    """A variant's axes with what each point, or two of them, would have put into them had it been the best."""
    points = [search.parse(cell.partition("@")[2].rpartition("-")[0]) for cell in stages if cell.startswith("search@")]
    for pair in product(dict.fromkeys(points), repeat=2):
        with suppress(UserError):  # they do not have what the variant leaves to the search
            results = [{"tau": tau, "lam": lam, "targets": {"": 0.0}} for tau, lam in pair]
            yield search.filled({axis: spec[axis] for axis in search.SETTINGS}, results)


if __name__ == "__main__":
    run(main)
