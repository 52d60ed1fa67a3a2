"""Theorem 3 against brute force."""

import numpy as np
import pytest

from hrrl import theory


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
