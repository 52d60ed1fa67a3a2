"""The method against independent references: projection, q's course, unbiased weights, the perturbation."""

import numpy as np
import pytest
import reference
import torch
from torch.overrides import TorchFunctionMode
from training_program import network

from hrrl.methods.simplex import prefix_sums, project_simplex
from hrrl.objective import ConceptDistribution, GroupWeighting, normalised, perturb


@pytest.mark.parametrize("scale", [1e-6, 0.1, 1.0, 1e3])
@pytest.mark.parametrize("K", [1, 2, 11, 1000])
def test_projection_equals_bisection(K, scale):
    v = np.random.default_rng(K).normal(size=K) * scale
    w = project_simplex(torch.from_numpy(v))
    np.testing.assert_allclose(w.numpy(), reference.projection(v), atol=1e-12)
    torch.testing.assert_close(prefix_sums(w), torch.from_numpy(w.numpy().cumsum()))


def test_projection_keeps_dtype_and_points_of_the_simplex():
    w = torch.tensor([0.25, 0.25, 0.5])
    assert project_simplex(w).dtype == torch.float32
    torch.testing.assert_close(project_simplex(w), w)
    torch.testing.assert_close(project_simplex(torch.tensor([3e8, -3e8])), torch.tensor([1.0, 0.0]))
    large = torch.tensor([1e16, 1e16, -1e16], dtype=torch.float64)
    assert project_simplex(large).tolist() == [0.5, 0.5, 0.0]
    v = torch.from_numpy(np.random.default_rng(0).normal(size=1000)).float()
    assert torch.equal(project_simplex(v), project_simplex(v.double()).float())
    for wrong in (torch.zeros(2, 2), torch.zeros(0)):
        with pytest.raises(ValueError, match="vector"):
            project_simplex(wrong)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("q0", [None, [0.2, 0.5, 0.3]])
def test_q_follows_equation_6_written_as_a_loop(q0, precision):
    """From q0 on, whatever the precision of the losses; weights are q in parts of the concepts' shares."""
    counts, settings, rng = [60, 30, 10], {"lam": 0.7, "c": 4.0, "s": 5, "q0": q0}, np.random.default_rng(0)
    q, loop = ConceptDistribution(counts, **settings), reference.Algorithm1(None, counts, None, **settings)
    assert q.q.tolist() == loop.q.tolist()
    for t in range(1, 12):
        losses = torch.from_numpy(rng.exponential(size=8)).to(precision)
        concepts = torch.from_numpy(rng.integers(0, 2 if t % 2 else 3, size=8))
        loop.move_q(losses.tolist(), concepts.tolist())
        q.update(losses, concepts)
        np.testing.assert_allclose(q.q.numpy(), loop.q, atol=1e-10)
        np.testing.assert_allclose(q.weights(torch.tensor([2, 0, 1])), (loop.q / loop.share)[[2, 0, 1]], atol=1e-10)
    assert q.t == 11
    assert not q.gradient(torch.zeros(3), q.q0).any()


def test_the_defaults_are_the_papers_slow_start():
    q = ConceptDistribution([3, 1], 1.0)
    assert (q.c, q.s, q.t) == (10.0, 1000, 0)
    assert ConceptDistribution([3, 1], 1.0, s=0).s == 0
    assert q.q.tolist() == q.q0.tolist() == [0.75, 0.25]
    assert q.q.dtype == torch.float64


def test_state_goes_on_where_it_was():
    for kind, settings in ((ConceptDistribution, {"lam": 1.0, "s": 1}), (GroupWeighting, {})):
        whole, resumed = (kind([5, 3, 2], **settings) for _ in range(2))
        whole.update(LOSSES, CONCEPTS)
        state = whole.state_dict()
        resumed.load_state_dict(state)
        state["q"].zero_()  # the caller's own
        for weighting in (whole, resumed):
            weighting.update(LOSSES, CONCEPTS)
        assert whole.q.sum() == pytest.approx(1)
        assert (resumed.q.tolist(), resumed.t) == (whole.q.tolist(), 2)


def test_a_concept_may_be_the_only_one_or_have_no_share_of_q0():
    assert GroupWeighting([7]).q.tolist() == [1.0]
    assert ConceptDistribution([1, 1], 1.0, q0=[1.0, 0.0]).q.tolist() == [1.0, 0.0]


class Called(TorchFunctionMode):
    """The names of torch's functions that are called inside."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names = {*getattr(self, "names", ()), function.__name__}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_sums_of_prefixes_are_deterministic_on_other_devices(device):
    """PyTorch's cumsum is not, on a GPU; on the CPU it is, and the quicker one."""
    with Called() as called:
        assert project_simplex(torch.tensor([0.5, 0.7], device=device)).shape == (2,)
    assert ("cumsum" in called.names, "tril" in called.names) == (device == "cpu", device != "cpu")


def test_q_keeps_its_place_without_a_wait_where_it_would_not_be_finite():
    """What a q on a GPU does, here with numbers of the CPU."""
    weighting = GroupWeighting([1, 1])
    old, wrong = torch.tensor([0.5, 0.5]), torch.tensor([0.5, float("nan")])
    for new, kept, lost in ((old + 1, old + 1, False), (wrong, old, True), (-old, -old, True)):
        assert torch.equal(weighting._finite_or(old, new), kept)
        assert bool(weighting.lost) == lost
    for read in (weighting.check, weighting.state_dict):
        with pytest.raises(FloatingPointError, match="q stays as it was"):
            read()


def test_q_goes_where_its_batches_are():
    """On the device ``meta``, which has shapes alone."""
    assert GroupWeighting([7]).weights(CONCEPTS[:1].to("meta")).device.type == "meta"
    q = ConceptDistribution([5, 3, 2], 1.0)
    q.update(LOSSES.to("meta"), CONCEPTS.to("meta"))
    assert {value.device.type for value in (q.q, q.q0, q.share, q.lost)} == {"meta"}
    assert (q.q.shape, q.lost.shape, q.lost.dtype) == ((3,), (), torch.bool)


LOSSES, CONCEPTS = torch.tensor([0.1, 0.3, 0.2, 2.0]), torch.tensor([0, 0, 1, 2])
REFUSED = {
    "nan": (LOSSES.where(LOSSES != 0.3, float("nan")), CONCEPTS, FloatingPointError, "not finite"),
    "infinite": (LOSSES / 0, CONCEPTS, FloatingPointError, "not finite"),
    "empty": (LOSSES[:0], CONCEPTS[:0], ValueError, "an empty batch"),
    "too_high": (LOSSES, torch.tensor([0, 1, 2, 3]), IndexError, "a concept is 3; expected 0 to 2"),
    "negative": (LOSSES, torch.tensor([0, 1, 2, -1]), IndexError, "a concept is -1; expected 0 to 2"),
    "floats": (LOSSES, CONCEPTS.float(), TypeError, "of an integer type; got torch.float32"),
    "mask": (LOSSES, CONCEPTS.bool(), TypeError, "of an integer type; got torch.bool"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_q_cannot_follow_leaves_it_as_it_was(case):
    losses, concepts, error, message = REFUSED[case]
    q, other = (ConceptDistribution([60, 30, 10], lam=1.0) for _ in range(2))
    with pytest.raises(error, match=message):
        q.update(losses, concepts)
    if error in (IndexError, TypeError):
        with pytest.raises(error, match=message):
            q.weights(concepts)
    for distribution in (q, other):
        distribution.update(LOSSES, CONCEPTS)
    assert (q.q.tolist(), q.t) == (other.q.tolist(), 1)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_concepts_are_integers_of_any_width(dtype):
    q, other = (ConceptDistribution([60, 30, 10], lam=1.0) for _ in range(2))
    q.update(LOSSES, CONCEPTS.to(dtype))
    other.update(LOSSES, CONCEPTS)
    assert q.q.tolist() == other.q.tolist()
    assert q.weights(CONCEPTS.to(dtype)).tolist() == other.weights(CONCEPTS).tolist()


def test_weights_are_exactly_one_at_q0():
    q = ConceptDistribution([7, 3, 11, 1300], 1.0)
    assert (q.weights(torch.arange(4)) == 1).all()
    assert (GroupWeighting([7, 3]).weights(torch.tensor([0, 1, 1])) == 1).all()


def test_weighted_batches_give_an_unbiased_gradient():
    """Over all batches of an epoch, the weighted mean gradient is that of sum_k q_k/N_k sum_i l_i (Eq. 4)."""
    torch.manual_seed(0)
    x, y = torch.rand(24, 5), torch.randint(0, 4, (24,))
    concepts = torch.tensor([0, 0, 1, 2])[y]
    net = torch.nn.Linear(5, 4)
    q = ConceptDistribution(torch.bincount(concepts), 1.0, q0=[0.2, 0.3, 0.5])
    losses = torch.nn.functional.cross_entropy(net(x), y, reduction="none").double()
    full = sum(q.q[k] * losses[concepts == k].mean() for k in range(3))
    batched = torch.stack([(q.weights(concepts[i]) * losses[i]).mean() for i in torch.randperm(24).split(6)]).mean()
    both = (torch.autograd.grad(v, net.parameters(), retain_graph=True) for v in (full, batched))
    torch.testing.assert_close(*both)


BAD = [*(("lam", {"lam": lam}) for lam in (0.0, -1.0, float("inf"))), ("s counts", {"lam": 1.0, "s": -1})]
BAD += [("c must", {"lam": 1.0, "c": c}) for c in (0.0, float("inf"))]
BAD += [("q0", {"lam": 1.0, "q0": q0}) for q0 in ([0.5, 0.6], [0.5, 0.4], [1.5, -0.5], [0.5, 0.3, 0.2])]


@pytest.mark.parametrize(("message", "arguments"), BAD)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConceptDistribution([1, 1], **arguments)
    with pytest.raises(ValueError, match="counts"):
        ConceptDistribution([1, 0], 1.0)
    with pytest.raises(ValueError, match="tau"):
        perturb(torch.nn.Identity(), torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.long), -0.1)


@pytest.fixture(scope="module")
def classifier():
    model = network(torch.nn.BatchNorm2d(8)).train()
    with torch.no_grad():  # running statistics that are not the initial ones
        for _ in range(3):
            model(torch.rand(16, 3, 16, 16))
    return model


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 16, 16, generator=generator), torch.randint(0, 10, (6,), generator=generator)


@pytest.mark.parametrize("tau", [1e-3, 0.5, 10.0])
def test_perturbation_is_the_normalised_gradient_of_each_example(classifier, batch, tau):
    expected = reference.moved(classifier, *batch, tau)
    torch.testing.assert_close(perturb(classifier, *batch, tau), expected, rtol=0, atol=2e-4 * tau)


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e30])
def test_a_gradient_of_any_size_is_normalised(size):
    """Whose squares float32 cannot hold, over all channels; and a zero one stays zero."""
    g = torch.tensor([[3.0, -4.0, 0.0], [-3.0, -4.0, 0.0], [0.0, 0.0, 0.0]]).view(3, 3, 1, 1) * size
    expected = torch.tensor([[0.6, -0.8, 0.0], [-0.6, -0.8, 0.0], [0.0, 0.0, 0.0]]).view(3, 3, 1, 1)
    torch.testing.assert_close(normalised(g), expected)
    assert normalised(torch.full((1, 3, 2, 2), 0.5, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("std", [None, 0.4, (0.2, 0.3, 0.4)])
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_a_step_is_exact_in_float64_also_of_images_that_are_normalised_outside_of_the_model(tau, std):
    """x = (p - mean) / std: the step is that along the gradient in p, and has its length there."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10)).double()
    x, y = torch.rand(4, 3, 8, 8, dtype=torch.float64, requires_grad=True), torch.tensor([1, 0, 3, 9])
    moved = perturb(model, x, y, tau, mean=std and 0.1, std=std)
    assert not moved.requires_grad
    unit = torch.tensor(std or 1.0, dtype=torch.float64).view(-1, 1, 1)
    g = ((model(x).softmax(1) - torch.nn.functional.one_hot(y, 10)) @ model[1].weight).view_as(x) / unit
    expected = x + tau * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1) / unit
    torch.testing.assert_close(moved, expected.detach(), rtol=0, atol=1e-14)
    for wrong in ((0.2, 0.3), (0.2, 0.0, 0.3), -1.0):
        with pytest.raises(ValueError, match="std takes a positive number for each of 3 channels"):
            perturb(model, x, y, 0.5, std=wrong)
    with pytest.raises(ValueError, match="mean comes without std"):
        perturb(model, x, y, tau, mean=0.1)
