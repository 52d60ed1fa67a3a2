"""Recipes beyond the paper's: each against its formula or a plain loop, and with the same bytes after a kill."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import COMPUTE, SCHEDULE, method, network

from hrrl.train import recipes, runtime, training
from hrrl.train.checkpoint import Checkpoint
from hrrl.train.fixed_step_batches import RoundSchedule, in_rounds
from hrrl.train.progress import Callback

RECIPE = {"optimizer": "adamw", "schedule": "cosine", "warmup": 1, "label_smoothing": 0.1, "ema": 0.8, "lr": 0.002}
ROUNDS = {"epochs": None, "warmup": 4, "steps": 8, "eval_every": 4, "milestones": []}


def schedule(**changes) -> recipes.Schedule:
    return replace(SCHEDULE, **changes)


def train(task, folder, settings, epochs=None, watch=None):
    model = network()
    with runtime.start(COMPUTE) as here:
        run = training.Training(
            model, task, method(task, concept={"hrrl": {"lam": 1.0}}), settings, here, 0, "t", watch
        )
        if epochs:  # as a run that is killed then
            save = run.callback.epoch
            run.callback.epoch = lambda history, speed: save(history, speed) or (len(history) == epochs and stop())
        run.fit(Checkpoint(folder, {"params": "p"}))
    return run


def stop():
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
    with runtime.start(replace(COMPUTE, precision="float16")) as here:
        run = training.Training(network(), task, method(task), schedule(optimizer="adamw"), here, 0, "t")
    assert not run.optimizer.state  # SGD's momentum is none of its own


def test_the_average_of_the_weights_is_a_plain_loops_and_takes_their_place(task, tmp_path):
    class Average(Callback):
        state = None

        def step(self, losses, trace, names):
            now = {key: value.clone() for key, value in run_model().state_dict().items() if value.is_floating_point()}
            before = self.state or {key: value for key, value in network().state_dict().items() if key in now}
            self.state = {key: 0.8 * before[key] + 0.2 * now[key] for key in now}

    watch, models_ = Average(), []

    def run_model():
        return models_[0]

    made = training.Training.__post_init__

    def noted(self):
        made(self)
        models_.append(self.model)

    training.Training.__post_init__ = noted
    try:
        run = train(task, tmp_path, schedule(ema=0.8), watch=watch)
    finally:
        training.Training.__post_init__ = made
    result = run.result.state_dict()
    assert run.result is not run.model
    for key, value in watch.state.items():
        assert torch.allclose(result[key], value, atol=1e-6), key
    assert not torch.equal(result["backbone.fc.weight"], run.model.state_dict()["backbone.fc.weight"])


def test_a_recipe_resumes_with_the_same_bytes_and_trains(task, tmp_path):
    settings = schedule(**RECIPE, milestones=[], epochs=3)
    whole = train(task, tmp_path / "whole", settings, watch=Callback())
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path / "cut", settings, epochs=1, watch=Callback())
    resumed = train(task, tmp_path / "cut", settings, watch=Callback())
    for one, other in ((whole.result, resumed.result), (whole.model, resumed.model)):
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert whole.history == resumed.history
    assert whole.history[-1]["train_loss"] < whole.history[0]["train_loss"]


def test_rounds_keep_the_recipe(task):
    turned, _ = in_rounds(RoundSchedule(**vars(SCHEDULE) | RECIPE | ROUNDS), task.train)
    assert (turned.optimizer, turned.schedule, turned.warmup, turned.epochs) == ("adamw", "cosine", 1, 2)
