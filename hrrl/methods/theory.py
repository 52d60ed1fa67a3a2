"""Theorem 3: what a small learning rate in the first s steps of q gains (Section 3.3, Fig. 2).

``mu`` bounds the norm of q's stochastic gradient, ``lam`` is the weight of the regulariser of Eq. 4. All
functions take numbers or NumPy arrays for ``s`` and return the same shape; logarithms are natural.

With gradients of norm up to 20, the bound is tightest where the first 51 learning rates are 3.93 times smaller:

>>> s = best_s(mu=20)
>>> s, round(float(c(s, mu=20)), 2), round(float(beta(s, mu=20)), 1)
(51, 3.93, 436.8)
>>> round(float(regret_bound(T=1000, mu=20, lam=1.0)), 3), round(float(regret_bound(T=1000, mu=20, lam=1.0, s=s)), 3)
(1.582, 1.145)
"""

from typing import TypeVar

import numpy as np
from scipy.special import lambertw

Steps = TypeVar("Steps", float, np.ndarray)

MOST_STEPS = 1e15  # float64 still has every whole number up to here


def h(s: Steps, mu: float, lam: float = 1.0) -> Steps:
    """h(s) = mu sqrt(log(s) / (2 lam)) - sqrt(s lam), the root of beta (Section 3.3, Fig. 2); s >= 1."""
    s = _steps(s)
    return mu * np.sqrt(np.log(s) / (2 * lam)) - np.sqrt(s * lam)


def beta(s: Steps, mu: float, lam: float = 1.0) -> Steps:
    """beta = h(s)^2, by how much the first s steps tighten the bound of Theorem 3 (times T)."""
    return h(s, mu, lam) ** 2


def c(s: Steps, mu: float, lam: float = 1.0) -> Steps:
    """c = (mu / lam) sqrt(log(s) / (2 s)), by which Theorem 3 divides the first s learning rates; it asks for c > 1."""
    s = _steps(s)
    return (mu / lam) * np.sqrt(np.log(s) / (2 * s))


def best_s(mu: float, lam: float = 1.0) -> int:
    """The number of steps s >= 1 that maximises h; at most 10^15, which no run reaches.

    h'(s) = 0 gives s log(s) = mu^2 / (2 lam^2), that is s = exp(W(mu^2 / (2 lam^2))) with Lambert's W, and there
    c = log(s). So a slow start helps (c > 1) only where s > e, which means mu / lam > sqrt(2 e) = 2.33.
    """
    if not (mu > 0 and lam > 0):
        raise ValueError(f"best_s takes mu > 0 and lam > 0, got mu={mu}, lam={lam}")
    optimum = min(np.exp(lambertw((mu / lam) ** 2 / 2).real), MOST_STEPS)
    below, above = max(1, int(np.floor(optimum))), max(1, int(np.ceil(optimum)))
    return below if h(below, mu, lam) >= h(above, mu, lam) else above


def regret_bound(T: float, mu: float, lam: float, s: int | None = None) -> float:
    """The bound of Theorem 3, (mu^2 / (2 lam) (log(T) + 1) - beta) / T, on q's mean regret after T steps.

    Without ``s``, the learning rate is 1 / (lam t) from the start (c = 1) and beta = 0.
    """
    gain = 0.0 if s is None else beta(s, mu, lam)
    return (mu**2 / (2 * lam) * (np.log(T) + 1) - gain) / T


def slow_start(mu: float, lam: float = 1.0) -> tuple[int, float] | tuple[None, None]:
    """The s and c that gain most in Theorem 3; (None, None) where c would not exceed 1: no slow start pays."""
    s = best_s(mu, lam)
    suggested = float(c(s, mu, lam))
    return (s, suggested) if suggested > 1 else (None, None)


def implied_mu(s: Steps, c: float, lam: float = 1.0) -> Steps:
    """The mu for which Theorem 3 asks for just this c and s: c lam sqrt(2 s / log(s)); s >= 2."""
    if np.any(np.asarray(s) < 2):
        raise ValueError(f"Theorem 3 has a c for s of 2 steps and more, got {s}")
    return c * lam * np.sqrt(2 * s / np.log(s))


def regret_bound_in_use(T: Steps, mu: float, lam: float, c: float, s: int) -> Steps:
    """The bound on q's mean regret after T steps for any c and s; at c = c(s) it is that of Theorem 3.

    The proof holds for every c >= 1: (mu^2 / (2 lam) (log(T) + 1 - (1 - 1/c) log(s)) + |c - 1| lam s) / T, with T in
    the place of s as long as T < s. Its least value over c is at c(s), where the terms with s are -beta. For c < 1
    the first s learning rates add up to more: 1/c in the place of 1. Without slow steps (s = 0) c is 1.
    """
    c, slow_steps = (c, np.clip(s, 1, T)) if s else (1.0, 1)
    rates = np.log(T) + max(1, 1 / c) - (1 - 1 / c) * np.log(slow_steps)  # their sum, times lam
    return (mu**2 / (2 * lam) * rates + np.abs(c - 1) * lam * slow_steps) / T


def _steps(s: Steps) -> Steps:
    if np.any(np.asarray(s) < 1):
        raise ValueError(f"s counts steps from 1, got {s}")
    return s
