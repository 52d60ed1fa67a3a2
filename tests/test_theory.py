"""Theorem 3 against brute force."""

import numpy as np
import pytest

from hrrl.methods import theory


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


def test_c_of_1_gains_nothing():
    """Where c = 1, the slow start is the plain learning rate and beta is 0 (Section 3.3)."""
    s = 100
    mu = np.sqrt(2 * s / np.log(s))
    assert theory.c(s, mu) == pytest.approx(1)
    assert theory.beta(s, mu) == pytest.approx(0, abs=1e-20)


def test_steps_count_from_one():
    with pytest.raises(ValueError, match="from 1"):
        theory.h(0, 10.0)
    with pytest.raises(ValueError, match="mu"):
        theory.best_s(-1.0)


@pytest.mark.parametrize(("s", "c", "lam"), [(1000, 10.0, 1.0), (100, 3.0, 0.1), (2, 1.5, 10.0)])
def test_implied_mu_is_the_mu_that_asks_for_them(s, c, lam):
    assert theory.c(s, theory.implied_mu(s, c, lam), lam) == pytest.approx(c)
    assert theory.implied_mu(s, c) == theory.implied_mu(s, c, 1.0)
    assert theory.best_s(50.0) == theory.best_s(50.0, 1.0)


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
    slow = min(max(s, 1), T)
    rates = (np.log(slow) / c + np.log(T / slow) + 1) / lam
    expected = (mu**2 / 2 * rates + abs(c - 1) * lam * slow) / T
    assert theory.regret_bound_in_use(T, mu, lam, c, s) == pytest.approx(expected)
    eta = [1 / (lam * t * (c if t <= slow else 1)) for t in range(1, T + 1)]
    assert sum(eta) <= rates + (1 / c if c < 1 else 0) / lam * (np.log(slow) + 1)


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
