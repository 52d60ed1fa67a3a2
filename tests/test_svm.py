"""The protocol of the linear SVM, and its solver against scikit-learn's."""

import contextlib

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from hrrl import fast, svm
from hrrl.errors import UserError
from hrrl.fast.newton import newton


@contextlib.contextmanager
def slow():
    """LinearSVC itself."""
    fast.use(False)
    try:
        yield
    finally:
        fast.use(True)


@pytest.fixture(scope="module")
def parts():
    """Handwritten digits as (train_x, train_y, test_x, test_y), with noise that keeps accuracy off the ceiling."""
    x, y = load_digits(return_X_y=True)
    x = (x + np.random.default_rng(0).normal(0, 6, x.shape)).astype(np.float32)
    return x[:1000], y[:1000], x[1000:], y[1000:]


def evaluate(parts, **changes):
    names = ("train_x", "train_y", "test_x", "test_y")
    return svm.evaluate(**(dict(zip(names, parts, strict=True)) | changes))


@pytest.mark.parametrize("classes", [2, 10])
def test_newton_finds_what_linear_svc_finds(parts, classes):
    x, y, test_x, _ = parts
    y = y % classes  # odd and even digits, or all ten
    scaler = StandardScaler().fit(x)
    z, test_z = scaler.transform(x), scaler.transform(test_x)
    solutions, models = newton(z, y, svm.GRID, tol=1e-8), svm.fit(x, y, svm.GRID)
    for c, (w, converged, _), model in zip(svm.GRID, solutions, models, strict=True):
        reference = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=100_000).fit(z, y)
        w = w if classes > 2 else w[:, 1:]
        scale = np.abs(reference.coef_).max()
        assert converged
        np.testing.assert_allclose(w[:-1].T, reference.coef_, atol=1e-5 * scale)
        np.testing.assert_allclose(w[-1], reference.intercept_, atol=1e-5 * scale)
        assert (model.predict(test_x) != reference.predict(test_z)).sum() <= 1  # at the default tolerance


def test_newton_solves_the_objective_as_written(parts):
    """Its gradient, in float64, is 0 at the solution."""
    x, y = StandardScaler().fit_transform(parts[0]), parts[1]
    ((w, converged, _),) = newton(x, y, [1.0], tol=1e-9)
    ones = np.hstack([x, np.ones((len(x), 1))]).astype(np.float64)
    sign = np.where(y[:, None] == np.arange(10), 1.0, -1.0)
    at_zero = np.linalg.norm(2 * ones.T @ sign, axis=0)
    gradient = w - 2 * ones.T @ (sign * np.maximum(1 - sign * (ones @ w), 0))
    assert converged
    assert (np.linalg.norm(gradient, axis=0) < 1e-9 * at_zero).all()


def test_both_solvers_give_one_score(parts):
    newton = evaluate(parts)
    with slow():
        liblinear = evaluate(parts, max_iter=10_000)
    assert (newton.C, newton.edge) == (liblinear.C, liblinear.edge)
    assert newton.accuracy == pytest.approx(liblinear.accuracy, abs=0.1)
    assert newton.validation == pytest.approx(liblinear.validation, abs=0.5)  # one of 200 images


def test_c_is_chosen_on_the_validation_part(parts):
    """By a plain loop over the same split; the refit is on all training images."""
    x, y, test_x, test_y = parts
    fit, val = svm.split(y)
    accuracies = [m.accuracy(x[val], y[val]) for m in svm.fit(x[fit], y[fit], svm.GRID)]
    best = int(np.argmax(accuracies))
    score = evaluate(parts)
    assert list(score.validation.values()) == accuracies
    assert (score.C, score.validation_accuracy) == (svm.GRID[best], accuracies[best])
    assert score.accuracy == svm.fit(x, y, [score.C])[0].accuracy(test_x, test_y)
    assert (score.n_train, score.n_test) == (len(y), len(test_y))


def test_the_scaler_sees_the_fitting_part_only(parts):
    """One wild validation image would flatten all others if the scaler saw it; it costs at most itself."""
    _, val = svm.split(parts[1])
    wild = parts[0].copy()
    wild[val[0]] *= 1e6
    before, after = evaluate(parts), evaluate(parts, train_x=wild)
    assert after.validation == pytest.approx(before.validation, abs=100 / len(val) + 1e-9)
    assert after.iterations | {"refit": 0} == before.iterations | {"refit": 0}


def test_nothing_but_accuracy_depends_on_the_test_part(parts):
    _, _, test_x, test_y = parts
    score, other = evaluate(parts), evaluate(parts, test_x=test_x[:300] * 1e6, test_y=(test_y[:300] + 1) % 10)
    for name in ("C", "validation_accuracy", "validation", "edge", "converged", "iterations"):
        assert getattr(score, name) == getattr(other, name)
    wrong = evaluate(parts, test_y=(test_y + 1) % 10)
    assert score.accuracy > 70 > 20 > wrong.accuracy


def test_the_split_depends_on_labels_and_seed_only(parts):
    y = parts[1]
    fit, val = svm.split(y, 0.2, seed=3)
    assert sorted([*fit, *val]) == list(range(len(y)))
    assert np.abs(np.bincount(y[val]) - 0.2 * np.bincount(y)).max() <= 1  # stratified
    np.testing.assert_array_equal(val, svm.split(y.copy(), 0.2, seed=3)[1])
    assert not np.array_equal(val, svm.split(y, 0.2, seed=4)[1])
    assert evaluate(parts, seed=3).validation != evaluate(parts, seed=4).validation


def test_ties_go_to_the_smaller_c_and_edges_are_reported(parts):
    y = parts[1]
    apart = np.eye(10, dtype=np.float32)[y]  # every C separates these
    score = evaluate((apart, y, apart, y), grid=(10.0, 0.1, 1.0))
    assert (score.accuracy, score.C, score.edge) == (100.0, 0.1, True)
    inner = evaluate(parts, grid=(1e-6, 1e-3, 1e3))
    assert (inner.C, inner.edge) == (1e-3, False)


def test_newton_stops_where_rounding_ends_its_progress(parts):
    x, y = StandardScaler().fit_transform(parts[0]), parts[1]
    for _, converged, steps in newton(x, y, svm.GRID, tol=0.0, max_iter=10_000):
        assert not converged
        assert steps < 1_000


@pytest.mark.parametrize("solver", [contextlib.nullcontext, slow], ids=["newton", "liblinear"])
def test_convergence_is_reported(parts, solver):
    with solver():
        score = evaluate(parts, max_iter=1)
        long = evaluate(parts, max_iter=10_000)
    assert set(score.converged) == {"0.001", "0.01", "0.1", "1", "10", "refit"}
    assert not score.converged["10"]
    assert score.iterations["10"] == 1
    assert all(long.converged.values())


def test_scores_do_not_depend_on_the_number_of_threads(parts):
    x = np.tile(parts[0], (4, 1)) + np.random.default_rng(1).normal(0, 6, (4000, 64)).astype(np.float32)
    y = np.tile(parts[1], 4)  # 4,000 images are several blocks
    with threadpool_limits(1):
        one = svm.fit(x, y, svm.GRID)
    with threadpool_limits(2):
        two = svm.fit(x, y, svm.GRID)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.coef, b.coef)
        np.testing.assert_array_equal(a.intercept, b.intercept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": ()}, "svm.C"),
        ({"grid": (0.0, 1.0)}, "svm.C"),
        ({"validation": 1.0}, "svm.validation"),
        ({"validation": 0.005}, "too few"),
        ({"max_iter": 0}, "svm.max_iter"),
        ({"train_y": np.r_[np.arange(999) % 9, 9]}, "too few"),
        ({"train_y": np.zeros(1000, int)}, "one class"),
        ({"train_y": np.zeros(10, int)}, "do not match"),
        ({"train_x": np.full((1000, 64), np.nan)}, "not finite"),
        ({"test_x": np.zeros((797, 63))}, "63 test features"),
        ({"test_y": np.full(797, 12)}, r"\[12\]"),
    ],
)
def test_bad_input_is_one_clear_line(parts, change, message):
    with pytest.raises(UserError, match=message) as error:
        evaluate(parts, **change)
    assert "\n" not in str(error.value)
