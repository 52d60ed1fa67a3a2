"""The regret of q: against brute force, and against Theorem 3's bound."""

import numpy as np
import pytest

from hrrl import theory
from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.regret import gradient_norms, mean_regret, replay

COUNTS, LAM = [60, 30, 10], 0.7
Q0 = np.array(COUNTS) / 100


def losses(T: int) -> np.ndarray:
    """(T, 3) terms that drift, so that the best fixed q changes with T."""
    random = np.random.default_rng(0)
    return random.exponential(1, (T, 3)) * np.linspace([1.5, 0.5, 1], [0.3, 0.8, 2], T)


def objective(terms, q) -> np.ndarray:
    """Sums of L_t over the (T, 3) terms, for each (..., 3) q."""
    return q @ terms.sum(0) - len(terms) * LAM / 2 * ((q - Q0) ** 2).sum(-1)


def test_mean_regret_is_that_of_brute_force():
    terms = losses(40)
    q = replay(ConceptDistribution(COUNTS, LAM, c=2.0, s=10), terms)
    grid = np.array([[a, b, 500 - a - b] for a in range(501) for b in range(501 - a)]) / 500
    for T in (1, 7, 40):
        played = sum(objective(terms[t : t + 1], q[t]) for t in range(T))
        best = objective(terms[:T], grid).max()
        [regret] = mean_regret(terms, q, Q0, LAM, [T])
        assert (best - played) / T <= regret + 1e-12
        assert regret == pytest.approx((best - played) / T, abs=1e-4)


@pytest.mark.parametrize(("c", "s"), [(1.0, 1), (10.0, 100), (3.0, 1000), (0.5, 20)])
def test_regret_stays_below_the_bound(c, s):
    terms, T = losses(2000), np.array([1, 10, 100, 2000])
    q = replay(ConceptDistribution(COUNTS, LAM, c=c, s=s), terms)
    mu = gradient_norms(terms, q, Q0, LAM).max()
    regret = mean_regret(terms, q, Q0, LAM, T)
    assert (regret <= theory.regret_bound_in_use(T, mu, LAM, c, s)).all()
    assert regret[-1] < regret[0]
