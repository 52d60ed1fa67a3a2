"""Makes cells of a committed run again and compares each output's hash: python -m scripts.verify, or `make verify`.

    make verify                                      # three cells at random of the last commit's run
    make verify RUN=photos CELLS="pretrain@erm-0"    # this one of results/photos
    make verify CPU=Haswell                          # on an emulated CPU: slow, needs Debian's qemu-user

A cell is made from raw images on, with all cells that it needs, in a temporary clone of the last commit without a
cache. What the search chose is taken from the committed hash, without the search, unless its cells are asked for.
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
from graphlib import TopologicalSorter
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hrrl.train.progress import duration
from hrrl.transfer import search
from scripts import ROOT, committed

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
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="hrrl-verify-") as folder:
        clone = Path(folder, "clone")
        prepare(clone, run)
        stages = own(run.stages, clone)
        cells = arguments.cells or at_random(stages, arguments.number)
        if unknown := [cell for cell in cells if cell not in stages]:
            sys.exit(f"{unknown[0]}: the dvc.lock of {run.name} has no such cell")
        console.print(f"Of the run of {run.name}: {' '.join(cells)}", markup=False)
        order = needed(stages, cells)
        for cell in order:
            began = time.monotonic()
            make(clone, cell, arguments.cpu)
            console.print(f"{cell}: {duration(time.monotonic() - began)}", markup=False)
            if cell == "resolve":
                take_choices(clone, stages, order)
        made = committed.stages((clone / "dvc.lock").read_text(encoding="utf-8"))
    return verdict(run, committed.compared(stages, made, order), console)


def verdict(run: committed.Run, outputs: list[committed.Output], console: Console) -> int:
    """Shows how the outputs compare, and returns the exit status."""
    console.print(table(outputs))
    differ = [output for output in outputs if not output.same]
    if not differ:
        console.print(f"identical to the committed run: {sum(output.files for output in outputs)} files")
        return 0
    console.print(f"{len(differ)} of {len(outputs)} outputs differ, first {differ[0].path} of {differ[0].cell}")
    for cause in committed.causes(run.params):
        console.print(f"  may be because {cause}", markup=False)
    return 1


def own(stages: dict[str, dict], clone: Path) -> dict[str, dict]:
    """The cells that the run's params name: DVC leaves those of earlier params in dvc.lock."""
    names = dvc(clone, "stage", "list", "--name-only").stdout.split()
    return {cell: entry for cell, entry in stages.items() if cell in names}


def at_random(stages: dict[str, dict], number: int) -> list[str]:
    cells = [cell for cell in stages if cell.partition("@")[0] in AT_RANDOM]
    return random.SystemRandom().sample(cells, min(number, len(cells)))


def needed(stages: dict[str, dict], cells: list[str]) -> list[str]:
    """The cells and all that they need, each after what it needs; not the search for a choice that is taken over."""
    makers = {Path(out["path"]): cell for cell, entry in stages.items() for out in entry.get("outs", [])}
    choosing = {cell for cell in stages if is_choice(cell)} - set(cells)

    def before(cell: str) -> set[str]:
        paths = [] if cell in choosing else [Path(dep["path"]) for dep in stages[cell].get("deps", [])]
        return {maker for path in paths for out, maker in makers.items() if within(path, out) or within(out, path)}

    graph, todo = {}, list(cells)
    while todo:
        if (cell := todo.pop()) not in graph:
            graph[cell] = before(cell)
            todo += graph[cell]
    return [cell for cell in TopologicalSorter(graph).static_order() if cell not in choosing]


def is_choice(cell: str) -> bool:
    return cell.partition("@")[0] == "select"


def within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def prepare(clone: Path, run: committed.Run) -> None:
    """A clone of the last commit with the run's params and hashes, and with a cache of its own."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (clone / "params.yaml").write_text(run.params, encoding="utf-8")
    (clone / "dvc.lock").write_text(run.lock, encoding="utf-8")
    dvc(clone, "config", "--local", "cache.dir", str(clone.with_name("cache")))


def make(clone: Path, cell: str, cpu: str | None) -> None:
    """Reproduces one cell, or ends with the last lines of what it printed."""
    env = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    if cpu:
        env["PATH"] = os.pathsep.join([str(emulated(clone.with_name("bin"), cpu)), env["PATH"]])
    done = dvc(clone, "repro", "--single-item", "--force", cell, env=env, check=False)
    if done.returncode:
        sys.exit("\n".join([f"{cell} failed:", *done.stdout.splitlines()[-LINES:]]))


def emulated(folder: Path, cpu: str) -> Path:
    """A folder with a ``python`` that runs this one on an emulated CPU."""
    folder.mkdir(exist_ok=True)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec qemu-x86_64 -cpu {cpu} "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def dvc(clone: Path, *arguments: str, env: dict | None = None, check: bool = True) -> subprocess.CompletedProcess:
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=clone, check=check, env=os.environ | (env or {}), **output)


def take_choices(clone: Path, stages: dict[str, dict], order: list[str]) -> None:
    """Writes what the search chose for the variants that the cells train: of all choices, the one with its hash."""
    hashes = {Path(dep["path"]): dep["md5"] for cell in order for dep in stages[cell].get("deps", [])}
    for path, md5 in hashes.items():
        if path.parent.name == "selected" and not (clone / path).exists():
            spec = json.loads((clone / path.parent.with_name("resolved") / "variants" / path.name).read_text("utf-8"))
            texts = (json.dumps(choice, indent=1) + "\n" for choice in choices(spec, stages))
            found = [text for text in texts if hashlib.md5(text.encode()).hexdigest() == md5]
            if not found:
                sys.exit(f"{path}: no choice of the search has its hash in dvc.lock; verify its stage select as well")
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(found[0], encoding="utf-8")


def choices(spec: dict, stages: dict[str, dict]) -> Iterator[dict]:
    """A variant's axes with each pair of numbers that the search may have chosen."""
    points = [search.parse(cell.partition("@")[2].rpartition("-")[0]) for cell in stages if cell.startswith("search@")]
    for numbers in product(*(dict.fromkeys(values) for values in zip(*points, strict=True))):
        axes = {axis: spec[axis] for axis in search.SETTINGS}
        for (axis, (method, setting)), number in zip(search.SETTINGS.items(), numbers, strict=True):
            if axes[axis] and axes[axis].get(method, {}).get(setting) == search.SEARCHED:
                axes[axis] = {method: axes[axis][method] | {setting: number}}
        yield axes


def table(outputs: list[committed.Output]) -> Table:
    made = Table("cell", "output", "committed", "made again", "")
    for output in outputs:
        hashes = [(found or "none")[:8] for found in (output.committed, output.made)]
        verdict = "new" if output.committed is None else "same" if output.same else "DIFFERS"
        made.add_row(output.cell, output.path, *hashes, verdict)
    return made


if __name__ == "__main__":
    sys.exit(main())
