"""The regret of q: against brute force, and against Theorem 3's bound."""

import numpy as np
import pytest
import reference

from hrrl.methods import theory
from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.regret import gradient_norms, mean_regret, replay

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


def test_the_norms_are_those_of_the_objectives_gradient():
    """By central differences of L_t at q_t, in each of the concepts."""
    terms, h = losses(5), 1e-6
    q = replay(ConceptDistribution(COUNTS, LAM, c=2.0, s=3), terms)
    for t, norm in enumerate(gradient_norms(terms, q, Q0, LAM)):
        steps = h * np.eye(3)
        rise = [objective(terms[t : t + 1], q[t] + step) - objective(terms[t : t + 1], q[t] - step) for step in steps]
        assert norm == pytest.approx(np.linalg.norm(np.array(rise) / (2 * h)), rel=1e-6)


@pytest.mark.parametrize(("c", "s"), [(1.0, 0), (2.0, 3), (5.0, 100)])
def test_a_replay_is_eq_6_step_by_step(c, s):
    terms = losses(8)
    q, expected = Q0.copy(), []
    for t, step in enumerate(terms, 1):
        expected.append(q)
        eta = 1 / (c * LAM * t) if t <= s else 1 / (LAM * t)
        q = reference.projection(q + eta * (step - LAM * (q - Q0)))
    np.testing.assert_allclose(replay(ConceptDistribution(COUNTS, LAM, c=c, s=s), terms), expected, atol=1e-12)


@pytest.mark.parametrize(("c", "s"), [(1.0, 1), (10.0, 100), (3.0, 1000), (0.5, 20)])
def test_regret_stays_below_the_bound(c, s):
    """And below the sum that the proof bounds: of eta_t/2 |g_t|^2, and of |q_t - q*|^2 times what 1/eta_t grows by."""
    terms, numbers = losses(2000), np.array([1, 10, 100, 2000])
    q = replay(ConceptDistribution(COUNTS, LAM, c=c, s=s), terms)
    norms = gradient_norms(terms, q, Q0, LAM)
    t = np.arange(1, 2001)
    inverse = LAM * t * np.where(t <= s, c, 1)
    for T, regret in zip(numbers, mean_regret(terms, q, Q0, LAM, numbers), strict=True):
        best = reference.projection(Q0 + terms[:T].mean(0) / LAM)
        grows = np.diff(inverse[:T], prepend=0) - LAM
        proof = (norms[:T] ** 2 / inverse[:T] / 2).sum() + (grows * ((q[:T] - best) ** 2).sum(1) / 2).sum()
        assert regret <= proof / T + 1e-9
        assert proof / T <= theory.regret_bound_in_use(T, norms.max(), LAM, c, s)
