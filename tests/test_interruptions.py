"""Runs that are stopped, killed, short of disk or beside another: real processes, the smoke preset, in a clone."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BIN, OUTPUT, PATIENCE, call, edit, ending, outdated, wait_for
from ruamel.yaml import YAML

# A shell's background ignores Ctrl-C, and so does all that is started in it.
signal.signal(signal.SIGINT, signal.default_int_handler)
REPRO = [BIN / "python", "-m", "scripts.repro"]


def processes(folder: Path, words: bytes = b"") -> list[str]:
    """Those that work in a folder, with these words in their command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve() == folder and words in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


def side_by_side(*commands: tuple[Path, list]) -> tuple[list[str], list[int]]:
    """What commands in folders print and end with."""
    runs = [subprocess.Popen(command, cwd=folder, **OUTPUT) for folder, command in commands]
    return [run.communicate(timeout=PATIENCE)[0] for run in runs], [run.returncode for run in runs]


# Each stage with a file system of its own in one of its folders.
FULL = """
import json, subprocess, sys
from pathlib import Path
sys.path.append("tests")
from forked import run
for cell, folder, kilobytes in json.loads(sys.argv[1]):
    Path(folder).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        status = run(cell, f"stages.{cell.partition('@')[0]}")
        print(status, [path.name for path in Path(folder).rglob("*.partial")], flush=True)
    finally:
        subprocess.run(["umount", folder], check=True)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(restored, tmp_path):
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("nothing can be mounted here")
    subprocess.run(["umount", tmp_path], check=True)
    cases = [
        ("pretrain@erm-0", "data/cache", 100),
        ("pretrain@erm-0", ".work/checkpoints", 100),
        ("pretrain@erm-0", "models", 100),
        ("features@erm-0", "data/features", 20),
        ("report", "reports", 100),
    ]
    printed = call(restored, "python", "-c", FULL, json.dumps(cases))
    ends = re.findall(r"^\[Errno 28\] No space left on device.*\n1 \[\]$", printed, re.MULTILINE)
    assert len(ends) == len(cases), printed
    assert "Traceback" not in printed
    assert outdated(restored) == {}


def test_edits_while_cells_run_are_the_next_runs(restored):
    """DVC records what a cell makes by what `resolve` found: other params' cards would count for these."""
    made, code = restored / "reports/cards/hrrl-0/README.md", restored / "hrrl/train/model_card.py"
    before, stage = made.read_bytes(), ["env", "DVC_STAGE=card", "python", "-m", "stages.card"]
    edit(restored, seeds=[1], runs__pretrain=["erm"])
    code.write_text(code.read_text() + "# a word\n")
    said = [line for line in call(restored, *stage).splitlines() if "edited" in line]
    edited = "params.yaml: {} was edited since the stage resolve ran; that counts in the next run"
    assert said == [edited.format(key) for key in ("seeds", "runs.pretrain")]
    assert made.read_bytes() == before
    code.write_text(code.read_text() + "ONE = 1\n")
    assert call(restored, *stage, ok=False).splitlines()[-1].startswith("hrrl/train/model_card.py: edited since")


def cells_of(lock: str) -> set[str]:
    return set(YAML(typ="safe").load(lock)["stages"])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_stopped_or_killed_run_leaves_nothing_running_and_two_at_once_take_turns_to_go_on_from_it(restored):
    edit(restored, finetune__steps=80, finetune__eval_every=8, finetune__milestones=[40], claims=[])
    edit(restored, runs__finetune=["erm"])
    checkpoints = restored / ".work/checkpoints/smoke"
    for end, words, status in ((signal.SIGINT, "`make repro` goes on from here", 130), (signal.SIGKILL, "", -9)):
        shutil.rmtree(checkpoints, ignore_errors=True)
        with ending(subprocess.Popen(REPRO, cwd=restored, **OUTPUT)) as run:
            wait_for(lambda: list(checkpoints.glob("finetune-*/epoch-*.pt")), 900)
            run.send_signal(end)
            printed = run.communicate(timeout=PATIENCE)[0]
        assert run.returncode == status
        assert words in printed
        assert "Traceback" not in printed
        assert list(checkpoints.glob("finetune-*/epoch-*.pt"))
        assert wait_for(lambda: processes(restored) == [], 60)
    whole, reported = ((restored / file).read_text() for file in ("dvc.lock", "reports/tables/runs.csv"))
    printed, ends = side_by_side(*[(restored, REPRO)] * 2)
    assert ends == [0, 0], printed
    second, first = sorted(printed, key=len)
    assert "Waiting for another" in second
    assert "Nothing to do" in second
    assert "Nothing to do" not in first
    assert cells_of((restored / "dvc.lock").read_text()) == cells_of(whole) - {"finetune@hrrl-0"}
    logs = [file.read_text() for file in (restored / ".work/logs/smoke").glob("finetune@*.log")]
    assert any("going on after epoch" in log for log in logs)
    assert (restored / "reports/tables/runs.csv").read_text() != reported


def test_two_clones_share_one_cache(restored, tmp_path):
    """Both make what the cache lacks, at the same time."""
    other, cache = tmp_path / "other", tmp_path / "cache"
    (restored / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n")
    shutil.copytree(restored, other, symlinks=True)
    command = [BIN / "dvc", "repro", "--force", "--single-item", "card"]
    printed, ends = side_by_side((restored, command), (other, command))
    assert ends == [0, 0], printed
    made = "reports/cards/erm-0/README.md"
    assert (restored / made).read_bytes() == (other / made).read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_dvc_leaves_nothing_running_and_goes_on(restored):
    """Of a stage that has become torchrun, with two processes of its own, in a user's shell."""
    edit(restored, launch__nproc=2)
    stage, checkpoints = "pretrain@erm-0", restored / ".work/checkpoints/smoke/pretrain-erm-0"
    shutil.rmtree(checkpoints, ignore_errors=True)
    shutil.rmtree(restored / "data/cache")  # one process fills it anew, and what it imports for that is its own affair
    command = [BIN / "dvc", "repro", "--force", "--single-item"]
    shell = os.environ | {"SHELL": "/bin/bash"}
    with ending(subprocess.Popen([*command, "resolve", stage], cwd=restored, env=shell, **OUTPUT)) as dvc:
        wait_for(lambda: list(checkpoints.glob("epoch-*.pt")), 900)
        running = processes(restored, b"stages.")
        dvc.kill()
    assert len(running) >= 2
    assert wait_for(lambda: processes(restored, b"stages.") == [], 60)
    assert "going on after epoch" in call(restored, *command, stage)
    assert not checkpoints.exists()


def test_two_nodes_train_one_model(restored, tmp_path):
    """Two clones on this machine stand for two nodes; first with variants that do not fit together."""
    other = tmp_path / "other"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    edit(restored, launch={"nproc": 1, "nnodes": 2})
    call(restored, "dvc", "repro", "--quiet", "resolve")
    shutil.copytree(restored, other, symlinks=True)
    for rank, node in enumerate((restored, other)):
        (node / "machine.yaml").write_text(f"node_rank: {rank}\nmaster_port: {port}\n")
    stage = [BIN / "python", "-m", "stages.pretrain"]
    differ = (["env", f"DVC_STAGE=pretrain@{variant}-0", *stage] for variant in ("hrrl", "erm"))
    (_, said), _ = side_by_side(*zip((restored, other), differ, strict=True))
    assert "params and code of process 1 differ from the first one's" in said
    train = [BIN / "dvc", "repro", "--force", "--single-item", "pretrain@hrrl-0"]
    side_by_side((restored, train), (other, train))
    for file in ("model.safetensors", "history.csv"):
        model = Path("models/hrrl-0", file)
        assert (other / model).read_bytes() == (restored / model).read_bytes()
    assert len((other / "models/hrrl-0/history.csv").read_text().splitlines()) == 1 + 2
