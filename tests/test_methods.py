"""The methods that the paper's is compared with, each against a direct computation of its own."""

import numpy as np
import pytest
import reference
import torch

from hrrl import methods
from hrrl.methods.concept.balanced import Balanced
from hrrl.methods.concept.cvar import Cvar
from hrrl.methods.concept.group_dro import GroupDro
from hrrl.methods.example.noise import Noise
from hrrl.methods.example.pgd import Pgd
from hrrl.methods.example.wrm import Wrm
from hrrl.train import models


@pytest.fixture(scope="module")
def setting():
    torch.manual_seed(0)
    model = models.build("timm/resnet18", 5, {"channels": [8, 8, 16, 16]}).eval()
    return model, torch.rand(4, 3, 24, 24), torch.randint(0, 5, (4,))


@pytest.mark.parametrize(
    ("settings", "steps", "step"), [({"eps": 0.5, "steps": 4, "step_size": 0.3}, 4, 0.3), ({"eps": 0.6}, 3, 0.4)]
)
def test_pgd_is_projected_ascent_of_each_example(setting, settings, steps, step):
    """By default three steps of two thirds of the radius."""
    model, x, y = setting
    moved, z = Pgd(**settings)(model, x, y), x
    for _ in range(steps):
        offset = reference.moved(model, z, y, step) - x
        z = x + offset * (settings["eps"] / offset.flatten(1).norm(dim=1)).clamp(max=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(moved, z, rtol=0, atol=1e-4)
    assert not moved.requires_grad


def test_a_random_start_is_uniform_in_the_ball():
    """Of radius r, a share of r^d is within r of the image; and the steps go on from there."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2))
    x, y = torch.full((4000, 3, 1, 1), 0.5), torch.zeros(4000, dtype=torch.long)
    torch.manual_seed(0)
    start = Pgd(eps=0.5, steps=0, random_start=True)(net, x, y)
    offsets = (start - x).flatten(1)
    for share in (0.125, 0.5, 0.9):
        within = (offsets.norm(dim=1) <= 0.5 * share ** (1 / 3)).double().mean()
        assert float(within) == pytest.approx(share, abs=0.03)
    assert offsets.mean(0).norm() < 0.02  # in all directions alike
    torch.manual_seed(0)
    moved = Pgd(eps=0.5, steps=1, step_size=0.01, random_start=True)(net, x, y)
    inside = offsets.norm(dim=1) < 0.48
    torch.testing.assert_close((moved - start)[inside].flatten(1).norm(dim=1), torch.full((int(inside.sum()),), 0.01))
    assert (moved - x).flatten(1).norm(dim=1).max() <= 0.5 + 1e-6


def test_wrm_is_ascent_on_the_penalised_loss(setting):
    model, x, y = setting
    assert Wrm(gamma=3.0).steps == 15
    moved = Wrm(gamma=3.0, steps=5)(model, x, y)
    for i in range(len(x)):
        z = x[i].clone()
        for t in range(1, 6):
            z = z.detach().requires_grad_()
            value = torch.nn.functional.cross_entropy(model(z[None]), y[i][None]) - 1.5 * (z - x[i]).square().sum()
            z = z + torch.autograd.grad(value, z)[0] / (3.0 * np.sqrt(t))
        torch.testing.assert_close(moved[i], z.detach(), rtol=0, atol=1e-4)


def test_noise_is_gaussian_and_has_the_size_of_the_perturbation(setting):
    model, x, y = setting
    torch.manual_seed(0)
    moved = Noise(0.7)(model, x, y)
    torch.manual_seed(0)
    for image, found, noise in zip(x, moved, torch.randn_like(x), strict=True):
        torch.testing.assert_close(found, image + 0.7 * noise / noise.square().sum().sqrt())


def test_group_dro_is_the_authors_exponentiated_gradient_on_group_means():
    """https://github.com/kohpangwei/group_DRO, loss.py: a group without an image has the loss 0, and its adjustment."""
    counts, eta, C = [80, 15, 5], 0.3, 2.0
    method = GroupDro(counts, eta, C)
    assert method.adaptive
    assert method.adjustment.tolist() == pytest.approx([C / n**0.5 for n in counts], rel=1e-12)
    np.testing.assert_allclose(method.q.numpy(), 1 / 3)
    q, rng = np.full(3, 1 / 3), np.random.default_rng(0)
    for step in range(6):
        losses, groups = rng.exponential(size=10), rng.integers(0, 3 if step % 2 else 2, size=10)
        for k in range(3):
            mean = losses[groups == k].mean() if (groups == k).any() else 0.0
            q[k] *= np.exp(eta * (mean + C / np.sqrt(counts[k])))
        q = q / q.sum()
        objective = sum(q[k] * losses[groups == k].mean() for k in range(3) if (groups == k).any())
        weights = method.weights(torch.from_numpy(groups), torch.from_numpy(losses))
        assert float((weights * torch.from_numpy(losses)).mean()) == pytest.approx(objective)
        method.update(torch.from_numpy(losses), torch.from_numpy(groups))
        np.testing.assert_allclose(method.q.numpy(), q)
        assert method.t == step + 1
    assert (GroupDro(counts).eta, GroupDro(counts).adjustment.tolist()) == (0.01, [0.0] * 3)
    with pytest.raises(TypeError, match="by their losses"):
        method.weights(torch.tensor([0]))


def test_group_dro_neither_overflows_nor_forgets_a_concept():
    counts, concepts = [60, 30, 10], torch.tensor([0, 0, 1, 2])
    method, high = GroupDro(counts, eta=1.0), torch.tensor([1e3, 1e3, 1.0, 2.0])
    weights = method.weights(concepts, high)
    method.update(high, concepts)
    assert method.q.tolist() == [1, 0, 0]
    assert weights.tolist() == [2, 2, 0, 0]
    state, resumed = method.state_dict(), GroupDro(counts, eta=1.0)
    resumed.load_state_dict(state)
    state["log_q"].zero_()  # the caller's own
    assert torch.equal(resumed.log_q, method.log_q)
    assert (resumed.q.tolist(), resumed.t) == (method.q.tolist(), 1)
    older = GroupDro(counts, eta=1.0)
    older.load_state_dict({"q": torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), "t": 4})
    older.weights(concepts, torch.ones(4))  # which move none of it
    older.update(torch.ones(4), concepts)
    assert (older.q.tolist(), older.t) == (pytest.approx([0.5, 0.3, 0.2]), 5)
    other = torch.tensor([0.0, 0.0, 2e3, 0.0])
    for q in (method, resumed):
        q.weights(concepts, other)
        q.update(other, concepts)
        assert q.q.tolist() == [0, 1, 0]
    lost = torch.tensor([0.1, float("nan"), 0.2, 2.0])
    assert method.weights(concepts, lost).isnan().all()
    with pytest.raises(FloatingPointError, match="q stays as it was"):
        method.update(lost, concepts)
    assert (method.q.tolist(), method.t) == ([0, 1, 0], 2)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.33, 0.5, 1.0])
def test_cvar_is_the_minimum_of_its_dual_form(alpha):
    """CVaR = min over eta of eta + mean(max(l - eta, 0)) / alpha (Rockafellar and Uryasev 2000)."""
    losses = torch.from_numpy(np.random.default_rng(1).exponential(size=13))
    weights = Cvar([13], alpha).weights(torch.zeros(13, dtype=torch.long), losses)
    dual = min(float(eta + (losses - eta).clamp_min(0).mean() / alpha) for eta in losses)
    assert float((weights * losses).mean()) == pytest.approx(dual)
    assert weights.sum() == pytest.approx(13)


def test_cvar_takes_ties_in_the_order_of_the_batch():
    method = Cvar([3, 1], 0.5)
    weights = method.weights(torch.tensor([0, 1] * 20), torch.ones(40))
    assert weights.tolist() == [2.0] * 20 + [0.0] * 20
    assert weights.dtype == torch.float64
    method.update(torch.ones(4), torch.tensor([0, 0, 1, 0]))
    assert (method.t, method.q.tolist()) == (1, [0.75, 0.25])
    with pytest.raises(TypeError, match="by their losses"):
        method.weights(torch.tensor([0]))


def test_balanced_weights_are_proportional_to_one_over_n_k():
    weights = Balanced([50, 30, 20]).weights(torch.tensor([0, 1, 2]))
    expected = torch.tensor([1 / 50, 1 / 30, 1 / 20], dtype=torch.float64) * 100 / 3
    torch.testing.assert_close(weights, expected)


def test_every_method_of_the_params_can_be_built():
    from hrrl.settings import schema

    assert methods.names("example") == list(schema.ExampleAxis.model_fields)
    assert methods.names("concept") == list(schema.ConceptAxis.model_fields)
    variant = schema.Variant.model_validate({"example": {"pgd": {"eps": 1.0}}, "concept": {"cvar": {"alpha": 0.2}}})
    assert methods.example_axis(variant.spec()["example"]).step_size == pytest.approx(2 / 3)
    assert methods.concept_axis(variant.spec()["concept"], [1, 2]).alpha == 0.2
