"""Newton steps for all classes of a linear SVM at once: what ``LinearSVC`` finds, many times as fast.

``LinearSVC`` fits one class after the other, on one core, and each C from zero. Here every pass over the features is a
matrix product for all classes, and each C starts at the solution of the one before. A step solves each class's own
Hessian where features are few; where they are many, conjugate gradients do without it, preconditioned with the Gram
matrix of all.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, cast

import numpy as np
from scipy.linalg import cho_factor
from scipy.linalg.lapack import dpotrs
from threadpoolctl import ThreadpoolController

TOL = 1e-4  # LinearSVC's
PATIENCE = 30  # Newton steps without a new smallest gradient: from there on it is rounding
DIRECT = 256  # features up to which a class's Hessian is worked out: beyond, products with it are faster
ROWS = 1024  # of features per matrix product: they stay in a core's cache between the two products of a pass

T = TypeVar("T")
Linear = Callable[[np.ndarray], np.ndarray]
Solution = tuple[np.ndarray, bool, int]  # (d + 1, K) weights with the intercepts last; converged; iterations


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
        gram = rows.sum(lambda x: x.T @ x, x)
        start_norm = np.linalg.norm(2 * rows.sum(lambda x, sign: x.T @ sign, x, sign), axis=0)  # at w = 0, for C = 1
        limit = tol * np.minimum(counts, n - counts) / n * start_norm
        for c in grid:
            w, converged, steps = _newton(x, sign, w, c, gram, c * limit, max_iter, rows)
            solutions.append((w, converged, steps))
    return solutions


def _newton(
    x: np.ndarray,
    sign: np.ndarray,
    w: np.ndarray,
    c: float,
    gram: np.ndarray,
    limit: np.ndarray,
    max_iter: int,
    rows: "_Rows",
) -> Solution:
    """Newton steps for one C, from ``w``, of all classes whose gradient is above its limit.

    Gradients are float64, so that they can become small; steps are float32, since the next one corrects them.
    A class whose gradient stops falling above its limit is given up, and the fit has not converged.
    """
    w, open_classes, n_given_up = w.copy(), np.arange(w.shape[1]), 0
    smallest_norm = np.full(w.shape[1], np.inf)  # of each class's gradient so far
    steps_since = np.zeros(w.shape[1], dtype=int)  # it was found
    step = 0
    while True:
        slacks, parts = zip(*rows.map(partial(_gradient, w[:, open_classes]), x, sign[:, open_classes]), strict=True)
        slack, gradient = np.concatenate(slacks), w[:, open_classes] - 2 * c * sum(parts)
        norm = np.linalg.norm(gradient, axis=0)
        steps_since[open_classes] = np.where(norm < smallest_norm[open_classes], 0, steps_since[open_classes] + 1)
        smallest_norm[open_classes] = np.minimum(norm, smallest_norm[open_classes])
        above_limit, stalled = norm > limit[open_classes], steps_since[open_classes] >= PATIENCE
        n_given_up += int((above_limit & stalled).sum())
        stay = above_limit & ~stalled
        open_classes, slack, gradient = open_classes[stay], slack[:, stay], gradient[:, stay]
        if not len(open_classes) or step == max_iter:
            return w, not len(open_classes) and not n_given_up, step

        active = slack > 0
        solve = _directly if len(w) <= DIRECT else _iteratively
        d = solve(x, active, -gradient, c, gram, rows).astype(np.float32)
        slack_drop = sign[:, open_classes] * rows.product(x, d)
        t = _step_lengths(w[:, open_classes], d, slack, slack_drop, gradient, c)
        w[:, open_classes] += t * d
        step += 1


def _gradient(w: np.ndarray, x: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(b, K) slack of a block's examples, and their (d, K) share of the loss's negative gradient over 2 C."""
    x = x.astype(np.float64)
    slack = 1 - sign * (x @ w)
    return slack, x.T @ (sign * np.maximum(slack, 0))


def _directly(
    x: np.ndarray, active: np.ndarray, b: np.ndarray, c: float, gram: np.ndarray, rows: "_Rows"
) -> np.ndarray:
    """(d, K) Newton steps by each class's own Hessian, ``I + 2 C X_A' X_A`` of its active examples A."""

    def grams(x: np.ndarray, active: np.ndarray) -> np.ndarray:
        return np.stack([x[mask].T @ x[mask] for mask in active.T])

    steps = np.linalg.solve(np.eye(len(b)) + 2 * c * rows.sum(grams, x, active), b.T[:, :, None])
    return cast(np.ndarray, steps[:, :, 0].T)


def _iteratively(
    x: np.ndarray, active: np.ndarray, b: np.ndarray, c: float, gram: np.ndarray, rows: "_Rows"
) -> np.ndarray:
    """The same without a Hessian, which on many features costs more than the products with it."""
    weights = active.astype(np.float32)
    # The Hessian has the active examples' Gram matrix; the same share of all examples' comes close, at no cost.
    share = 2 * c * weights.mean(dtype=np.float64)
    try:
        factor, lower = cho_factor(np.eye(len(b)) + share * gram)
    except np.linalg.LinAlgError:  # of nearly collinear features, float32's rounding may outweigh the identity
        gram = rows.sum(lambda x: x.T.astype(np.float64) @ x, x)
        factor, lower = cho_factor(np.eye(len(b)) + share * gram)

    def hessian(p: np.ndarray) -> np.ndarray:
        p32 = p.astype(np.float32)
        return p + 2 * c * rows.sum(lambda x, weights: x.T @ (weights * (x @ p32)), x, weights)

    def precondition(r: np.ndarray) -> np.ndarray:
        # cho_solve would check its arguments each time, for longer than this takes on a small target.
        return cast(np.ndarray, dpotrs(factor, r, lower=lower)[0])

    return _conjugate_gradients(hessian, b, precondition)


def _conjugate_gradients(
    product: Linear, b: np.ndarray, precondition: Linear, tol: float = 0.05, max_iter: int = 200
) -> np.ndarray:
    """Solve ``product(x) = b`` for every column of b, all to a residual of at most ``tol |b|``."""
    x, r, p, rho, tiny = np.zeros_like(b), b.copy(), 0.0, 1.0, np.finfo(b.dtype).tiny
    limit = tol * np.linalg.norm(b, axis=0)
    for _ in range(max_iter):
        z = precondition(r)
        rho, previous_rho = (r * z).sum(axis=0), rho
        p = z + p * (rho / np.maximum(previous_rho, tiny))  # a column that is solved exactly stays so
        q = product(p)
        step = rho / np.maximum((p * q).sum(axis=0), tiny)
        x += step * p
        r -= step * q
        if (np.linalg.norm(r, axis=0) <= limit).all():
            break
    return x


def _step_lengths(
    w: np.ndarray, d: np.ndarray, slack: np.ndarray, slack_drop: np.ndarray, gradient: np.ndarray, c: float
) -> np.ndarray:
    """(K,) shares of the step d: 1, halved until the objective falls by enough; 0 where it never does."""
    loss = np.maximum(slack, 0)

    def change(t: np.ndarray) -> np.ndarray:
        # Of the objective, as a sum of changes: exact where they are far smaller than it.
        new_loss = np.maximum(slack - t * slack_drop, 0)
        return (t * d * (w + t * d / 2)).sum(axis=0) + c * ((new_loss - loss) * (new_loss + loss)).sum(axis=0)

    t, slope = np.ones(w.shape[1]), (gradient * d).sum(axis=0)
    for _ in range(30):
        too_long = change(t) > 1e-4 * t * slope
        if not too_long.any():
            return t
        t[too_long] /= 2
    return np.where(too_long, 0.0, t)


class _Rows:
    """Blocks of examples, worked on in parallel with one BLAS thread each, and combined in their order.

    As many at a time as BLAS would use threads (OMP_NUM_THREADS, threadpool_limits); results do not depend on it.
    """

    def __init__(self, n: int):
        self.blocks = [slice(i, i + ROWS) for i in range(0, n, ROWS)]

    def __enter__(self) -> "_Rows":
        blas = ThreadpoolController().select(user_api="blas")
        threads = max([library.num_threads for library in blas.lib_controllers], default=1)
        self.pool = ThreadPoolExecutor(threads)
        # To hand a small block to a thread and wait for it takes longer than its products.
        self.each = self.pool.map if threads > 1 < len(self.blocks) else map
        self.limit = blas.limit(limits=1)
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()
        self.limit.restore_original_limits()

    def map(self, function: Callable[..., T], *arrays: np.ndarray) -> Iterator[T]:
        """``function`` of each block of the arrays' examples."""
        return self.each(function, *([array[rows] for rows in self.blocks] for array in arrays))

    def product(self, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        """``x @ d``."""
        return np.concatenate(list(self.map(lambda x: x @ d, x)))

    def sum(self, function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
        """Sum of ``function`` over all blocks, in float64."""
        return cast(np.ndarray, sum(part.astype(np.float64) for part in self.map(function, *arrays)))
