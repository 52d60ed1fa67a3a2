"""Linear SVM on frozen features: the score of a pretrained model on a target (section 4, Tables 2 to 4).

The classifier is scikit-learn's ``LinearSVC`` (one-vs-rest, squared hinge loss, L2 penalty, penalised
intercept) on standardised features. C is chosen on a stratified validation part of the training images, which
depends on labels and seed only and is therefore the same for all models; the classifier is then refit on all
training images, and the test images are scored once.

The fits are by :mod:`hrrl.fast.newton`, or, with hrrl.fast switched off, by ``LinearSVC`` itself.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from hrrl import fast
from hrrl.errors import UserError
from hrrl.fast.newton import TOL, Solution, newton

GRID = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Score:
    """What :func:`evaluate` measured. Dictionaries have the keys ``f"{C:g}"``, and "refit" for the last fit."""

    accuracy: float  # on the test part, in %
    validation_accuracy: float  # of the chosen C, in %
    C: float
    edge: bool  # the chosen C is the smallest or the largest of the grid: a wider one might do better
    validation: dict[str, float]  # accuracy of each C on the validation part, in %
    converged: dict[str, bool]
    iterations: dict[str, int]
    n_train: int
    n_test: int


def evaluate(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    grid: Sequence[float] = GRID,
    validation: float = 0.2,
    seed: int = 0,
    max_iter: int = 1000,
) -> Score:
    """Choose C on a validation part of the training images, refit on all of them, score the test images once.

    Args:
        train_x, test_x: (n, d) and (m, d) features.
        train_y, test_y: (n,) and (m,) class labels; every test label must occur in training.
        grid: values of C; of equally good ones the smallest is taken.
        validation: share of the training images that chooses C, stratified by class.
        seed: of the split.
        max_iter: most iterations of one fit.

    Raises:
        UserError: features and labels that do not fit together, values that are not finite, too few examples
            of a class for the split, a grid, share or number of iterations that does not exist.
    """
    grid = _check_settings(grid, validation, max_iter)
    train_x, train_y = _check_part("training", train_x, train_y)
    test_x, test_y = _check_part("test", test_x, test_y)
    _check_classes(train_x, train_y, test_x, test_y)
    fit_rows, val_rows = split(train_y, validation, seed)

    fits = fit(train_x[fit_rows], train_y[fit_rows], grid, max_iter)
    accuracies = [model.accuracy(train_x[val_rows], train_y[val_rows]) for model in fits]
    best = int(np.argmax(accuracies))  # the first, hence smallest, of equals
    (refit,) = fit(train_x, train_y, grid[best : best + 1], max_iter)

    keys = [f"{c:g}" for c in grid] + ["refit"]
    return Score(
        accuracy=refit.accuracy(test_x, test_y),
        validation_accuracy=accuracies[best],
        C=grid[best],
        edge=best in (0, len(grid) - 1),
        validation=dict(zip(keys, accuracies, strict=False)),
        converged={key: model.converged for key, model in zip(keys, [*fits, refit], strict=True)},
        iterations={key: model.iterations for key, model in zip(keys, [*fits, refit], strict=True)},
        n_train=len(train_y),
        n_test=len(test_y),
    )


def split(y: np.ndarray, validation: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows that fit and rows that choose C: stratified, from the labels and the seed alone."""
    n_val = math.ceil(len(y) * validation)
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2 or n_val < len(classes) or len(y) - n_val < len(classes):
        raise UserError(
            f"svm.validation: {len(y)} training images of {len(classes)} classes, {counts.min()} of the "
            f"rarest ({classes[counts.argmin()]}), are too few to set {validation:g} of them apart by class; "
            "use at least 2 images of every class and one per class on either side of the split"
        )
    fit, val = train_test_split(np.arange(len(y)), test_size=n_val, random_state=seed, stratify=y)
    return np.sort(fit), np.sort(val)


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

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """Share of right labels, in %."""
        return 100.0 * int((self.predict(x) == y).sum()) / len(y)


def fit(x: np.ndarray, y: np.ndarray, grid: Sequence[float] = GRID, max_iter: int = 1000) -> list[LinearClassifier]:
    """One classifier for every C of an ascending grid, from (n, d) features, (n,) labels and nothing else."""
    scaler = StandardScaler().fit(x)
    classes, labels = np.unique(y, return_inverse=True)
    solve = newton if fast.is_on() else liblinear
    solutions = solve(scaler.transform(x), labels, grid, max_iter=max_iter)
    return [LinearClassifier(scaler, classes, w[:-1].T, w[-1], *state) for w, *state in solutions]


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


def _check_settings(grid: Sequence[float], validation: float, max_iter: int) -> list[float]:
    """The grid, ascending and without repeats."""
    if not len(grid) or not all(0 < c < math.inf for c in grid):
        raise UserError(f"svm.C: {list(grid)} is not a list of values of C; give at least one, all above 0")
    if not 0 < validation < 1:
        raise UserError(f"svm.validation: {validation} is not a share; it lies between 0 and 1")
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


def _check_classes(train_x, train_y, test_x, test_y):
    """The two parts belong to one task."""
    if train_x.shape[1] != test_x.shape[1]:
        raise UserError(
            f"svm: {train_x.shape[1]} training and {test_x.shape[1]} test features; use one network for both"
        )
    classes = np.unique(train_y)
    if len(classes) < 2:
        raise UserError(f"svm: the training part has one class only ({classes[0]}); a classifier needs two")
    unknown = np.setdiff1d(test_y, classes)
    if len(unknown):
        raise UserError(f"svm: test labels {unknown.tolist()} do not occur in training; give examples of every class")
