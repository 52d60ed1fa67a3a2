"""Linear SVM on frozen features: the score of a pretrained model on a target (section 4, Tables 2 to 4).

The classifier is scikit-learn's ``LinearSVC`` (one-vs-rest, squared hinge loss, L2 penalty, penalised
intercept) on standardised features. C is chosen on a stratified validation part of the training images, which
depends on labels and seed only and is therefore the same for all models; the classifier is then refit on all
training images, and the test images are scored once.

``LinearSVC`` fits one class after the other, on one core, and each C from zero. The solver here takes its
Newton steps for all classes at once, so that every pass over the features is a matrix product, preconditions
them with the features' Gram matrix, and starts each C at the solution of the one before.
"""

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import ThreadpoolController

from hrrl.errors import UserError

GRID = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
TOL = 1e-4  # LinearSVC's
PATIENCE = 30  # Newton steps without a new smallest gradient: from there on it is rounding
ROWS = 1024  # of features per matrix product: they stay in a core's cache between the two products of a pass


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
    solver: str = "newton",
) -> Score:
    """Choose C on a validation part of the training images, refit on all of them, score the test images once.

    Args:
        train_x, test_x: (n, d) and (m, d) features.
        train_y, test_y: (n,) and (m,) class labels; every test label must occur in training.
        grid: values of C; of equally good ones the smallest is taken.
        validation: share of the training images that chooses C, stratified by class.
        seed: of the split.
        max_iter: most iterations of one fit.
        solver: "newton" (this module's) or "liblinear" (``LinearSVC`` itself: the same classifier, slower).

    Raises:
        UserError: features and labels that do not fit together, values that are not finite, too few examples
            of a class for the split, a grid, share, number of iterations or solver that does not exist.
    """
    grid = _check_settings(grid, validation, max_iter, solver)
    train_x, train_y = _check_part("training", train_x, train_y)
    test_x, test_y = _check_part("test", test_x, test_y)
    _check_classes(train_x, train_y, test_x, test_y)
    fit_rows, val_rows = split(train_y, validation, seed)

    fits = fit(train_x[fit_rows], train_y[fit_rows], grid, max_iter, solver)
    accuracies = [model.accuracy(train_x[val_rows], train_y[val_rows]) for model in fits]
    best = int(np.argmax(accuracies))  # the first, hence smallest, of equals
    (refit,) = fit(train_x, train_y, grid[best : best + 1], max_iter, solver)

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


def fit(
    x: np.ndarray, y: np.ndarray, grid: Sequence[float] = GRID, max_iter: int = 1000, solver: str = "newton"
) -> list[LinearClassifier]:
    """One classifier for every C of an ascending grid, from (n, d) features, (n,) labels and nothing else."""
    scaler = StandardScaler().fit(x)
    classes, labels = np.unique(y, return_inverse=True)
    solutions = SOLVERS[solver](scaler.transform(x), labels, grid, max_iter=max_iter)
    return [LinearClassifier(scaler, classes, w[:-1].T, w[-1], *state) for w, *state in solutions]


Solution = tuple[np.ndarray, bool, int]  # (d + 1, K) weights with the intercepts last; converged; iterations


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


def newton(
    x: np.ndarray, labels: np.ndarray, grid: Sequence[float], tol: float = TOL, max_iter: int = 1000
) -> list[Solution]:
    """Minimise ``1/2 |w_k|^2 + C sum_i max(0, 1 - s_ik w_k.x_i)^2`` for all classes k, for each C in turn.

    s_ik is 1 where example i is of class k, else -1; x gets a constant 1, so that the intercept is penalised
    as it is in ``LinearSVC``. The objective is piecewise quadratic: Newton's method ends after a few steps
    (Keerthi and DeCoste 2005, "A modified finite Newton method for fast solution of large scale linear SVMs").

    Args:
        x: (n, d) standardised features. labels: (n,) in 0..K-1. grid: ascending values of C.
        tol: class k has converged when the norm of its gradient is at most ``tol min(n_k, n - n_k) / n`` of
            what it is at w = 0 (LIBLINEAR's criterion).
        max_iter: most Newton steps for one C.
    """
    n, counts = len(x), np.bincount(labels)
    x = np.hstack([x, np.ones((n, 1))], dtype=np.float32)
    sign = np.where(labels[:, None] == np.arange(len(counts)), np.float32(1), np.float32(-1))
    w, solutions = np.zeros((x.shape[1], len(counts))), []
    with _Rows(n) as rows:
        gram = rows.sum(lambda r: x[r].T @ x[r])
        slope = np.linalg.norm(2 * rows.sum(lambda r: x[r].T @ sign[r]), axis=0)
        limit = tol * np.minimum(counts, n - counts) / n * slope
        for c in grid:
            w, converged, steps = _newton(x, sign, w, c, gram, c * limit, max_iter, rows)
            solutions.append((w, converged, steps))
    return solutions


SOLVERS = {"newton": newton, "liblinear": liblinear}


def _newton(x, sign, w, c, gram, limit, max_iter, rows) -> Solution:
    """Newton steps for one C, from ``w``, of all classes whose gradient is above its limit.

    Gradients are float64, so that they can become small; steps are float32, since the next one mends them.
    A class whose gradient stops falling above its limit is given up, and the fit has not converged.
    """
    w, live, stuck = w.copy(), np.arange(w.shape[1]), 0
    smallest, since = np.full(w.shape[1], np.inf), np.zeros(w.shape[1], dtype=int)  # norm; steps since it was found
    for step in range(max_iter + 1):
        slack, shares = zip(*rows.map(lambda r, v=w[:, live], s=sign[:, live]: _gradient(x[r], s[r], v)), strict=True)
        slack, gradient = np.concatenate(slack), w[:, live] - 2 * c * sum(shares)
        norm = np.linalg.norm(gradient, axis=0)
        since[live] = np.where(norm < smallest[live], 0, since[live] + 1)
        smallest[live] = np.minimum(norm, smallest[live])
        above, hopeless = norm > limit[live], since[live] >= PATIENCE
        stuck += int((above & hopeless).sum())
        todo = above & ~hopeless
        live, slack, gradient = live[todo], slack[:, todo], gradient[:, todo]
        if not len(live) or step == max_iter:
            return w, not len(live) and not stuck, step

        active = (slack > 0).astype(np.float32)
        # The Hessian has the active examples' Gram matrix; a like share of everyone's comes close, at no cost.
        factor = cho_factor(np.eye(len(w)) + 2 * c * active.mean(dtype=np.float64) * gram)

        def hessian(p, active=active):
            p32 = p.astype(np.float32)
            return p + 2 * c * rows.sum(lambda r: x[r].T @ (active[r] * (x[r] @ p32)))

        d = _conjugate_gradients(hessian, -gradient, lambda v, factor=factor: cho_solve(factor, v))
        d = d.astype(np.float32)
        fall = sign[:, live] * np.concatenate(rows.map(lambda r, d=d: x[r] @ d))
        t = _step_lengths(w[:, live], d, slack, fall, gradient, c)
        w[:, live] += t * d


def _gradient(x, sign, w):
    """(b, K) slack of a block's examples, and their (d, K) share of the loss's negative gradient over 2 C."""
    x = x.astype(np.float64)
    slack = 1 - sign * (x @ w)
    return slack, x.T @ (sign * np.maximum(slack, 0))


def _conjugate_gradients(product, b, precondition, tol=0.05, max_iter=200):
    """Solve ``product(x) = b`` for every column of b, all to a residual of at most ``tol |b|``."""
    x, r, p, rho, tiny = np.zeros_like(b), b.copy(), 0.0, 1.0, np.finfo(b.dtype).tiny
    for _ in range(max_iter):
        z = precondition(r)
        rho, before = (r * z).sum(axis=0), rho
        p = z + p * (rho / np.maximum(before, tiny))  # a column that is solved exactly stays so
        q = product(p)
        step = rho / np.maximum((p * q).sum(axis=0), tiny)
        x += step * p
        r -= step * q
        if (np.linalg.norm(r, axis=0) <= tol * np.linalg.norm(b, axis=0)).all():
            break
    return x


def _step_lengths(w, d, slack, fall, gradient, c):
    """(K,) shares of the step d: 1, halved until the objective falls by enough; 0 where it never does."""
    loss = np.maximum(slack, 0)

    def change(t):  # of the objective, as a sum of changes: exact where they are far smaller than it
        after = np.maximum(slack - t * fall, 0)
        return (t * d * (w + t * d / 2)).sum(axis=0) + c * ((after - loss) * (after + loss)).sum(axis=0)

    t, slope = np.ones(w.shape[1]), (gradient * d).sum(axis=0)
    for _ in range(30):
        short = change(t) > 1e-4 * t * slope
        if not short.any():
            return t
        t[short] /= 2
    return np.where(short, 0.0, t)


class _Rows:
    """Blocks of examples, worked on side by side with one BLAS thread each, and put together in their order.

    As many at a time as BLAS would use threads (OMP_NUM_THREADS, threadpool_limits); results do not depend on it.
    """

    def __init__(self, n: int):
        self.blocks = [slice(i, i + ROWS) for i in range(0, n, ROWS)]

    def __enter__(self):
        blas = ThreadpoolController().select(user_api="blas")
        self.pool = ThreadPoolExecutor(max([library.num_threads for library in blas.lib_controllers], default=1))
        self.limit = blas.limit(limits=1)
        return self

    def __exit__(self, *error):
        self.pool.shutdown()
        self.limit.restore_original_limits()

    def map(self, function) -> list:
        """``function(rows)`` of all blocks."""
        return list(self.pool.map(function, self.blocks))

    def sum(self, function) -> np.ndarray:
        """Sum of ``function(rows)`` over all blocks, in float64."""
        return sum(part.astype(np.float64) for part in self.pool.map(function, self.blocks))


def _check_settings(grid: Sequence[float], validation: float, max_iter: int, solver: str) -> list[float]:
    """The grid, ascending and without repeats."""
    if not len(grid) or not all(0 < c < math.inf for c in grid):
        raise UserError(f"svm.C: {list(grid)} is not a list of values of C; give at least one, all above 0")
    if not 0 < validation < 1:
        raise UserError(f"svm.validation: {validation} is not a share; it lies between 0 and 1")
    if max_iter < 1:
        raise UserError(f"svm.max_iter: {max_iter} is too few; it is at least 1")
    if solver not in SOLVERS:
        raise UserError(f"svm.solver: {solver!r} is unknown; it is one of {', '.join(SOLVERS)}")
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
