"""Kills a running smoke pipeline at random moments, and compares what it ends with to an undisturbed run.

    python -m benchmarks.chaos                  # 50 kills; benchmarks/chaos.json and benchmarks/chaos.md
    python -m benchmarks.chaos --kills 5

Works in a clone of the last commit, in a temporary folder. What is killed (DVC, a stage, a process of its own, all of
them), with which signal and when, follows from --seed; what the pipeline is doing at that moment does not.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from ruamel.yaml import YAML
from tabulate import tabulate

from benchmarks.pipeline import ROOT, clone
from hrrl.common.files import write_json
from scripts.cells import advice

OUTPUTS = ("data", "models", "reports")
TARGETS = ("dvc", "stage", "worker", "group")
SIGNALS = ("SIGTERM", "SIGINT", "SIGKILL")
COMMANDS = {  # the first trains in one process, the second in two
    "make": [sys.executable, "-m", "scripts.repro", "--jobs", "2"],
    "dvc": [sys.executable, "-m", "dvc", "repro"],
}
PER_ROUND = 16  # kills before a pipeline may end
PATIENCE = 120  # seconds, for what goes on by itself after a kill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, kills, found, references = random.Random(options.seed), [], Counter(), {}
    with tempfile.TemporaryDirectory() as temporary:
        folders = [trained_by(Path(temporary, name), nproc) for nproc, name in enumerate(COMMANDS, 1)]
        while len(kills) < options.kills:
            folder = folders[found["rounds"] % len(folders)]
            if folder not in references:
                references[folder] = undisturbed(folder)
            reference, seconds = references[folder]
            kills += disturbed(folder, rng, seconds / 6, min(PER_ROUND, options.kills - len(kills)), found)
            found.update(compare(hashes(folder), reference), rounds=1)
            print(f"{len(kills)} kills, {dict(found)}", flush=True)
            write(kills, found)


def trained_by(folder: Path, nproc: int) -> Path:
    """A clone with the smoke preset, whose models train in several processes."""
    yaml = YAML()
    params = yaml.load(clone(folder, "smoke") / "params.yaml")
    params["launch"]["nproc"], params["pretrain"]["epochs"] = nproc, 6
    yaml.dump(params, folder / "params.yaml")
    return folder


def start(folder: Path) -> psutil.Popen:
    """The pipeline, by the command that the folder is named after."""
    with open(folder / "chaos.log", "w", encoding="utf-8") as log:
        return psutil.Popen(COMMANDS[folder.name], cwd=folder, stdout=log, stderr=log, start_new_session=True)


def undisturbed(folder: Path) -> tuple[dict[str, str], float]:
    """The outputs of a run that nobody kills, and its seconds."""
    began = time.monotonic()
    if start(folder).wait() != 0:
        sys.exit(f"the undisturbed run failed:\n{(folder / 'chaos.log').read_text(encoding='utf-8')[-3000:]}")
    return hashes(folder), time.monotonic() - began


def disturbed(folder: Path, rng: random.Random, longest: float, todo: int, found: Counter) -> list[tuple[str, str]]:
    """Runs the pipeline from nothing, kills it ``todo`` times, lets it end; returns what was killed and how.

    Up to ``longest`` seconds pass from one kill to the next.
    """
    for output in (*OUTPUTS, ".work", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(folder / output, ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    kills, failures, pipeline = [], 0, start(folder)
    while True:
        try:
            code = pipeline.wait(rng.uniform(1, longest) if len(kills) < todo else None)
        except psutil.TimeoutExpired:
            kills.append(kill(pipeline, rng))
            continue
        found["left_running"] += settle(folder)
        if code == 0 and len(kills) == todo:
            return kills
        if code == 0:  # it was faster than the kills: from nothing again
            return kills + disturbed(folder, rng, longest, todo - len(kills), found)
        found["mended"] += mend(folder)
        failures += len(kills) == todo
        if failures > 3:
            found["failed_to_go_on"] += 1
            print((folder / "chaos.log").read_text(encoding="utf-8")[-3000:], flush=True)
            return kills
        pipeline = start(folder)


def mend(folder: Path) -> bool:
    """Whether DVC has left half a file, by which it refuses to work; does then what `make repro` advises."""
    words = advice((folder / "chaos.log").read_text(encoding="utf-8"))
    if "dvc.lock" in words:
        (folder / "dvc.lock").unlink()  # the clone has no committed one: DVC's cache has all of it
    elif words:
        (folder / ".dvc/tmp/rwlock").unlink()
    return bool(words)


def kill(pipeline: psutil.Popen, rng: random.Random) -> tuple[str, str]:
    """Sends a signal to one process of the pipeline, or to all."""
    target, name = rng.choice(TARGETS), rng.choice(SIGNALS)
    running = processes(pipeline)
    if not running[target]:
        target = "group"
    chosen = running["group"] if target == "group" else [rng.choice(running[target])]
    for process in chosen:
        with suppress(psutil.Error):
            process.send_signal(getattr(signal, name))
    return target, name


def processes(pipeline: psutil.Popen) -> dict[str, list[psutil.Process]]:
    """The pipeline's processes: `make repro` and DVC, the stages that these started, and what stages started."""
    found = {"dvc": [pipeline], "stage": [], "worker": [], "group": [pipeline]}
    with suppress(psutil.Error):
        for process in pipeline.children(recursive=True):
            words = process.cmdline()
            what = "stage" if words[1:2] == ["-m"] and words[2].startswith("stages.") else "worker"
            found["dvc" if any(Path(word).name == "dvc" for word in words) else what].append(process)
            found["group"].append(process)
    return found


def settle(folder: Path) -> int:
    """Waits for what the pipeline has left running; returns how many processes are then still there, and ends them."""
    end = time.monotonic() + PATIENCE
    while (left := in_folder(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    for process in left:
        process.kill()
    return len(left)


def in_folder(folder: Path) -> list[psutil.Process]:
    """Those that work in a folder; of what is over, or another user's, the system does not say it."""
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every output, and of what dvc.lock holds: its order is that in which cells ended."""
    files = [file for output in OUTPUTS for file in sorted((folder / output).rglob("*")) if file.is_file()]
    contents = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    contents = {name: content for name, content in contents.items() if not name.startswith(("data/cache", "data/raw"))}
    lock = YAML(typ="safe").load(folder / "dvc.lock")
    contents["dvc.lock"] = json.dumps(lock, sort_keys=True).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def compare(ours: dict[str, str], reference: dict[str, str]) -> Counter:
    differ = [name for name in sorted(ours.keys() | reference.keys()) if ours.get(name) != reference.get(name)]
    for name in differ:
        print(f"differs: {name}", flush=True)
    return Counter(files=len(reference), different=len(differ))


def write(kills: list[tuple[str, str]], found: Counter) -> None:
    counts = {target: {name: kills.count((target, name)) for name in SIGNALS} for target in TARGETS}
    shown = ("rounds", "files", "different", "left_running", "failed_to_go_on", "mended")
    result = {"kills": len(kills), "by_target": counts} | {key: found[key] for key in shown}
    write_json(ROOT / "benchmarks/chaos.json", result)
    rows = [(target, *row.values()) for target, row in counts.items()]
    (ROOT / "benchmarks/chaos.md").write_text(
        f"{tabulate(rows, ['killed', *SIGNALS], 'pipe')}\n\n"
        f"{len(kills)} kills in {found['rounds']} pipelines: of {found['files']} files that they ended with, "
        f"{found['different']} differ from the undisturbed runs'; {found['left_running']} processes were left running, "
        f"{found['failed_to_go_on']} pipelines did not go on; {found['mended']} times DVC had left half a dvc.lock.\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
