"""Runs the pipeline and shows where it is: python -m scripts.repro [--jobs 2], or `make repro JOBS=2`.

Does what `dvc repro` does, with independent cells side by side; it stops at the first cell that fails. What each cell
prints is in .work/logs/<name>/<cell>.log.
"""

# The fork server's children import this file once more: what takes long to import stands in functions.
import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = 15  # of the log of a cell that failed
INTERRUPTED = 130  # exit status after Ctrl-C
FEW = 3  # cells that need no server with all libraries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="cells that run side by side")
    jobs = parser.parse_args().jobs
    os.chdir(ROOT)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["TQDM_DISABLE"] = "1"  # a bar in a log is noise
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from rich.console import Console

    from scripts import locks

    console = Console(highlight=False, soft_wrap=True)
    try:
        with locks.alone(Path(".work/repro.lock"), lambda: console.print("Waiting for another `make repro` here.")):
            return run(jobs, console)
    except KeyboardInterrupt:
        console.print("Stopped. `make repro` goes on from here: cells that are done stay done,")
        console.print("and a training run starts at its last finished epoch.")
        return INTERRUPTED


def run(jobs: int, console) -> int:
    """Brings everything up to date and says so; returns the exit status."""
    from hrrl.errors import UserError
    from scripts import keep_outputs, locks, plots_page, summary
    from scripts.cells import Failed

    began = time.monotonic()
    locks.main()
    keep_outputs.main()
    plots_page.main()
    params, cells = opened()
    report = Path("reports", params.name, "report.html")
    try:
        ran = reproduce(params, cells, jobs, console)
    except Failed as error:
        show_failure(console, error)
        return 1
    except UserError as error:
        console.print(str(error), markup=False)
        return 1
    if ran:
        seconds = time.monotonic() - began
        note = {"jobs": jobs, "seconds": round(seconds, 2), "commands": cells.seconds}
        (cells.logs / "run.json").write_text(json.dumps(note, indent=1) + "\n")
        summary.show(console, report.parent, seconds)
    else:
        console.print("Nothing to do: params, code and data are those of the last run.")
    console.print(f"Report: {report} (`make open` shows it)")
    return 0


def opened():
    """params.yaml and the cells of the pipeline, or an end with a line for each mistake in params.yaml."""
    from stages.common import read_params
    from stages.paths import WORK

    from scripts.cells import Cells

    try:
        params = read_params()
        if not params.name.isidentifier() or not isinstance(params.pretrain.backbone, str):
            raise ValueError("params.yaml: name or pretrain.backbone is none")  # before they are used here
        return params, Cells(WORK / "logs" / params.name)
    except Exception as error:  # DVC meets the mistakes of params.yaml in its own ways
        if status := subprocess.run([sys.executable, "-m", "hrrl.params"]).returncode:
            sys.exit(status)
        sys.exit(str(error))


def reproduce(params, cells, jobs: int, console) -> int:
    """Brings all cells up to date, and returns how many were not.

    Raises:
        Failed: a cell failed; those that ran beside it are stopped.
    """
    from stages.paths import WORK, remove_unnamed

    from scripts import overview, relist, warm
    from scripts.costs import Costs, usual

    if "resolve" in cells.outdated:  # what else is outdated shows when it has run
        warm.start(params.pretrain.backbone)
        cells.reproduce("resolve")
        cells.look()
    elif remove_unnamed(params):
        cells.look()
    changed = relist.changed(params, skip=cells.outdated)
    for cell, why in changed.items():
        console.print(f"{why}: {cell} runs again")
    pending = cells.with_followers(cells.outdated | set(changed))
    if not pending:
        return 0
    warm.start(params.pretrain.backbone if len(pending) > FEW else None)
    costs = Costs(WORK / "costs" / f"{params.name}.json", usual(params.name))
    state = overview.State(cells.order, pending, jobs, costs, WORK / "course" / params.name)
    total = len(pending)
    view = (overview.Picture if console.is_terminal else overview.Lines)(state, console)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            with view:
                side_by_side(pool, cells, state, view, forced=set(changed))
        except BaseException:
            cells.stop()
            raise
    return total


def side_by_side(pool, cells, state, view, forced: set[str]) -> None:
    """Reproduces the pending cells in the order of dvc.yaml, each as soon as those are done that it needs."""
    futures = {}
    while state.pending or futures:
        for cell in [cell for cell in state.order if cell in state.pending]:
            busy = state.pending | set(state.running)
            if len(futures) < state.jobs and not cells.needs[cell] & busy:
                state.pending.remove(cell)
                state.running[cell] = time.monotonic()
                futures[pool.submit(cells.reproduce, cell, cell in forced)] = cell
        done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            cell, how = futures.pop(future), future.result()
            seconds = time.monotonic() - state.running.pop(cell)
            state.ended[cell] = how
            if how == "ran":
                state.costs.add(cell, seconds)
            view.ended(cell, how, seconds)
        view.tick()


def show_failure(console, error) -> None:
    lines = error.log.read_text(errors="replace").splitlines() if error.log.exists() else []
    console.print(f"{error}. The end of its log, {error.log}:", markup=False)
    for line in lines[-LINES:]:
        console.print(f"    {line}", markup=False)
    console.print("After it is mended, `make repro` goes on: what is done stays done.")


if __name__ == "__main__":
    sys.exit(main())
