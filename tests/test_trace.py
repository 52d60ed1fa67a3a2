"""What a run records for Theorem 3: against a direct computation, after a kill."""

from dataclasses import replace

import numpy as np
from conftest import SCHEDULE, fit, method
from test_training import GRADIENT, HRRL

from hrrl.methods.q_history import Trace
from hrrl.methods.regret import replay


def test_q_follows_from_the_trace_to_the_bit(task, tmp_path):
    """That its terms are those of the losses, test_reference.py compares with a plain loop."""
    trace = fit(task, tmp_path / "run", method(task, GRADIENT, HRRL)).trace.arrays()
    assert {name: array.shape for name, array in trace.items()} == {"terms": (6, 3), "q": (6, 3)}
    np.testing.assert_array_equal(replay(method(task, concept=HRRL).concept, trace["terms"]), trace["q"])
    assert len({tuple(q) for q in trace["q"]}) == 6


def test_an_epoch_without_a_step_has_rows_of_none(task):
    trace = Trace(method(task, concept=HRRL).concept)
    assert trace.close_epoch() == {}
    assert {name: (a.shape, a.dtype) for name, a in trace.arrays().items()} == dict.fromkeys(
        ("terms", "q"), ((0, 3), np.float64)
    )


def test_resumed_run_has_the_same_trace(task, tmp_path):
    whole, *parts = (replace(SCHEDULE, epochs=epochs) for epochs in (4, 1, 3, 4))
    whole = fit(task, tmp_path / "whole", method(task, None, HRRL), schedule=whole)
    for part in parts:
        resumed = fit(task, tmp_path / "cut", method(task, None, HRRL), schedule=part)
    for name, array in whole.trace.arrays().items():
        np.testing.assert_array_equal(resumed.trace.arrays()[name], array)
