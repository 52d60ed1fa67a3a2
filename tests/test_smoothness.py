"""What Theorems 1 and 2 assume, on networks whose Hessian is known, and the variance that N/N_k adds, by drawing."""

import numpy as np
import pytest
import torch
from conftest import COMPUTE
from torch import nn

from hrrl.train import runtime
from hrrl.transfer import smoothness as module
from hrrl.transfer.smoothness import losses, smoothness, variance_factors


def test_smoothness_of_a_linear_softmax_is_the_largest_eigenvalue_of_its_hessian(task, monkeypatch):
    """The Hessian of cross-entropy in x is W' (diag p - p p') W, with p the probabilities."""
    torch.manual_seed(0)
    size = next(task.test.eval_batches(1))[0][0].numel()
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(size, len(task.test.classes)))  # in training mode
    monkeypatch.setattr(module, "IMAGES", 20)
    with runtime.start(COMPUTE) as here:
        of_all = losses(model, task.test, here)
        found, further = smoothness(model.train(), task.test, here, radius=0.01), smoothness(model, task.test, here)
    assert len(found["L"]) == 20
    rows = np.linspace(0, len(task.test) - 1, 20).astype(int)
    x = torch.cat([here.images(batch) for batch, _ in task.test.eval_batches(64, rows=rows)])
    W, p = model[2].weight.detach().double(), model(x).softmax(1).detach().double()
    y = nn.functional.one_hot(task.test.labels[rows], W.shape[0])
    np.testing.assert_allclose(found["gradient"], ((p - y) @ W).norm(dim=1), rtol=1e-3)
    np.testing.assert_allclose(of_all[rows], -(p * y).sum(1).log(), rtol=1e-3)
    largest = [torch.linalg.eigvals(((q.diag() - torch.outer(q, q)) @ W) @ W.T).abs().max() for q in p]
    assert (found["L"] <= np.multiply(largest, 1.05)).all()  # float32, and a ball instead of a point
    assert np.median(found["L"] / np.array(largest)) > 0.85  # the two largest are close, which slows the power method
    assert of_all.dtype == found["L"].dtype == np.float64

    def gradient(z: torch.Tensor) -> torch.Tensor:
        return ((z @ W.T + model[2].bias.detach()).softmax(1) - y) @ W

    x = x.flatten(1).double()
    direction, L = nn.functional.normalize(gradient(x)), torch.zeros(20)
    for _ in range(6):
        change = (gradient(x + 0.1 * direction) - gradient(x)) / 0.1
        direction, L = nn.functional.normalize(change), L.maximum(change.norm(dim=1))
    np.testing.assert_allclose(further["L"], L, rtol=1e-3)


def test_variance_factor_is_that_of_drawn_batches():
    random = np.random.default_rng(0)
    concepts = np.repeat([0, 1], [160, 40])
    values, m = random.gamma(2.0, 0.1 * (1 + concepts)), 8
    found = variance_factors(values, concepts, np.array([160, 40, 0]))
    drawn = random.integers(0, 200, (40_000, m))
    for k, n in ((0, 160), (1, 40)):
        plain = (200 / n * values[drawn] * (concepts[drawn] == k)).sum(1) / m
        assert plain.var() == pytest.approx(found[k] * values[concepts == k].var() / m, rel=0.03)
    assert np.isnan(found[2])  # no image of it
    assert np.isnan(variance_factors(np.ones(3), np.zeros(3), np.array([3])))  # all alike
