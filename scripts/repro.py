"""Runs the pipeline and shows where it is: python -m scripts.repro [--jobs 2], or `make repro JOBS=2`.

Does what `dvc repro --keep-going` does, with independent cells side by side. What each cell prints is in
.work/logs/<name>/<cell>.log.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from stages import place, slurm
from stages.common import read_params
from stages.paths import REPORTS, remove_unnamed

from hrrl.common.files import locked, write_json
from hrrl.errors import UserError
from hrrl.settings import machine
from scripts import ROOT, cells, commits, committed, plots_page, relist, run, summary
from scripts.schedule import Schedule

LINES = 15  # of the log of a cell that failed
INTERRUPTED = 130  # exit status after Ctrl-C


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=number, help="cells that run side by side (default: as machine.yaml says)")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["TQDM_DISABLE"] = "1"  # a bar in a log is noise
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if reason := commits.let_dvc_do_without():
        print(f"note: {reason}; the run goes on, and is compared with none")
    try:
        with locked(Path(".work/repro.lock"), lambda: print("Waiting for another `make repro` here.")) as holds:
            config = place.settings()
            if hint := cells.locked():
                print(hint)
            return update(arguments.jobs or config.jobs, holds)
    except KeyboardInterrupt:
        print("Stopped. `make repro` goes on from here: cells that are done stay done,")
        print("and a training run starts at its last finished epoch.")
        if slurm.JOBS.exists():
            print("Jobs of SLURM go on, and `make repro` finds them; `make cancel` ends them.")
        return INTERRUPTED
    except UserError as error:
        print("\n".join([str(error), *([cells.advice(str(error))] if isinstance(error, cells.Broken) else [])]))
        return 1


def number(text: str) -> int:
    """A number of cells, as machine.yaml takes it."""
    least, most = machine.NUMBERS["jobs"]
    if text.isdecimal() and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"takes a whole number from {least} to {most}, got {text!r}")


def update(jobs: int, holds: int) -> int:
    """Brings everything up to date and says so; returns the exit status."""
    began = time.monotonic()
    plots_page.main()
    params = opened()
    schedule = Schedule(params.name, jobs, holds)
    everything(params, schedule)
    for cell, log in schedule.failures.items():
        show_failure(cell, log)
    if schedule.failures:
        print("After it is mended, `make repro` goes on: what is done stays done.")
        return 1
    if not committed.is_locked():
        cells.forget_others()
    if schedule.seconds:
        seconds = time.monotonic() - began
        note = {"jobs": jobs, "seconds": round(seconds, 2), "commands": schedule.seconds}
        write_json(schedule.logs / "run.json", note)
        summary.show(params.name, seconds)
    elif schedule.status:
        print("Nothing ran: DVC's cache has the outputs of these params, code and data.")
    else:
        print("Nothing to do: params, code and data are those of the last run.")
    print(*committed.verdict(), sep="\n")
    print(f"Report: {REPORTS / 'report.html'} (`make open` shows it)")
    return 0


def opened():
    """params.yaml, or an end with a line for each mistake in it."""
    try:
        params = read_params()
        if not params.name.isidentifier():
            raise ValueError("params.yaml: name is none")  # before it is used here
        return params
    except Exception as error:  # DVC meets the mistakes of params.yaml in its own ways
        if status := subprocess.run([sys.executable, "-m", "hrrl.params"]).returncode:
            sys.exit(status)
        sys.exit(str(error))


def everything(params, schedule: Schedule) -> None:
    """Brings all cells up to date, but for those that need one which fails."""
    outdated = cells.outdated()
    if resolves := "resolve" in outdated:  # what else is outdated shows when it has run
        schedule.work({"resolve": set()}, {"resolve"})
        if schedule.failures:
            return
    if remove_unnamed(params) or resolves:  # DVC may have had the outputs of resolve, and not run it
        outdated = cells.outdated()
    if finished := [cell for cell in slurm.finished() if cell in outdated]:
        cells.record(finished)
        outdated = cells.outdated()
    changed = relist.changed(params, skip=outdated)
    for cell, why in changed.items():
        print(f"{why}: {cell} runs again")
    if outdated or changed:
        needs = cells.needs()
        if pending := cells.with_followers(outdated | set(changed), needs):
            schedule.work(needs, pending, set(changed))


def show_failure(cell: str, log: Path) -> None:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    print(f"{cell} failed. The end of its log, {log}:")
    for line in text.splitlines()[-LINES:]:
        print(f"    {line}")
    if log.name.startswith("dvc-") and (hint := cells.advice(text)):
        print(hint)


if __name__ == "__main__":
    run(main)
