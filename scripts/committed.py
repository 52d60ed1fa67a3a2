"""The runs that are committed, and how another run of the same params compares with one, output by output.

A committed run is a params.yaml with its dvc.lock, which has the hash of every output: those of the last commit itself,
and those in results/<name>/.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

from ruamel.yaml import YAML

from scripts import ROOT
from scripts.commits import git

RESULTS = Path("results")
LAST = "the last commit"  # the name of its run


@dataclass(frozen=True)
class Run:
    """A committed run: where it is, the text of its params.yaml, and the stages of its dvc.lock."""

    name: str
    params: str
    lock: str

    @cached_property
    def stages(self) -> dict[str, dict]:
        return stages(self.lock)


def stages(lock: str) -> dict[str, dict]:
    """Cell -> what dvc.lock says of it: cmd, deps, params, outs."""
    return YAML(typ="safe").load(lock)["stages"]


def last_commit() -> Run | None:
    """The run of the last commit; None where there is no git, or no run in it."""
    params, lock = (git("show", f"HEAD:./{file}") for file in ("params.yaml", "dvc.lock"))
    return Run(LAST, params, lock) if params and lock else None


def is_locked() -> bool:
    """Whether dvc.lock is the last commit's."""
    return Path("dvc.lock").read_text(encoding="utf-8") == git("show", "HEAD:./dvc.lock")


def named(name: str) -> Run:
    """The run in results/<name>/."""
    folder = ROOT / RESULTS / name
    if not (folder / "dvc.lock").exists():
        known = ", ".join(sorted(path.parent.name for path in (ROOT / RESULTS).glob("*/dvc.lock")))
        sys.exit(f"{RESULTS / name}/dvc.lock: no such run; known: {known}")
    return Run(name, *((folder / file).read_text(encoding="utf-8") for file in ("params.yaml", "dvc.lock")))


def run_of(params: str) -> Run | None:
    """The committed run that has these params, if there is one."""
    yaml = YAML(typ="safe")
    runs = [last_commit(), *(named(path.parent.name) for path in sorted((ROOT / RESULTS).glob("*/dvc.lock")))]
    return next((run for run in runs if run and yaml.load(run.params) == yaml.load(params)), None)


def compared(run: Run, rerun: dict[str, dict], cells: Iterable[str]) -> tuple[bool, list[str]]:
    """Whether all outputs of some cells are those of a committed run, to the byte, and lines that say so.

    They name the outputs that differ, the first cell that does, and what is known to do so. A run that was kept before
    a cell had an output has no hash to compare with.
    """
    files, outputs, differing = 0, 0, []
    for cell in cells:
        before, after = ({o["path"]: o for o in lock.get(cell, {}).get("outs", [])} for lock in (run.stages, rerun))
        for path, out in (before | after).items():
            files, outputs = files + out.get("nfiles", 1), outputs + 1
            if path in before and before[path]["md5"] != after.get(path, {}).get("md5"):
                differing.append(f"  {path}, of {cell}")
    where = "" if run.name == LAST else f" in {RESULTS / run.name}"
    if not differing:
        return True, [f"identical to the committed run{where}: {files} of {files} files"]
    lines = [f"different from the committed run{where}: {len(differing)} of {outputs} outputs, the first of them"]
    return False, [*lines, *differing[:5], *(f"  may be because {cause}" for cause in causes(run.params))]


def verdict() -> list[str]:
    """Lines that say whether the run in the working tree is the committed one with the same params."""
    params, lock = ((ROOT / file).read_text(encoding="utf-8") for file in ("params.yaml", "dvc.lock"))
    run, rerun = run_of(params), stages(lock)
    if run is None:
        return ["No committed run has these params, so there is none to compare with."]
    return compared(run, rerun, run.stages | rerun)[1]


def causes(params: str) -> list[str]:
    """The known reasons for other bytes that apply here."""
    from hrrl import arithmetic

    reasons = []
    if YAML(typ="safe").load(params)["compute"]["arithmetic"] == "native":
        reasons.append(
            f"compute.arithmetic is native: every kind of CPU or GPU has its own bytes (here {arithmetic.cpu()})"
        )
    elif lack := arithmetic.cpu_lacks():
        reasons.append(lack)
    if edited := git("status", "--porcelain", "--", "hrrl", "stages", "dvc.yaml", "groupings"):
        reasons.append(f"code is edited: {', '.join(line[3:] for line in edited.splitlines()[:5])}")
    if others := other_versions():
        reasons.append(f"libraries have other versions than constraints.txt: {', '.join(others[:5])}")
    return reasons


def other_versions() -> list[str]:
    """The installed libraries that are not of the version which constraints.txt pins."""
    others = []
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        if version and installed.partition("+")[0] != version:
            others.append(f"{name} {installed}")
    return others
