"""Rounds of a number of steps: the batches of whole epochs, in their order."""

from dataclasses import replace

import pytest
import torch
from conftest import SCHEDULE, fit, network

from hrrl.train import training
from hrrl.train.fixed_step_batches import Rounds, RoundSchedule, in_rounds


def take(source, epochs: range) -> list:
    batches = [source.drawn_batches(30, SCHEDULE.augment, 0, epoch) for epoch in epochs]
    return [batch for those in batches for batch in those]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_rounds_are_the_epochs_cut_anew(task, every):
    """An epoch has 3 batches: rounds within one, of one, and over several of them."""
    expected = take(task.train, range(7))
    found = take(Rounds(task.train, every), range(21 // every))
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
            schedule, train = in_rounds(RoundSchedule(**vars(SCHEDULE) | changes), task.train)
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
    schedule, train = in_rounds(RoundSchedule(**vars(SCHEDULE) | changes), task.train)
    assert (schedule.epochs, schedule.milestones, train.steps(schedule.batch_size)) == (2, [1], 6)
    found, expected = take(train, range(2)), take(task.train, range(4))
    assert all(torch.equal(x, x0) for (x, _, _), (x0, _, _) in zip(found, expected, strict=True))
