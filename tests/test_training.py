"""The training loop: bit-identities of the variants, resuming after a kill, several processes."""

import itertools
import json
import math
import re
import resource
import shutil
import signal
import subprocess
import sys
import timeit
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import training_program
from conftest import COMPUTE, PATIENCE, SCHEDULE, fit, method, network, script, wait_for
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_program import GRADIENT, HRRL, Told, program

from hrrl import arithmetic, methods
from hrrl.errors import UserError
from hrrl.train import gpu, runtime, training
from hrrl.train.checkpoint import Checkpoint, fingerprint
from hrrl.train.progress import Callback, RunStatus, run_status


def train(task, folder, example=None, concept=None, schedule=SCHEDULE, compute=COMPUTE, weighting=None, status=None):
    """A short run; returns the model's state, the history and the method."""
    model, chosen = network(), method(task, example, concept)
    chosen.concept = weighting or chosen.concept
    run = fit(task, folder, chosen, model, schedule, compute, status=status)
    return model.state_dict(), run.history, chosen


def test_the_course_of_a_run_can_be_read_while_it_goes(task, tmp_path, capsys):
    read = []

    class Reader(RunStatus):
        def epoch(self, *args):
            super().epoch(*args)
            read.append(pd.read_csv(tmp_path / "history.csv"))

    status = Reader("test", tmp_path)
    _, history, _ = train(task, tmp_path / "checkpoint", GRADIENT, HRRL, status=status)
    assert [len(rows) for rows in read] == [1, 2]
    pd.DataFrame(history).to_csv(tmp_path / "by_pandas.csv", index=False)
    assert (tmp_path / "history.csv").read_bytes() == (tmp_path / "by_pandas.csv").read_bytes()
    assert json.loads((tmp_path / "now.json").read_text())["done"] == 1
    device, first, last = capsys.readouterr().out.splitlines()
    assert device == f"computing in float32 on {arithmetic.cpu()}"
    row = history[0]
    worst = min(task.names, key=lambda name: row[f"accuracy_{name}"])
    score = f"worst concept {row[f'accuracy_{worst}']:.2f} % ({worst})"
    assert f"accuracy {row['val_accuracy']:.2f} %, {score}, " in first
    assert " left, loss" in first
    assert "left" not in last


def test_live_curves_are_the_runs_and_change_nothing(task, tmp_path, monkeypatch):
    plain, history, _ = train(task, tmp_path / "plain", GRADIENT, HRRL)
    monkeypatch.setenv("HRRL_LIVE", "tensorboard")
    monkeypatch.setattr("hrrl.train.live.EVERY", 2)
    status = run_status(SimpleNamespace(rank=0), "test", tmp_path / "course")
    state, live_history, _ = train(task, tmp_path / "live", GRADIENT, HRRL, status=status)
    assert equal(plain, state)
    assert history == live_history
    events = EventAccumulator(str(tmp_path / "course/history")).Reload()
    curves = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    assert curves["epoch/val_accuracy"] == pytest.approx({row["step"]: row["val_accuracy"] for row in history})
    assert {"step/loss", "step/q_gradient", "step/q/many", "epoch/q_gradient_max"} <= set(curves)
    assert list(curves["step/q/few"]) == [2, 4, 6]
    assert curves["step/q/few"][6] == pytest.approx(history[-1]["q_few"])
    monkeypatch.setenv("HRRL_LIVE", "yes")
    with pytest.raises(UserError, match="HRRL_LIVE: takes tensorboard"):
        run_status(SimpleNamespace(rank=0), "test", tmp_path)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_with_q_held_at_the_start_cl_is_erm_to_the_bit(task, tmp_path):
    held = method(task, concept=HRRL).concept
    held.update = lambda losses, concepts: None
    (erm, *_), (cl, *_) = train(task, tmp_path / "erm"), train(task, tmp_path / "cl", weighting=held)
    assert equal(erm, cl)


def test_bfloat16_is_computed_where_that_is_no_slower_by_far():
    net = torch.nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.rand(64, 32, 16, 16).to(memory_format=torch.channels_last)

    def seconds(dtype):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return min(timeit.repeat(lambda: net(x).sum().backward(), number=1, repeat=10))

    used = replace(COMPUTE, precision="bfloat16").precision_in_use()
    assert seconds(getattr(torch, used)) < 3 * seconds(torch.float32)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_kept_for_the_next_tensor():
    with runtime.start(COMPUTE):
        faults = []
        for _ in range(8):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            torch.ones(1 << 24)  # 64 MiB, 16,384 pages
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert sum(faults[4:]) < 1000  # the first ones find their place


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_training_is_the_same_to_rounding(task, tmp_path):
    compute = replace(COMPUTE, compile=True)
    runs = []
    for name, settings in (("plain", COMPUTE), ("compiled", compute)):
        model, chosen = training_program.network(), method(task, GRADIENT, HRRL)
        run = fit(task, tmp_path / name, chosen, model, compute=settings)
        runs.append((model.state_dict(), run.history[-1]["train_loss"], chosen.concept.q))
    (plain, loss, q), (compiled, compiled_loss, compiled_q) = runs
    assert plain.keys() == compiled.keys()
    assert compiled_loss == pytest.approx(loss, abs=1e-5)
    assert compiled_q.tolist() == pytest.approx(q.tolist(), abs=1e-6)


class Watched(Callback):
    def __init__(self):
        self.told = []

    def steps(self, batches, total, epoch, epochs):
        self.told.append((total, epoch, epochs))
        return batches

    def step(self, losses, trace, names):
        self.told.append(losses.dtype)

    def epoch(self, history, images_per_second):
        self.told.append(images_per_second)


def test_resumed_run_has_the_same_bytes(task, tmp_path, capsys, monkeypatch):
    """In float16, whose losses are scaled, and with noise; test_contract.py does so for each point in float32.

    By a clock on which an epoch takes two seconds.
    """
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=itertools.count(step=2).__next__))
    compute, half = replace(COMPUTE, precision="float16"), replace(SCHEDULE, epochs=1)
    axes = {"noise": {"tau": 0.3}}, HRRL
    whole, history, _ = train(task, tmp_path / "whole", *axes, compute=compute)
    train(task, tmp_path / "cut", *axes, half, compute)
    assert "going on" not in capsys.readouterr().err
    resumed, history_resumed, _ = train(task, tmp_path / "cut", *axes, compute=compute)
    assert "going on after epoch 1, from" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path / "told", *axes, compute=compute, status=Told())
    watched = Watched()
    told, history_told, _ = train(task, tmp_path / "told", *axes, compute=compute, status=watched)
    assert "going on after epoch 1 and 2 steps, from" in capsys.readouterr().err
    assert equal(whole, resumed)
    assert equal(whole, told)
    assert history == history_resumed == history_told
    assert watched.told == [(3, 1 + 2 / 3, 2), torch.float32, 15]
    one = replace(SCHEDULE, epochs=1, batch_size=300)  # of all 100 images; told to stop in its last step, it ends
    train(task, tmp_path / "one", schedule=one, status=Told(at=(0, 1)))
    states = [Checkpoint(tmp_path / run, {"params": "p"}).load()[0] for run in ("whole", "cut", "told", "one")]
    speeds = [[(row["epoch"], row["images_per_second"]) for row in state["speed"]] for state in states]
    assert speeds == [[(1, 45), (2, 45)]] * 2 + [[(1, 45), (2, 15)], [(1, 50)]]
    *scalers, none = (state["scaler"] for state in states)
    assert scalers[0]
    assert (scalers, none) == ([scalers[0]] * 3, {})  # in float32 nothing is scaled


def test_damaged_and_foreign_checkpoints(tmp_path, capsys):
    checkpoint = Checkpoint(tmp_path / "run", {"params": "a", "code": "b"})
    for epoch in (1, 2, 3):
        checkpoint.save({"epoch": epoch}, {"of": epoch})
    newest = tmp_path / "run/epoch-00003.pt"
    assert not (tmp_path / "run/epoch-00001.pt").exists()
    newest.write_bytes(newest.read_bytes()[:100])
    assert checkpoint.load() == ({"epoch": 2}, [{"of": 1}, {"of": 2}])
    assert "epoch-00003.pt or a record is damaged" in capsys.readouterr().err
    (tmp_path / "run/record-00001.pt").write_bytes(b"")
    assert checkpoint.load() is None
    assert Checkpoint(tmp_path / "run", {"params": "z", "code": "b"}).load() is None
    assert "starting afresh, because params changed" in capsys.readouterr().err
    assert checkpoint.load() is None


def test_fingerprint_tells_what_changed(tmp_path):
    """Any setting, and content or name of any file; nothing else, such as what Python leaves beside the code."""
    code, data = tmp_path / "code", tmp_path / "data"
    code.mkdir()
    (code / "loop.py").write_text("1")
    data.write_text("1")

    def changed(change, settings=None) -> list[str]:
        before = fingerprint({"lr": 0.1}, [code], [data])
        change()
        after = fingerprint(settings or {"lr": 0.1}, [code], [data])
        return [part for part in before if before[part] != after[part]]

    assert changed(lambda: None) == []
    assert changed(lambda: None, {"lr": 0.2}) == ["params"]
    threads = torch.get_num_threads()
    assert changed(lambda: torch.set_num_threads(threads + 1)) == ["params"]
    torch.set_num_threads(threads)
    assert changed(lambda: (code / "loop.py").write_text("2")) == ["code"]
    assert changed(lambda: (code / "more.py").write_text("")) == ["code"]
    assert changed(lambda: (code / "more.py").rename(code / "other.py")) == ["code"]
    assert changed(lambda: data.write_text("2")) == ["data"]
    cached = code / "__pycache__/loop.pyc"
    cached.parent.mkdir()
    assert changed(lambda: cached.write_text("2")) == []


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The folder of a run of every point on two processes that are left alone."""
    folder = tmp_path_factory.mktemp("two") / "whole"
    subprocess.run(**program(2, folder, "points"), check=True, capture_output=True, timeout=PATIENCE)
    return folder


def ends(folder) -> list[dict]:
    """What each process of a run has come to."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("end-*.json"))]


def test_killed_as_it_saves_it_ends_with_the_same_bytes(two_processes, tmp_path):
    """Two processes: kill -9 as a checkpoint appears, at times half written, and SIGUSR2, against a run left alone."""

    def run(after=None, *told):
        with subprocess.Popen(**program(2, tmp_path, "hrrl", *told), stderr=subprocess.DEVNULL) as process:
            if after is not None:
                wait_for(lambda: list(tmp_path.glob(f"ck/hrrl/*{after}*")), PATIENCE)
                process.send_signal(signal.SIGKILL)
        return process.returncode

    assert run(None, "told") == 1
    assert torch.load(tmp_path / "ck/hrrl/epoch-00001.pt")["state"]["within"]["step"] == 2
    assert run("00002") == -signal.SIGKILL
    assert run() == 0
    assert [end["hrrl"] for end in ends(tmp_path)] == [end["hrrl"] for end in ends(two_processes)]
    files = [folder / f"{rank}/model.safetensors" for folder in (tmp_path, two_processes) for rank in range(2)]
    assert len({file.read_bytes() for file in files}) == 1


def test_processes_agree_with_one(two_processes, tmp_path):
    """The same global batches on one process and on two: one q, to the bit on both and to rounding."""
    training_program.main(tmp_path, "points")
    [one], (several, other) = ends(tmp_path), ends(two_processes)
    assert set(" ".join(one).split()) == {name for axis in methods.AXES for name in methods.names(axis)}
    assert other == several
    del one["noise"], one["hrrl"]  # each process draws its own; batch norm is of a process's images
    for points, expected in one.items():
        found = several[points]
        assert found["q"] == pytest.approx(expected["q"], abs=1e-6)
        for part, array in expected["trace"].items():
            assert found["trace"][part] == [pytest.approx(row, abs=1e-5) for row in array]
        for row, alone in zip(found["history"], expected["history"], strict=True):
            assert row["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-5)
            assert row["val_accuracy"] == pytest.approx(alone["val_accuracy"])  # every image once, 70 of them


EXTREMES = {
    "lr": ({"lr": 1e6}, {}, "the training loss of epoch 1 is"),
    "lr_in_the_last_step": ({"lr": 1e6, "batch_size": 100, "epochs": 1}, {}, "the loss on the held-out images"),
    "tau": ({}, {"example": {"gradient": {"tau": 1e3}}}, None),
    "lam_and_s": ({}, {"concept": {"hrrl": {"lam": 1e-6, "s": 0}}}, None),
    "c": ({}, {"concept": {"hrrl": {"lam": 1.0, "c": 1e12}}}, None),
    "eta": ({}, {"concept": {"group_dro": {"eta": 1e6}}}, None),
    "lr_and_q": ({"lr": 1e6}, {"concept": {"hrrl": {"lam": 1.0}}}, "epoch 1: the losses by concept are not finite"),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extreme_settings_end_in_a_line_or_in_finite_numbers(task, tmp_path, extreme, precision):
    changes, axes, message = EXTREMES[extreme]
    schedule, compute = replace(SCHEDULE, **changes), replace(COMPUTE, precision=precision)
    ended = None
    try:
        state, history, _ = train(task, tmp_path / "checkpoint", **axes, schedule=schedule, compute=compute)
    except FloatingPointError as error:
        ended = str(error)
    if precision == "float32":
        assert (ended is None) == (message is None)
        assert message is None or message in ended
    if ended is None:
        assert all(math.isfinite(value) for row in history for value in row.values())
        assert all(value.isfinite().all() for value in state.values())
        assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("on", [True, False])
def test_float32_is_tf32_where_settings_say_so(on):
    """PyTorch's default lets convolutions on recent GPUs round float32 to ten bits."""
    compute, backends = replace(COMPUTE, tf32=on, cudnn_benchmark=on), torch.backends
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = backends.cudnn.benchmark = not on
    with runtime.start(compute):
        found = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, backends.cudnn.benchmark
    assert found == (on, on, on)


def test_a_run_is_deterministic_and_takes_the_threads_of_its_settings():
    before = torch.get_num_threads()
    torch.use_deterministic_algorithms(False)
    with runtime.start(replace(COMPUTE, threads=before + 1)):
        found = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(before)
    assert found == (True, before + 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU can be used")
@pytest.mark.parametrize(("driver", "remedy"), [("570.86.15", "cu128"), ("535.104.05", "cu126"), ("390.1", "newer")])
def test_a_gpu_that_torch_cannot_use_is_an_error(tmp_path, monkeypatch, driver, remedy):
    compute = replace(COMPUTE, device="auto")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "DEVICES", tmp_path)
    monkeypatch.setattr(gpu, "VERSION", tmp_path / "version")
    (tmp_path / "version").write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Wed Jul  1 2020\n")
    runtime.check(compute, 1, 1)  # a driver without a device, as in a container
    (tmp_path / "nvidia0").touch()
    with pytest.raises(UserError, match=f"driver {driver}, which torch {re.escape(torch.__version__)} .*{remedy}"):
        runtime.check(compute, 1, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    runtime.check(compute, 1, 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (tmp_path / "nvidia0").unlink()
    script(tmp_path / "nvidia-smi", f"echo {driver}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=f"driver {driver}"):
        runtime.check(compute, 1, 1)
    runtime.check(COMPUTE, 1, 1)
