"""On a GPU: nothing waits in a step, and what is computed is the CPU's up to rounding."""

import copy
from dataclasses import replace

import pytest
import torch
from conftest import COMPUTE, digits_task, fit, method, network, point
from test_waits import COMBINATIONS, chosen, stepper

from hrrl.objective import ConceptDistribution, input_gradient
from hrrl.train import runtime

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def gpu():
    with runtime.start(replace(COMPUTE, device="cuda")) as here:
        yield here


@pytest.mark.parametrize(("example", "concept"), COMBINATIONS)
def test_no_step_waits_for_the_gpu(gpu, example, concept):
    step = stepper(gpu, chosen(example, concept))
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_batches_are_fed_whole_and_in_order(gpu):
    images = [torch.full((4, 1, 224, 224), i, dtype=torch.uint8).expand(-1, 3, -1, -1) for i in range(50)]
    batches = [(x, torch.full((4,), i), i) for i, x in enumerate(images)]
    for number, (x, y, i) in enumerate(gpu.feed(batches)):
        torch.mm(*torch.rand(2, 2048, 2048, device=gpu.device))  # the copies are ahead of what is computed
        assert number == i
        assert (x.shape, x.device, y.device) == ((4, 3, 224, 224), gpu.device, gpu.device)
        assert bool((x == i / 255).all() & (y == i).all())
    assert number == 49


def test_the_input_gradient_is_exact(gpu):
    """As in float64 on the CPU, up to rounding: so neither TF32 nor the folded pass changes it."""
    torch.manual_seed(0)
    net, x, y = network().eval(), torch.rand(8, 3, 64, 64), torch.arange(8)
    exact = input_gradient(copy.deepcopy(net).double(), x.double(), y)
    found = input_gradient(gpu.to_device(net), x.to(gpu.device), y.to(gpu.device)).cpu().double()
    error = (found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert error.max() < 1e-4


def test_a_run_is_the_cpus_up_to_rounding(tmp_path):
    task, ends = digits_task(tmp_path / "manifest"), []
    for device in ("cuda", "cpu"):
        variant = method(task, point("example", "gradient"), point("concept", "hrrl"))
        run = fit(task, tmp_path / device, variant, compute=replace(COMPUTE, device=device))
        ends.append((run.history[0]["train_loss"], run.trace.arrays()["q"][:3].tolist()))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-2)
    assert ends[0][1] == [pytest.approx(q, abs=1e-3) for q in ends[1][1]]


def test_losses_that_are_not_finite_leave_q_and_are_told_when_it_is_read(gpu):
    q, concepts = ConceptDistribution([6, 3, 1], lam=1.0), torch.tensor([0, 1, 2], device=gpu.device)
    q.update(torch.tensor([0.1, 0.2, 2.0], device=gpu.device), concepts)
    before = q.q.tolist()
    q.update(torch.tensor([0.1, float("nan"), 2.0], device=gpu.device), concepts)
    assert q.q.tolist() == pytest.approx(before)
    with pytest.raises(FloatingPointError, match="q stays as it was"):
        q.state_dict()
