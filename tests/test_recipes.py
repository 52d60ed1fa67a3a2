"""Recipes beyond the paper's, against formulas, loops, and after a kill; rounds of steps, against whole epochs."""

import math
from dataclasses import fields, replace

import pytest
import torch
from conftest import COMPUTE, SCHEDULE, fit, method, network
from test_training import equal
from training_program import Told

from hrrl.train import models, recipes, runtime, training
from hrrl.train.fixed_step_batches import FixedStepBatches, FixedStepSchedule, in_fixed_steps
from hrrl.train.progress import Callback

RECIPE = {"optimizer": "adamw", "schedule": "cosine", "warmup": 1, "label_smoothing": 0.1, "ema": 0.8, "lr": 0.002}
ROUNDS = {"epochs": None, "warmup": 4, "steps": 8, "eval_every": 4, "milestones": []}


def schedule(**changes) -> recipes.Schedule:
    return replace(SCHEDULE, **changes)


def train(task, folder, settings, status=None, model=None):
    return fit(task, folder, method(task, concept={"hrrl": {"lam": 1.0}}), model, settings, status=status)


class Killed(Callback):
    """After the first epoch."""

    def epoch(self, history, images_per_second):
        raise KeyboardInterrupt


def test_rates_follow_their_formula():
    def rates(**changes):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        set_rate = recipes.learning_rate(optimizer, schedule(lr=0.1, epochs=4, **changes), 5)
        found = []
        for step in range(20):
            set_rate(step)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    assert rates(milestones=[2, 3]) == [0.1] * 10 + [0.1 * 0.1] * 5 + [0.1 * 0.1**2] * 5
    cosine = [0.05 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert rates(milestones=[], schedule="cosine") == pytest.approx(cosine)
    short = rates(milestones=[], schedule="cosine", warmup=0.4)  # epochs, of two steps
    assert short == pytest.approx([0.001, 0.001 + 0.099 / 2, *cosine[2:]])
    warm = rates(milestones=[], schedule="cosine", warmup=1)
    assert warm[:5] == pytest.approx([0.001 + 0.099 * step / 5 for step in range(5)])
    assert warm[5:] == pytest.approx(cosine[5:])
    stepped = rates(milestones=[2, 3], warmup=1)
    assert stepped[5:9] + stepped[10:14] + stepped[15:] == pytest.approx([0.1] * 4 + [0.01] * 4 + [0.001] * 5)


def test_adamw_decays_neither_biases_nor_norms(task):
    groups = recipes.optimizer(network(), schedule(optimizer="adamw")).param_groups
    assert isinstance(recipes.optimizer(network(), schedule(optimizer="adamw")), torch.optim.AdamW)
    decay = {group["weight_decay"]: {parameter.ndim for parameter in group["params"]} for group in groups}
    assert decay == {0.0: {1}, SCHEDULE.weight_decay: {2, 4}}
    vit = models.build("timm/vit_tiny_patch16_224", 4, {"img_size": 32, "embed_dim": 12, "depth": 1})
    groups += (of_vit := recipes.optimizer(vit, schedule(optimizer="adamw")).param_groups)
    (kept,) = ({id(p) for p in group["params"]} for group in of_vit if not group["weight_decay"])
    assert {id(vit.backbone.pos_embed), id(vit.backbone.cls_token)} < kept  # nor what the network excepts
    assert {(group["betas"], group["eps"]) for group in groups} == {((0.9, 0.999), 1e-8)}  # PyTorch's own
    assert {group["lr"] for group in groups} == {SCHEDULE.lr}  # what cosine and warm-up go by
    assert recipes.optimizer(network(), schedule(momentum=0.0)).param_groups[0]["momentum"] == 0
    with runtime.start(replace(COMPUTE, precision="float16")) as here:
        run = training.Training(network(), task, method(task), schedule(optimizer="adamw"), here, 0, "t")
    assert not run.optimizer.state  # SGD's momentum is none of its own


def test_the_average_of_the_weights_is_a_plain_loops_and_takes_their_place(task, tmp_path):
    model = network()
    average = {key: value.clone() for key, value in model.state_dict().items() if value.is_floating_point()}

    class Average(Callback):
        def step(self, losses, trace, names):
            for key, value in average.items():
                average[key] = 0.8 * value + 0.2 * model.state_dict()[key]

    run = train(task, tmp_path, schedule(ema=0.8), Average(), model)
    assert run.result is not run.model
    for key, value in average.items():
        assert torch.allclose(run.result.state_dict()[key], value, atol=1e-6), key
    assert not torch.equal(run.result.backbone.fc.weight, run.model.backbone.fc.weight)


def test_a_recipe_resumes_with_the_same_bytes_and_trains(task, tmp_path):
    settings = schedule(**RECIPE, milestones=[], epochs=3)
    whole = train(task, tmp_path / "whole", settings)
    for end in (Killed(), Told()):  # after an epoch, and within one, where the rate differs from step to step
        with pytest.raises(KeyboardInterrupt):
            train(task, tmp_path / type(end).__name__, settings, end)
        resumed = train(task, tmp_path / type(end).__name__, settings)
        assert equal(whole.result.state_dict(), resumed.result.state_dict())
        assert equal(whole.model.state_dict(), resumed.model.state_dict())
        assert whole.history == resumed.history
    assert whole.history[-1]["train_loss"] < whole.history[0]["train_loss"]


def test_rounds_keep_the_recipe(task):
    given = FixedStepSchedule(**vars(SCHEDULE) | RECIPE | ROUNDS)
    turned, _ = in_fixed_steps(given, task.train)
    of_both = {field.name for field in fields(recipes.Recipe)} - {"warmup", "milestones"}
    assert {name: getattr(turned, name) for name in of_both} == {name: getattr(given, name) for name in of_both}
    assert (turned.warmup, turned.epochs) == (1, 2)
    assert in_fixed_steps(replace(given, warmup=3), task.train)[0].warmup == 3 / 4


def take(source, epochs: range, *process: int) -> list:
    batches = [source.drawn_batches(30, SCHEDULE.augment, 0, epoch, *process) for epoch in epochs]
    return [batch for those in batches for batch in those]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_rounds_are_the_epochs_cut_anew(task, every):
    """An epoch has 3 batches: rounds within one, of one, and over several of them. In the second of three processes."""
    expected = take(task.train, range(7), 1, 3)
    found = take(FixedStepBatches(task.train, every), range(21 // every), 1, 3)
    assert len(found) == 21 // every * every
    for (x, rows, m), (x0, rows0, m0) in zip(found, expected, strict=False):
        assert torch.equal(x, x0)
        assert rows.tolist() == rows0.tolist()
        assert m == m0


def test_training_in_rounds_is_training_in_epochs(task, tmp_path):
    """Rounds of an epoch, or of its 3 steps, are epochs; of 2 steps, the learning rate falls at the same step."""
    states, rounds = {}, {"none": None, "epoch": {"steps": None, "eval_every": None}}
    rounds |= {n: {"steps": 6, "eval_every": n, "milestones": [6 - n]} for n in (3, 2)}
    for every, changes in rounds.items():
        schedule, train = SCHEDULE, task.train
        if changes:
            schedule, train = in_fixed_steps(FixedStepSchedule(**vars(SCHEDULE) | changes), task.train)
        model, chosen = network(), replace(task, train=train)
        run = fit(chosen, tmp_path / str(every), training.erm(chosen), model, schedule)
        states[every] = model.state_dict()
        length = every if changes and changes["steps"] else 3
        assert [row["step"] for row in run.history] == list(range(length, 7, length))
    assert all(
        torch.equal(states["none"][name], states[same][name]) for name in states["none"] for same in ("epoch", 3)
    )
    assert run.history[-1]["lr"] == pytest.approx(SCHEDULE.lr / 10)


def test_several_epochs_are_one_round(task):
    """Four epochs of three steps, evaluated after every second one; the learning rate falls where it did."""
    changes = {"epochs": 4, "steps": None, "eval_every": 2, "milestones": [2]}
    schedule, train = in_fixed_steps(FixedStepSchedule(**vars(SCHEDULE) | changes), task.train)
    assert (schedule.epochs, schedule.milestones, train.steps(schedule.batch_size)) == (2, [1], 6)
    found, expected = take(train, range(2)), take(task.train, range(4))
    assert all(torch.equal(x, x0) for (x, _, _), (x0, _, _) in zip(found, expected, strict=True))
