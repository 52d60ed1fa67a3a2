"""Training, its measurements and smoothness against plain loops that share nothing with them (tests/reference.py)."""

import copy
import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import torch
from conftest import COMPUTE, digits_task, fit, method
from torch import nn
from training_program import Told

from hrrl.data.augment import Augment
from hrrl.methods.interfaces import GroupWeighting, Perturbation
from hrrl.methods.q_history import QHistory
from hrrl.methods.regret import replay
from hrrl.train import recipes, runtime, training
from hrrl.train.checkpoint import Checkpoint
from hrrl.train.evaluation import GroupedData, evaluate
from hrrl.train.models import Classifier
from hrrl.transfer.extraction import extract_features
from hrrl.transfer.features import features
from hrrl.transfer.robustness import correct, correct_when_moved
from hrrl.transfer.smoothness import losses, smoothness, variance_factors

CONCEPTS, NAMES = [0, 0, 0, 0, 1, 0, 1, 1, 2, 0], ["many", "some", "few", "none"]
COUNTS, SHARES = [60, 30, 10], [0.2, 0.5, 0.3]
AUGMENT = Augment(crop="padded", padding=1, flip=True)
SCHEDULE = recipes.Schedule(
    epochs=3, batch_size=30, lr=0.1, milestones=[1, 2], momentum=0.8, weight_decay=0.05, augment=AUGMENT
)


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> GroupedData:
    """Digits as they are, 8 x 8, and 60 images for validation."""
    return digits_task(tmp_path_factory.mktemp("digits") / "manifest", 6, 8, CONCEPTS)


def smooth() -> nn.Sequential:
    """Batch norm, and no kinks, which would make rounding visible."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 12, 2), nn.BatchNorm2d(12), nn.Tanh(),
        nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained_once() -> nn.Sequential:
    net, (x, y) = smooth(), reference.digits("train", 10)
    loop = reference.Algorithm1(reference.Net(net), COUNTS, CONCEPTS)
    for _ in range(15):
        loop.step(x, y, 0.05)
    return net.train()


@pytest.fixture
def trained(trained_once) -> nn.Sequential:
    """A network that tells most digits apart, in training mode; the test's own."""
    return copy.deepcopy(trained_once)


@pytest.fixture
def here():
    with runtime.start(COMPUTE) as here:
        yield here


def trained_by(chosen, task, folder, seed=3, net=None, status=None, **changes):
    schedule = dataclasses.replace(SCHEDULE, **changes)
    return fit(task, folder, chosen, Classifier(net or smooth()), schedule, seed=seed, status=status)


def same_weights(found: nn.Module, expected: nn.Module) -> None:
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-3, atol=2e-5)


def test_images_are_scikit_learns_digits(task):
    for source, split, number in ((task.train, "train", 10), (task.test, "test", 6)):
        x, y = reference.digits(split, number)
        found, labels = (torch.cat(part) for part in zip(*source.eval_batches(7), strict=True))
        assert torch.equal(labels, y)
        torch.testing.assert_close(found / 255, x, rtol=0, atol=1e-6)
    assert task.counts.tolist() == COUNTS
    assert GroupedData.by_class(task.train, task.test, torch.tensor(CONCEPTS), NAMES).counts.tolist() == [*COUNTS, 0]


def test_evaluation_is_a_plain_loops(task, trained, here, tmp_path):
    """On the validation images, by concept; the network comes in training mode, as from an epoch, or as it came."""
    x, y = reference.digits("test", 6)
    expected = reference.measured(reference.Net(copy.deepcopy(trained)), x, y, CONCEPTS, NAMES)
    whole = GroupedData.by_class(task.train, task.test, torch.tensor(CONCEPTS), NAMES)  # one concept has no images
    found = evaluate(Classifier(copy.deepcopy(trained)), whole, here, 7)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-5)
    assert 50 < expected["val_accuracy"] < 100
    run = trained_by(training.erm(task), task, tmp_path, net=trained, epochs=0)
    [row] = run.history
    assert [row.pop(key) for key in ("epoch", "step", "lr", "train_loss")] == [0, 0, 0, None]
    assert row == pytest.approx(expected, rel=1e-5)
    assert run.trace.arrays()["q"].shape == (0, 3)


def test_a_loss_of_one_concept_that_is_not_finite_is_an_error(task, trained, here, tmp_path):
    net = copy.deepcopy(trained)
    net[4].bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="features are not finite"):
        features(Classifier(net), task.test, here)
    trained[-1].bias.data[8] = -float("inf")
    with pytest.raises(FloatingPointError, match="held-out images is not finite"):
        evaluate(Classifier(trained), task, here, 60)
    with pytest.raises(FloatingPointError, match="outputs on the held-out images"):
        correct(Classifier(trained), task.test, here)
    with pytest.raises(FloatingPointError, match="test: the training loss of epoch 1 is inf"):
        trained_by(training.erm(task), task, tmp_path, net=trained, epochs=1, batch_size=100)


def test_of_no_images_none_is_right(trained, here):
    found = correct(Classifier(trained), SimpleNamespace(eval_batches=lambda batch_size: iter(())), here)
    assert (found.shape, found.dtype) == ((0,), bool)


def test_each_process_evaluates_its_own_images(task, trained, here, monkeypatch):
    """Parts of three processes, whose sums are the whole's; and of more processes than images."""
    model = Classifier(trained)
    whole = evaluate(model, task, here, 7)
    of_three = [dataclasses.replace(here, rank=rank, world_size=3) for rank in range(3)]
    parts = [evaluate(model, task, one, 7) for one in of_three]
    for measure in (f"{measure}_{name}" for measure in ("accuracy", "loss") for name in NAMES[:3]):
        assert sum(part[measure] for part in parts) == pytest.approx(whole[measure])
    assert np.mean([part["val_accuracy"] for part in parts]) == pytest.approx(whole["val_accuracy"])
    monkeypatch.setattr("hrrl.common.distributed.all_reduce", lambda sums: sums + 1)  # what all others have found
    last = dataclasses.replace(here, rank=60, world_size=61)
    assert evaluate(model, task, last, 7)["val_accuracy"] == 300


def test_networks_run_in_the_precision_of_the_settings(task):
    """But for the gradients that smoothness is measured by; what is worked out from their outputs is in float32."""
    seen, net = [], nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Linear(16, 10))
    net[2].register_forward_hook(lambda layer, x, out: seen.append(out.detach()))
    model, (images, rows, _) = Classifier(net), next(task.train.drawn_batches(30, AUGMENT, 3, 0))
    with runtime.start(dataclasses.replace(COMPUTE, precision="float16")) as here:
        run = training.Training(model, task, method(task, GRADIENT, HRRL), SCHEDULE, here, 3, "test")
        batch = here.images(images), task.train.labels[rows], task.train_concepts[rows], 30
        assert batch[0].dtype == torch.float32  # half of it is too coarse for a step
        for measure, expected in {
            lambda: run.step(model, *batch): torch.float16,
            lambda: evaluate(model, task, here, 60): torch.float16,
            lambda: correct_when_moved(model, task.test, here, [0.1]): torch.float16,
            lambda: features(model, task.test, here): torch.float16,
            lambda: losses(model, task.test, here): torch.float16,
            lambda: smoothness(model, task.test, here): torch.float32,
        }.items():
            seen.clear()
            measure()
            assert {out.dtype for out in seen} == {expected}
        assert features(model, task.test, here).dtype == np.float32
        for measure, y in {
            lambda: run.step(model, *batch).tolist(): batch[1],
            lambda: losses(model, task.test, here).tolist(): task.test.labels,
            lambda: [evaluate(model, task, here, 60)["val_loss"]]: task.test.labels,
        }.items():
            found = measure()
            expected = nn.functional.cross_entropy(seen[-1].float(), y, reduction="none")
            expected = expected if len(found) > 1 else expected.mean(0, True)
            assert found == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


def test_accuracy_on_moved_images_is_a_plain_loops(task, trained, here):
    x, y = reference.digits("test", 6)
    net, steps = reference.Net(copy.deepcopy(trained)), [0.0, 0.2, 0.6]
    expected = [reference.measured(net, reference.moved(net, x, y, step), y, CONCEPTS, NAMES) for step in steps]
    hits = correct_when_moved(Classifier(trained), task.test, here, steps)
    assert list(hits) == steps
    concepts = np.array(CONCEPTS)[y.numpy()]
    for those, values in zip(hits.values(), expected, strict=True):
        assert 100 * those.mean() == pytest.approx(values["val_accuracy"])
        for k, name in enumerate(NAMES[:3]):
            assert 100 * those[concepts == k].mean() == pytest.approx(values[f"accuracy_{name}"])
    accuracies = [those.mean() for those in hits.values()]
    assert accuracies == sorted(set(accuracies), reverse=True)  # each step costs accuracy


def test_features_of_rows_are_what_the_last_layer_gets_and_modes_stay(task, trained, here):
    x, y = reference.digits("test", 6)
    rows, model = np.array([5, 2, 40]), Classifier(trained)
    with torch.no_grad():
        expected = copy.deepcopy(trained).eval()[:-1]((x - reference.MEAN) / reference.STD).numpy()
    found = features(model, task.test, here, rows=rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[rows], rtol=1e-4, atol=1e-5)
    assert all(module.training for module in model.modules())
    whole, labels = extract_features(model, [(x[:30], y[:30]), (x[30:], y[30:])])
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    assert labels.tolist() == y.tolist()


GRADIENT = {"gradient": {"tau": 0.4}}
HRRL = {"hrrl": {"lam": 0.5, "c": 2.0, "s": 4, "q0": SHARES}}
VARIANTS = {"erm": (None, None), "el": (GRADIENT, None), "cl": (None, HRRL), "hrrl": (GRADIENT, HRRL)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_is_algorithm_1_written_plainly(task, tmp_path, variant):
    """Three epochs of three steps, over both of q's learning rates and three of SGD's: weights, q and all records."""
    example, concept = VARIANTS[variant]
    smoothing = 0.1 if variant in ("erm", "hrrl") else None  # of labels, not of the loss whose gradient moves images
    run = trained_by(method(task, example, concept), task, tmp_path, label_smoothing=smoothing)
    net = reference.Net(smooth())
    settings = {"tau": example["gradient"]["tau"]} if example else {}
    settings |= {"momentum": 0.8, "decay": 0.05, "smoothing": smoothing or 0.0}
    loop = reference.Algorithm1(net, COUNTS, CONCEPTS, **settings | (concept or {}).get("hrrl", {}))
    x, y = reference.digits("test", 6)
    for epoch, row in enumerate(run.history):
        losses = []
        for images, labels, _ in task.train.train_batches(30, AUGMENT, 3, epoch):
            losses += loop.step(images / 255, labels, 0.1 / 10**epoch)
        norms = [norm for *_, norm in loop.trace[3 * epoch :]]
        expected = {"epoch": epoch + 1, "step": 3 * epoch + 3, "lr": 0.1 / 10**epoch, "train_loss": np.mean(losses)}
        expected |= {"q_gradient_mean": np.mean(norms), "q_gradient_max": max(norms)}
        expected |= reference.measured(net, x, y, CONCEPTS, NAMES[:3])
        if concept:
            expected["q_entropy"] = -sum(share * np.log(share) for share in loop.q if share > 0)
            expected |= {f"q_{name}": share for name, share in zip(NAMES, loop.q, strict=False)}
        assert list(row) == list(expected)
        assert row == pytest.approx(expected, rel=2e-4, abs=1e-6)
    assert len(run.history) == len(run.speed) == 3
    same_weights(run.model.backbone, net.net)
    trace = run.trace.arrays()
    np.testing.assert_allclose(trace["terms"], [terms for terms, *_ in loop.trace], rtol=1e-4)
    if concept:
        np.testing.assert_allclose(trace["q"], [q for _, q, _ in loop.trace], atol=1e-5)


class Overflows(torch.amp.GradScaler):
    """The first loss is scaled to infinity, or each."""

    each = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"enabled": True})
        self.factor = math.inf

    def scale(self, loss):
        scaled = super().scale(loss) * self.factor
        self.factor = math.inf if self.each else 1
        return scaled


def test_a_step_that_overflows_is_no_step(task, tmp_path, monkeypatch):
    """Neither of the weights, nor of their momentum, nor of q, nor of the trace."""
    monkeypatch.setattr(torch.amp, "GradScaler", Overflows)
    run = trained_by(method(task, None, HRRL), task, tmp_path)
    loop = reference.Algorithm1(reference.Net(smooth()), COUNTS, CONCEPTS, **HRRL["hrrl"], momentum=0.8, decay=0.05)
    for epoch in range(3):
        for step, (images, labels, _) in enumerate(task.train.train_batches(30, AUGMENT, 3, epoch)):
            if epoch == step == 0:
                loop.net.train()(images / 255)  # whose statistics count
            else:
                loop.step(images / 255, labels, 0.1 / 10**epoch)
    same_weights(run.model.backbone, loop.net.net)
    assert [row["step"] for row in run.history] == [2, 5, 8]
    np.testing.assert_allclose(run.trace.arrays()["q"], [q for _, q, _ in loop.trace], atol=1e-5)


def test_a_run_whose_steps_all_overflow_is_none(task, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.amp, "GradScaler", Overflows)
    monkeypatch.setattr(Overflows, "each", True)
    with pytest.raises(FloatingPointError, match=r"test: every step overflowed; set compute\.precision to bfloat16"):
        trained_by(method(task, None, HRRL), task, tmp_path)


def test_a_weighting_gets_each_steps_own_losses_once_and_without_their_graph(task, tmp_path):
    class Kept(GroupWeighting):
        def __init__(self, counts):
            super().__init__(counts)
            self.calls = []

        def weights(self, concepts, losses=None):
            self.calls.append((concepts, losses))
            return super().weights(concepts, losses)

        def update(self, losses, concepts):
            assert not losses.requires_grad
            before = self.calls[self.t]
            assert torch.equal(before[0], concepts)
            assert torch.equal(before[1], losses)
            super().update(losses, concepts)

    chosen = training.Axes(Perturbation(), Kept(task.counts))
    run = trained_by(chosen, task, tmp_path)
    assert len(chosen.concept.calls) == chosen.concept.t == 9
    assert len({tuple(losses.tolist()) for _, losses in chosen.concept.calls}) == 9
    of_epoch = [losses for _, losses in chosen.concept.calls[6:]]
    assert run.history[2]["train_loss"] == pytest.approx(float(torch.cat(of_epoch).double().mean()), rel=1e-6)


class Draws(Perturbation):
    def __init__(self):
        self.numbers = []

    def __call__(self, model, x, y):
        self.numbers.append(float(torch.rand(())))
        return x


def test_a_perturbations_draws_follow_from_the_seed_and_are_each_steps_own(task, tmp_path):
    def drawn(seed, folder) -> list[float]:
        torch.manual_seed(folder)  # what was drawn before decides nothing
        found = Draws()
        trained_by(training.Axes(found, GroupWeighting(task.counts)), task, tmp_path / str(folder), seed)
        return found.numbers

    first, again, other = drawn(0, 1), drawn(0, 2), drawn(1, 3)
    assert first == again
    assert len({*first, *other}) == 18


def test_each_process_draws_noise_of_its_own(task, tmp_path):
    drawn = []
    for rank in (0, 1):
        with runtime.start(COMPUTE) as here:
            torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
            one = dataclasses.replace(here, rank=rank, world_size=2)
            chosen = training.Axes(Draws(), GroupWeighting(task.counts))
            run = training.Training(Classifier(smooth()), task, chosen, SCHEDULE, one, 3, "test")
            run._epoch(run.model, 0, Checkpoint(tmp_path, {"params": "p"}))
            drawn.append(chosen.example.numbers[-1])
    assert drawn[0] != drawn[1]


def test_q_follows_from_the_trace_to_the_bit(task, tmp_path):
    trace = trained_by(method(task, GRADIENT, HRRL), task, tmp_path).trace.arrays()
    np.testing.assert_array_equal(replay(method(task, concept=HRRL).concept, trace["terms"]), trace["q"])
    assert len({tuple(q) for q in trace["q"]}) == 9


def test_an_epoch_without_a_step_has_rows_of_none(task):
    trace = QHistory(method(task, concept=HRRL).concept)
    trace.load_state_dict(trace.state_dict())  # of a checkpoint before the first step of an epoch
    assert trace.close_epoch() == {}
    assert {(array.shape, array.dtype) for array in trace.arrays().values()} == {((0, 3), np.dtype(float))}


def test_resumed_run_has_the_same_trace(task, tmp_path):
    """Also where it was stopped within an epoch, and went on with more than that one."""
    whole = trained_by(method(task, None, HRRL), task, tmp_path / "whole", epochs=4)
    with pytest.raises(KeyboardInterrupt):
        trained_by(method(task, None, HRRL), task, tmp_path / "cut", status=Told())
    for epochs in (3, 4):
        resumed = trained_by(method(task, None, HRRL), task, tmp_path / "cut", epochs=epochs)
    for name, array in whole.trace.arrays().items():
        np.testing.assert_array_equal(resumed.trace.arrays()[name], array)


def test_smoothness_is_the_largest_eigenvalue_of_a_known_hessian(task, here, monkeypatch):
    """The Hessian of cross-entropy in x is W' (diag p - p p') W, with p the probabilities."""
    torch.manual_seed(0)
    size = next(task.test.eval_batches(1))[0][0].numel()
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(size, len(task.test.classes)))  # in training mode
    monkeypatch.setattr("hrrl.transfer.smoothness.IMAGES", 20)
    monkeypatch.setattr("hrrl.transfer.smoothness.BATCH", 8)
    of_all = losses(model, task.test, here)
    found = smoothness(model.train(), task.test, here, radius=0.01)
    monkeypatch.setattr("hrrl.transfer.smoothness.ITERATIONS", 2)  # of which the second goes by the first
    further = smoothness(model, task.test, here)
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
    for _ in range(2):
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
    thrice = [np.concatenate([those, those[160:], those[160:]]) for those in (values, concepts)]
    np.testing.assert_allclose(variance_factors(*thrice, np.array([160, 40, 0])), found)  # N_k is of training images
    assert np.isnan(variance_factors(np.ones(3), np.zeros(3), np.array([3])))  # all alike
