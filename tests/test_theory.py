"""Theorem 3 against brute force, and the regret of q against brute force and the theorem's bound."""

import numpy as np
import pytest
import reference

from hrrl.methods import theory
from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.regret import gradient_norms, mean_regret, replay


@pytest.mark.parametrize(("mu", "lam"), [(1.0, 1.0), (2.5, 1.0), (50.0, 1.0), (200.0, 1.0), (30.0, 0.1)])
def test_best_s_maximises_h(mu, lam):
    s = np.arange(1, 200_000)
    assert theory.best_s(mu, lam) == s[theory.h(s, mu, lam).argmax()]


def test_formulas_of_section_3_3():
    s, mu, lam, T = 1000, 150.0, 0.5, 450_000
    assert theory.h(s, mu, lam) == pytest.approx(mu * np.sqrt(np.log(s) / (2 * lam)) - np.sqrt(s * lam))
    assert theory.beta(s, mu, lam) == pytest.approx(theory.h(s, mu, lam) ** 2)
    assert theory.c(s, mu, lam) == pytest.approx(mu / lam * np.sqrt(np.log(s) / (2 * s)))
    plain = theory.regret_bound(T, mu, lam)
    assert plain == pytest.approx(mu**2 / (2 * lam) * (np.log(T) + 1) / T)
    assert theory.regret_bound(T, mu, lam, s) == pytest.approx(plain - theory.beta(s, mu, lam) / T)


@pytest.mark.parametrize(("s", "c", "lam"), [(1000, 10.0, 1.0), (100, 3.0, 0.1), (2, 1.5, 10.0)])
def test_implied_mu_is_the_mu_that_asks_for_them(s, c, lam):
    assert theory.c(s, theory.implied_mu(s, c, lam), lam) == pytest.approx(c)
    assert theory.implied_mu(s, c) == theory.implied_mu(s, c, 1.0)
    assert theory.best_s(50.0) == theory.best_s(50.0, 1.0)
    assert theory.c(s, 50.0) == theory.c(s, 50.0, 1.0)


def test_the_bound_for_any_c_and_s_is_theorem_3s_where_they_match():
    mu, lam, s, T = 150.0, 1.0, 1000, np.array([1000, 450_000])
    matching = theory.c(s, mu, lam)
    bound = theory.regret_bound_in_use(T, mu, lam, matching, s)
    np.testing.assert_allclose(bound, theory.regret_bound(T, mu, lam, s))
    assert (bound < theory.regret_bound_in_use(T, mu, lam, 1.3 * matching, s)).all()
    assert (bound < theory.regret_bound_in_use(T, mu, lam, matching / 1.3, s)).all()
    np.testing.assert_allclose(theory.regret_bound_in_use(T, mu, lam, 1.0, s), theory.regret_bound(T, mu, lam))


@pytest.mark.parametrize("c", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("s", [0, 1, 30, 5000])
def test_the_bound_for_any_c_and_s_is_the_sum_of_the_learning_rates(c, s):
    """mu^2/2 times the sum of eta_t, by the integral of 1/t, and |c - 1| lam for each slow step until T."""
    mu, lam, T = 3.0, 0.7, 1000
    slow = min(s, T)
    rates = np.log(T) / lam if s == 0 else (np.log(slow) / c + np.log(T / slow)) / lam
    rates += (1 / c if s and c < 1 else 1) / lam
    expected = (mu**2 / 2 * rates + abs(c - 1) * lam * slow) / T
    assert theory.regret_bound_in_use(T, mu, lam, c, s) == pytest.approx(expected)
    assert sum(1 / (lam * t * (c if t <= s else 1)) for t in range(1, T + 1)) <= rates


def test_a_slow_start_is_suggested_where_it_pays():
    """Where the best s is above e, that is from mu / lam = sqrt(2 e) on, and c = log(s) about 1."""
    assert theory.slow_start(20.0) == (51, pytest.approx(3.93, abs=0.01))
    assert theory.slow_start(40.0, 2.0) == theory.slow_start(20.0)
    border = np.sqrt(2 * np.e)
    for lam in (0.3, 1.0):
        assert theory.slow_start(0.95 * border * lam, lam) == (None, None)
        s, c = theory.slow_start(1.2 * border * lam, lam)
        assert s >= 3
        assert c == pytest.approx(theory.c(s, 1.2 * border * lam, lam))
        assert c > 1
    mu = np.sqrt(2 * 3 / np.log(3))  # asks for s = 3 and c = 1 to the bit or to rounding
    assert theory.slow_start(0.999 * mu) == (None, None)


def test_the_most_steps_are_whole_numbers():
    assert theory.best_s(1e12) == theory.MOST_STEPS == 10**15
    assert [theory.best_s(mu) for mu in (1e-3, 0.5)] == [1, 1]
    for mu, lam in ((0.0, 1.0), (1.0, 0.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="mu > 0 and lam > 0"):
            theory.best_s(mu, lam)
    for s in (1, np.array([5, 1])):
        with pytest.raises(ValueError, match="2 steps and more"):
            theory.implied_mu(s, 3.0)
    assert theory.h(1, 5.0, 0.25) == -0.5  # log(1) is 0
    for function in (theory.h, theory.c, theory.beta):
        with pytest.raises(ValueError, match="from 1"):
            function(np.array([5, 0]), 10.0)


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
    loop, expected = reference.Algorithm1(None, COUNTS, None, lam=LAM, c=c, s=s), []
    for step in terms:
        expected.append(loop.q)
        loop.move_q((3 * Q0 * step).tolist(), [0, 1, 2])
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
