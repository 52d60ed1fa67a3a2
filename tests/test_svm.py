"""The protocol of the linear SVM, its solver against scikit-learn's, and the search for tau and lam by it."""

from inspect import Parameter, signature

import numpy as np
import pytest
from conftest import refused
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from hrrl import fast
from hrrl.errors import UserError
from hrrl.fast.newton import newton
from hrrl.transfer import search, svm


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
def test_newton_finds_what_linear_svc_finds(parts, classes, monkeypatch):
    """By products and by whole Hessians."""
    x, y, test_x, _ = parts
    y = y % classes  # odd and even digits, or all ten
    scaler = StandardScaler().fit(x)
    z, test_z = scaler.transform(x), scaler.transform(test_x)
    references = [LinearSVC(C=c, dual=False, tol=1e-10, max_iter=100_000).fit(z, y) for c in svm.GRID]
    for direct in (0, 256):
        monkeypatch.setattr("hrrl.fast.newton.DIRECT", direct)
        solutions, models = newton(z, y, svm.GRID, tol=1e-8), svm.fit(x, y, svm.GRID)
        for reference, (w, converged, _), model in zip(references, solutions, models, strict=True):
            w = w if classes > 2 else w[:, 1:]
            scale = np.abs(reference.coef_).max()
            assert converged
            np.testing.assert_allclose(w[:-1].T, reference.coef_, atol=1e-5 * scale)
            np.testing.assert_allclose(w[-1], reference.intercept_, atol=1e-5 * scale)
            assert (model.predict(test_x) != reference.predict(test_z)).sum() <= 1  # at the default tolerance


@pytest.mark.parametrize(("c", "tol"), [(1.0, 1e-9), (1000.0, 1e-4)])
def test_newton_solves_the_objective_as_written(parts, c, tol):
    """Its gradient, in float64, is 0 at the solution; also of many features that say what three of them do."""
    x, y = parts[:2]
    x = x if c == 1 else x[:, [20, 21, 42]] @ np.random.default_rng(0).normal(size=(3, 1280))
    x = StandardScaler().fit_transform(x)
    ((w, converged, _),) = newton(x, y, [c], tol=tol)
    ones = np.hstack([x, np.ones((len(x), 1))], dtype=np.float32).astype(np.float64)
    sign = np.where(y[:, None] == np.arange(10), 1.0, -1.0)
    at_zero = np.linalg.norm(2 * c * ones.T @ sign, axis=0)
    gradient = w - 2 * c * ones.T @ (sign * np.maximum(1 - sign * (ones @ w), 0))
    assert converged
    assert (np.linalg.norm(gradient, axis=0) < tol * at_zero).all()


def test_the_scaler_sees_the_fitting_part_only(parts):
    """One wild image flattens all others in the folds where the scaler sees it, and costs itself alone in its own."""
    x, y = parts[0].copy(), parts[1]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    x[next(folds.split(x, y))[1][0]] *= 1e6

    def accuracy(model, features):
        return 100 * (cross_val_predict(model, features, y, cv=folds) == y).mean()

    plain = LinearSVC(C=0.01, dual=False)
    expected = accuracy(make_pipeline(StandardScaler(), plain), x)
    assert svm.cross_validate(x, y, [0.01]).accuracy == pytest.approx(expected, abs=0.5)
    assert accuracy(plain, StandardScaler().fit_transform(x)) < expected - 3


@pytest.mark.parametrize(("seed", "folds", "classes"), [(0, 5, 10), (3, 4, 2)])
def test_a_score_is_that_of_scikit_learns_grid_search(parts, seed, folds, classes):
    """To the bit where the solver is the same: C, its accuracy in each split, and every test image."""
    x, y, test_x, test_y = (part[:400] for part in parts)
    y, test_y = y % classes, test_y % classes
    grid = [0.0003, 0.003, 0.03]
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    pipeline = make_pipeline(StandardScaler(), LinearSVC(dual=False, max_iter=3000))
    search = GridSearchCV(pipeline, {"linearsvc__C": grid}, cv=split).fit(x, y)
    with fast.switched(False):
        score = evaluate((x, y, test_x, test_y), grid=grid[::-1], folds=folds, seed=seed, max_iter=3000)
    accuracies = 100 * search.cv_results_["mean_test_score"]
    assert list(score.choice.validation) == ["0.0003", "0.003", "0.03"]
    assert list(score.choice.validation.values()) == pytest.approx(accuracies)
    assert score.choice.accuracy == pytest.approx(max(accuracies))
    assert search.best_params_["linearsvc__C"] == score.choice.C
    np.testing.assert_array_equal(score.hits, search.predict(test_x) == test_y)
    assert score.accuracy == pytest.approx(100 * search.score(test_x, test_y))
    assert svm.cross_validate(x, y, grid, folds, seed).iterations != score.choice.iterations  # of the other solver
    few, model = slice(397), pipeline.set_params(linearsvc__C=0.003)  # folds of several sizes: each image counts once
    expected = 100 * (cross_val_predict(model, x[few], y[few], cv=split) == y[few]).mean()
    with fast.switched(False):
        assert svm.cross_validate(x[few], y[few], [0.003], folds, seed, 3000).accuracy == pytest.approx(expected)


def test_draws_are_of_each_class_and_the_same_each_time(parts):
    y = parts[1]
    several = svm.draws(y, 20, 3)
    assert [np.bincount(y[rows]).tolist() for rows in several] == [[20] * 10] * 3
    assert len({tuple(rows) for rows in several}) == 3
    assert [tuple(rows) for rows in svm.draws(y.copy(), 20, 2)] == [tuple(rows) for rows in several[:2]]
    assert [len(rows) for rows in svm.draws(y, None, 3)] == [len(y)]
    of_class, n = np.flatnonzero(y == 3), (y == 3).sum()
    drawn = np.array([np.isin(of_class, rows) for rows in svm.draws(y, 20, 300)])
    assert np.abs(drawn.mean(0) - 20 / n).max() < 0.1  # each image as often as any other, and as often beside its next
    assert (drawn[:, 1:] & drawn[:, :-1]).mean() == pytest.approx(20 * 19 / n / (n - 1), abs=0.005)
    with pytest.raises(UserError, match=r"svm.shots: 200 images of each class, but class \d has"):
        svm.draws(y, 200, 1)


def test_the_protocol_is_that_of_the_results():
    """Five folds of seed 0, C = 10^i for i = -3..1; what liblinear is given are scikit-learn's own defaults."""
    assert svm.GRID == (0.001, 0.01, 0.1, 1.0, 10.0)
    for function in (svm.evaluate, svm.cross_validate, svm.split, svm.fit, svm.liblinear):
        defaults = {name: value.default for name, value in signature(function).parameters.items()}
        expected = {"grid": svm.GRID, "folds": 5, "seed": 0, "max_iter": 1000, "tol": LinearSVC().tol}
        given = {name: value for name, value in defaults.items() if value is not Parameter.empty}
        assert given == {name: expected[name] for name in given}


def test_the_fewest_images_that_can_be_split_and_drawn():
    y = np.repeat([4, 7], 3)
    for folds in (2, 3):
        assert len(svm.split(y, folds)) == folds
    assert [len(rows) for rows in svm.draws(y, 3, 2)] == [6, 6]
    assert svm.draws(y, 3, 1)[0].tolist() == list(range(6))
    with pytest.raises(UserError, match=r"svm\.shots: 4 images of each class, but class 7 has 3"):
        svm.draws(np.append(y, 4), 4, 1)
    x = [[0.0, 1.0], [0.1, 1.0], [0.2, 0.9], [1.0, 0.0], [1.0, 0.1], [0.9, 0.2]]
    assert svm.cross_validate(x, y.tolist(), [1.0], folds=3).accuracy == 100


def test_ties_go_to_the_smaller_c_and_edges_are_reported(parts):
    y = parts[1]
    apart = np.eye(10, dtype=np.float32)[y]  # every C separates these
    score = evaluate((apart, y, apart, y), grid=(10.0, 0.1, 1.0))
    assert (score.accuracy, score.choice.C, score.choice.edge) == (100.0, 0.1, True)
    assert len(set(score.choice.validation.values())) == 1
    for grid, edge in (((1e-6, 1e-3, 1e3), False), ((1e-6, 1e-5, 1e-3), True)):
        choice = svm.cross_validate(*parts[:2], grid)
        assert (choice.C, choice.edge) == (1e-3, edge)


def test_newton_stops_where_rounding_ends_its_progress(parts):
    x, y = StandardScaler().fit_transform(parts[0]), parts[1]
    for _, converged, steps in newton(x, y, svm.GRID, tol=0.0, max_iter=10_000):
        assert not converged
        assert steps < 1_000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("newton", [True, False])
def test_convergence_is_reported(parts, newton):
    with fast.switched(newton):
        score = evaluate(parts, max_iter=1)
        long = evaluate(parts, max_iter=10_000)
    assert set(score.choice.converged) == {"0.001", "0.01", "0.1", "1", "10"}
    assert not score.choice.converged["10"]
    assert score.choice.iterations["10"] == 5  # one in each fold
    assert not score.converged
    assert all(long.choice.converged.values())
    assert long.converged


def test_one_fold_that_has_not_converged_is_enough(parts):
    x, y, grid, few = *parts[:2], [1.0, 10.0], 9
    folds = [svm.fit(x[rows], y[rows], grid, few)[1].converged for rows, _ in svm.split(y, seed=1)]
    assert (folds[-1], all(folds)) == (True, False)
    assert not svm.cross_validate(x, y, grid, seed=1, max_iter=few).converged["10"]


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


WRONG = np.ones((1000, 64))
WRONG[7, 3] = np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": ()}, "svm.C"),
        ({"grid": (0.0, 1.0)}, "svm.C"),
        ({"folds": 1}, "svm.folds: 1 folds"),
        ({"max_iter": 0}, "svm.max_iter"),
        ({"train_y": np.r_[np.arange(999) % 9, 9]}, r"svm.folds: 5 folds .* 1 of the rarest class \(9\)"),
        ({"train_y": np.zeros(1000, int)}, "one class"),
        ({"train_y": np.zeros(10, int)}, "do not match"),
        ({"train_x": WRONG}, "1 of 1000 training features are not finite, first in row 7"),
        ({"test_x": WRONG[:797]}, "1 of 797 test features are not finite, first in row 7"),
        ({"train_x": np.zeros((1000, 8, 8))}, r"training features \(1000, 8, 8\) and labels \(1000,\) do not match"),
        ({"train_x": np.zeros((0, 64)), "train_y": np.zeros(0)}, "do not match"),
        ({"grid": (1.0, np.inf)}, "svm.C"),
        ({"test_x": np.zeros((797, 63))}, "63 test features"),
        ({"test_y": np.full(797, 12)}, r"\[12\]"),
    ],
)
def test_bad_input_is_one_clear_line(parts, change, message):
    with refused(message):
        evaluate(parts, **change)


HRRL = {"example": {"gradient": {"tau": "searched"}}, "concept": {"hrrl": {"lam": "searched", "c": 5.0, "s": 3}}}


def cells(scores: dict[str, list[float]]) -> list[dict]:
    """Results of points, one for each seed, on two targets that are ten points apart."""
    return [
        {"tau": tau, "lam": lam, "seed": seed, "targets": {"a": score - 5, "b": score + 5}}
        for name, several in scores.items()
        for tau, lam in [search.parse(name)]
        for seed, score in enumerate(several)
    ]


def test_names_of_points():
    names = ["erm", "tau0.1", "lam10", "tau0.001_lam2.5"]
    assert [search.parse(name) for name in names] == [(None, None), (0.1, None), (None, 10.0), (0.001, 2.5)]
    for name in ("", "tau", "tau0", "lam-1", "tau1e-3", "tau0.1lam1", "lam1_tau1", "tau0.1;touch x"):
        with pytest.raises(ValueError, match=r"takes erm, tau0\.1"):
            search.parse(name)
    assert search.spec((0.1, None), c=10, s=5) == {"example": {"gradient": {"tau": 0.1}}, "concept": None}
    assert search.spec((None, 2.0), c=10, s=5) == {"example": None, "concept": {"hrrl": {"lam": 2.0, "c": 10, "s": 5}}}
    assert search.spec((None, 2.0), c="10/lam", s=5)["concept"] == {"hrrl": {"lam": 2.0, "c": 5.0, "s": 5}}


def test_the_best_mean_over_targets_and_seeds_is_chosen():
    found = cells({"erm": [90, 90], "tau0.1": [70, 80], "tau1": [76, 76], "lam1": [80, 80], "tau1_lam1": [60, 60]})
    el = {"example": {"gradient": {"tau": "searched"}}, "concept": None}
    assert search.filled(el, found) == {"example": {"gradient": {"tau": 1.0}}, "concept": None}
    assert search.filled(HRRL, found)["concept"] == {"hrrl": {"lam": 1.0, "c": 5.0, "s": 3}}
    per_lam = HRRL | {"concept": {"hrrl": HRRL["concept"]["hrrl"] | {"c": "5/lam"}}}
    assert search.filled(per_lam, cells({"tau1_lam0.1": [1]}))["concept"]["hrrl"] == {"lam": 0.1, "c": 50.0, "s": 3}
    uneven = {0.1: (10, 90), 1.0: (49, 49), 0.01: (0, 95)}  # the best by mean, by the worst target, by the best one
    rows = [
        {"tau": tau, "lam": None, "seed": 0, "targets": dict(zip("ab", of, strict=True))} for tau, of in uneven.items()
    ]
    assert list(search.ranking(rows[::-1])) == [(tau, None) for tau in uneven]
    given = {"example": {"gradient": {"tau": 0.5}}, "concept": None}
    assert search.filled(given, found) == given


def test_of_equals_the_nearest_to_erm():
    found = cells({"tau1_lam1": [70], "tau0.1_lam1": [70], "tau0.1_lam10": [70]})
    assert list(search.ranking(found)) == [(0.1, 10.0), (0.1, 1.0), (1.0, 1.0)]
    found = cells({name: [70] for name in ("tau0.1_lam10", "tau0.1", "lam1", "tau1", "lam10", "erm")})
    expected = [(None, None), (None, 10.0), (None, 1.0), (0.1, None), (0.1, 10.0), (1.0, None)]
    assert list(search.ranking(found)) == expected


def test_axes_that_were_searched_alone_are_put_together():
    found = cells({"tau0.1": [70], "tau1": [60], "lam1": [50], "lam10": [55]})
    filled = search.filled(HRRL, found)
    assert (filled["example"]["gradient"]["tau"], filled["concept"]["hrrl"]["lam"]) == (0.1, 10.0)


def test_one_axis_given_and_one_searched():
    half = {"example": {"gradient": {"tau": 0.1}}, "concept": {"hrrl": {"lam": "searched"}}}
    found = cells({"tau0.1_lam1": [50], "tau0.1_lam10": [60], "tau1_lam1": [99]})
    assert search.filled(half, found)["concept"]["hrrl"]["lam"] == 10.0
    assert search.filled(half, cells({"lam1": [50], "lam10": [60], "tau0.1": [99]}))["concept"]["hrrl"]["lam"] == 10.0
    with pytest.raises(UserError, match=r"has none with tau = searched and lam = searched"):
        search.filled(HRRL, cells({"erm": [50], "tau0.1": [60]}))
    with pytest.raises(UserError, match=r"has none with tau = 0\.1"):
        search.filled(half, cells({"tau1_lam1": [99]}))
    with pytest.raises(UserError, match="no other methods"):
        search.filled(half | {"example": {"noise": {"tau": 0.1}}}, found)
