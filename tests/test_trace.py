"""What a run records for Theorem 3: against a direct computation, after a kill."""

import copy

import numpy as np
import pytest
import torch
from conftest import COMPUTE, SCHEDULE, method, network
from test_training import GRADIENT, HRRL

from hrrl import runtime, training
from hrrl.checkpoint import Checkpoint


def fit(task, folder, example=None, concept=None, epochs=2) -> training.Training:
    schedule = copy.copy(SCHEDULE)
    schedule.epochs = epochs
    with runtime.start(COMPUTE) as here:
        run = training.Training(network(), task, method(task, example, concept), schedule, here, 0, "test")
        run.fit(Checkpoint(folder, {"params": "p"}))
    return run


def test_trace_is_what_moved_q(task, tmp_path, monkeypatch):
    """Terms and norms against their definitions, from the losses of each step; q replayed from them to the bit."""
    batches, step = [], training.Training.step

    def recorded(self, net, x, y, m):
        losses = step(self, net, x, y, m)
        batches.append((losses.double(), task.concepts[y]))
        return losses

    monkeypatch.setattr(training.Training, "step", recorded)
    run = fit(task, tmp_path / "run", GRADIENT, HRRL)
    trace, lam, q0 = run.trace.arrays(), 1.0, task.counts.double().numpy() / 100
    assert {name: array.shape for name, array in trace.items()} == {"terms": (6, 3), "q": (6, 3)}
    expected = [
        [float(losses[k == i].sum()) / 30 * 100 / float(task.counts[i]) for i in range(3)] for losses, k in batches
    ]
    np.testing.assert_allclose(trace["terms"], expected, rtol=1e-12)
    norms = [np.sqrt(((g - lam * (q - q0)) ** 2).sum()) for g, q in zip(expected, trace["q"], strict=True)]
    for epoch, row in enumerate(run.history):
        assert row["q_gradient_mean"] == pytest.approx(np.mean(norms[3 * epoch : 3 * epoch + 3]))
        assert row["q_gradient_max"] == pytest.approx(max(norms[3 * epoch : 3 * epoch + 3]))
    replayed = method(task, concept=HRRL).concept
    for (losses, concepts), q in zip(batches, trace["q"], strict=True):
        assert replayed.q.tolist() == q.tolist()
        replayed.update(losses, concepts)


def test_erm_has_norms_at_q0(task, tmp_path):
    run = fit(task, tmp_path / "erm")
    norms = torch.from_numpy(run.trace.arrays()["terms"]).norm(dim=1)
    assert run.history[0]["q_gradient_max"] == float(norms[:3].max())


def test_resumed_run_has_the_same_trace(task, tmp_path):
    whole = fit(task, tmp_path / "whole", concept=HRRL, epochs=4)
    for epochs in (1, 3, 4):
        resumed = fit(task, tmp_path / "cut", concept=HRRL, epochs=epochs)
    for name, array in whole.trace.arrays().items():
        np.testing.assert_array_equal(resumed.trace.arrays()[name], array)
