"""What every point of both axes must keep, whoever wrote it: run for each that hrrl/methods/ holds."""

import copy
from dataclasses import replace

import pytest
import torch
from conftest import SCHEDULE, method, network, point
from test_training import equal, train

from hrrl import methods

POINTS = [(axis, name) for axis in methods.AXES for name in methods.names(axis)]
each_point = pytest.mark.parametrize(("axis", "name"), POINTS)
off_points = pytest.mark.parametrize(("axis", "name"), [p for p in POINTS if methods.find(*p).off is not None])


@each_point
def test_the_same_seed_gives_the_same_bytes_also_when_resumed(task, tmp_path, axis, name):
    variant = {axis: point(axis, name)}
    whole, history, _ = train(task, tmp_path / "whole", **variant)
    train(task, tmp_path / "cut", **variant, schedule=replace(SCHEDULE, epochs=1))
    resumed, history_resumed, _ = train(task, tmp_path / "cut", **variant)
    assert equal(whole, resumed)
    assert history == history_resumed


@pytest.fixture(scope="module")
def erm(task, tmp_path_factory):
    return train(task, tmp_path_factory.mktemp("erm"))[0]


@off_points
def test_switched_off_it_is_erm_to_the_bit(task, erm, tmp_path, axis, name):
    off, _, _ = train(task, tmp_path, **{axis: point(axis, name, **methods.find(axis, name).off)})
    assert equal(erm, off)


@pytest.mark.parametrize("name", methods.names("example"))
def test_a_perturbation_leaves_the_model_as_it_was(task, name):
    model, move = network().train(), methods.example_axis(point("example", name))
    model.backbone.layer1.eval()
    images, y, _ = next(task.train.train_batches(8, SCHEDULE.augment, 0, 0))
    x = images.float() / 255
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    moved = move(model, x.clone(), y)
    assert moved.shape == x.shape
    assert moved.dtype == x.dtype
    assert not moved.requires_grad
    assert torch.isfinite(moved).all()
    assert equal(state, model.state_dict())
    assert modes == [module.training for module in model.modules()]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", methods.names("concept"))
def test_weights_are_finite_and_fair(task, name):
    """Finite, never negative, and of mean 1 over a batch whose concepts have the shares of the training set."""
    chosen = method(task, concept=point("concept", name)).concept
    concepts = torch.arange(3).repeat_interleave(task.counts)
    losses = torch.rand(len(concepts), generator=torch.Generator().manual_seed(0)).double()
    for _ in range(5):
        weights = chosen.weights(concepts, losses)
        assert torch.isfinite(weights).all()
        assert (weights >= 0).all()
        assert float(weights.sum()) == pytest.approx(len(concepts))
        chosen.update(losses, concepts)
