"""Linear SVM on frozen features: the score of a pretrained model on a target (section 4, Tables 2 to 4).

The classifier is scikit-learn's ``LinearSVC`` (one-vs-rest, squared hinge loss, L2 penalty, penalised
intercept) on standardised features. C is chosen by stratified cross-validation on the training images, in folds
that depend on labels and seed only and are therefore the same for all models; the classifier is then refit on all
training images, and the test images are scored once.

The fits are by :mod:`hrrl.fast.newton`, or, with hrrl.fast switched off, by ``LinearSVC`` itself.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from hrrl import fast
from hrrl.errors import UserError
from hrrl.fast.newton import TOL, Solution, newton

GRID = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Choice:
    """What :func:`cross_validate` found. Dictionaries have the keys ``f"{C:g}"``."""

    C: float  # the smallest of the best
    edge: bool  # it is the smallest or the largest of the grid: a wider one might do better
    accuracy: float  # of it, in %: the share of training images that are right when their fold is left out
    validation: dict[str, float]  # the same of each C
    converged: dict[str, bool]  # in all folds
    iterations: dict[str, int]  # in all folds together


@dataclass(frozen=True)
class Score:
    """What :func:`evaluate` measured."""

    accuracy: float  # on the test part, in %
    choice: Choice
    converged: bool  # the last fit, on all training images
    n_train: int
    hits: np.ndarray  # (m,) bool: which test images are right


def evaluate(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    grid: Sequence[float] = GRID,
    folds: int = 5,
    seed: int = 0,
    max_iter: int = 1000,
) -> Score:
    """Choose C by cross-validation on the training images, refit on all of them, score the test images once.

    Args:
        train_x, test_x: (n, d) and (m, d) features.
        train_y, test_y: (n,) and (m,) class labels; every test label must occur in training.
        grid, folds, seed, max_iter: as of :func:`cross_validate`.
    Raises:
        UserError: as of :func:`cross_validate`; training and test parts that do not fit together.
    """
    choice = cross_validate(train_x, train_y, grid, folds, seed, max_iter)
    train_x, train_y = _check_part("training", train_x, train_y)
    test_x, test_y = _check_part("test", test_x, test_y)
    if train_x.shape[1] != test_x.shape[1]:
        raise UserError(
            f"svm: {train_x.shape[1]} training and {test_x.shape[1]} test features; use one network for both"
        )
    if len(unknown := np.setdiff1d(test_y, train_y)):
        raise UserError(f"svm: test labels {unknown.tolist()} do not occur in training; give examples of every class")
    (refit,) = fit(train_x, train_y, [choice.C], max_iter)
    hits = refit.predict(test_x) == test_y
    return Score(_percent(hits), choice, refit.converged, len(train_y), hits)


def cross_validate(
    x: np.ndarray, y: np.ndarray, grid: Sequence[float] = GRID, folds: int = 5, seed: int = 0, max_iter: int = 1000
) -> Choice:
    """The C whose classifiers are right most often on the images that they were not fitted to.

    Args:
        x, y: (n, d) features and (n,) class labels.
        grid: values of C; of equally good ones the smallest is taken.
        folds: number of parts, stratified by class; each is left out once.
        seed: of the folds.
        max_iter: most iterations of one fit.
    Raises:
        UserError: features and labels that do not fit together, values that are not finite, fewer images of a class
            than folds, a grid or a number that does not exist.
    """
    grid = _check_settings(grid, max_iter)
    x, y = _check_part("training", x, y)
    hits = np.zeros((len(grid), len(y)), bool)
    converged, iterations = np.ones(len(grid), bool), np.zeros(len(grid), int)
    for fit_rows, left_out in split(y, folds, seed):
        fits = fit(x[fit_rows], y[fit_rows], grid, max_iter)
        for i, model in enumerate(fits):
            hits[i, left_out] = model.predict(x[left_out]) == y[left_out]
            converged[i] &= model.converged
            iterations[i] += model.iterations
    accuracies = [_percent(row) for row in hits]
    best = int(np.argmax(accuracies))  # the first, hence smallest, of equals

    def by_c(values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip([f"{c:g}" for c in grid], values, strict=True))

    return Choice(
        C=grid[best],
        edge=best in (0, len(grid) - 1),
        accuracy=accuracies[best],
        validation=by_c(accuracies),
        converged=by_c(converged.tolist()),
        iterations=by_c(iterations.tolist()),
    )


def split(y: np.ndarray, folds: int = 5, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each fold the rows that fit and the rows left out: stratified, from the labels and the seed alone."""
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"svm: the training part has one class only ({classes[0]}); a classifier needs two")
    if not 2 <= folds <= counts.min():
        raise UserError(
            f"svm.folds: {folds} folds of {len(y)} training images, {counts.min()} of the rarest class "
            f"({classes[counts.argmin()]}); use at least 2 folds, and at most one for each image of a class"
        )
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return list(parts.split(np.zeros(len(y)), y))


def check(classes: Sequence[str], labels: np.ndarray, folds: int, where: str, shots: int | None = None) -> None:
    """Whether :func:`cross_validate` can be asked of so many images of each class, before there are features.

    Args:
        classes: names, which ``labels`` counts.
        where: in a message, whose images they are.
        shots: as of :func:`draws`.
    Raises:
        UserError: one class only, or fewer images of one than folds or shots.
    """
    names = np.array(classes, dtype=object)[labels]
    try:
        split(names[draws(names, shots, 1)[0]], folds)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def draws(y: np.ndarray, shots: int | None, number: int) -> list[np.ndarray]:
    """Several draws of ``shots`` training images of each class, as ascending rows; None: all rows, once.

    They depend on the labels and these two numbers only, and are therefore the same for all models.

    Raises:
        UserError: a class has fewer images.
    """
    if shots is None:
        return [np.arange(len(y))]
    classes, counts = np.unique(y, return_counts=True)
    if shots > counts.min():
        rarest = classes[counts.argmin()]
        raise UserError(f"svm.shots: {shots} images of each class, but class {rarest} has {counts.min()} for training")
    drawn = []
    for rng in (np.random.default_rng([shots, i]) for i in range(number)):
        by_class = [rng.choice(np.flatnonzero(y == c), shots, replace=False) for c in classes]
        drawn.append(np.sort(np.concatenate(by_class)))
    return drawn


@dataclass(frozen=True)
class LinearClassifier:
    """Scaler and one-vs-rest weights: ``coef`` (K, d) and ``intercept`` (K,), on standardised features."""

    scaler: StandardScaler
    classes: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    converged: bool
    iterations: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(m, d) features -> (m,) labels."""
        scores = self.scaler.transform(x) @ self.coef.T + self.intercept
        return self.classes[scores.argmax(axis=1)]


def fit(x: np.ndarray, y: np.ndarray, grid: Sequence[float] = GRID, max_iter: int = 1000) -> list[LinearClassifier]:
    """One classifier for every C of an ascending grid, from (n, d) features, (n,) labels and nothing else."""
    scaler = StandardScaler().fit(x)
    classes, labels = np.unique(y, return_inverse=True)
    solve = newton if fast.is_on() else liblinear
    solutions = solve(scaler.transform(x), labels, grid, max_iter=max_iter)
    return [LinearClassifier(scaler, classes, w[:-1].T, w[-1], converged, steps) for w, converged, steps in solutions]


def liblinear(
    x: np.ndarray, labels: np.ndarray, grid: Sequence[float], tol: float = TOL, max_iter: int = 1000
) -> list[Solution]:
    """What :func:`newton` finds, by scikit-learn's ``LinearSVC``."""
    solutions = []
    for c in grid:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the solution says it
            model = LinearSVC(C=c, dual=False, tol=tol, max_iter=max_iter).fit(x, labels)
        w = np.vstack([model.coef_.T, model.intercept_])
        w = np.hstack([-w, w]) if w.shape[1] == 1 else w  # two classes share one problem
        solutions.append((w, bool(model.n_iter_ < max_iter), int(model.n_iter_)))
    return solutions


def _percent(hits: np.ndarray) -> float:
    return 100.0 * int(hits.sum()) / len(hits)


def _check_settings(grid: Sequence[float], max_iter: int) -> list[float]:
    """The grid, ascending and without repeats."""
    if not len(grid) or not all(0 < c < math.inf for c in grid):
        raise UserError(f"svm.C: {list(grid)} is not a list of values of C; give at least one, all above 0")
    if max_iter < 1:
        raise UserError(f"svm.max_iter: {max_iter} is too few; it is at least 1")
    return sorted({float(c) for c in grid})


def _check_part(part: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part's features as float32, and its labels."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.size:
        raise UserError(f"svm: {part} features {x.shape} and labels {y.shape} do not match; they are (n, d) and (n,)")
    x = x.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise UserError(
            f"svm: {len(bad)} of {len(x)} {part} features are not finite, first in row {bad[0]}; did training diverge?"
        )
    return x, y
