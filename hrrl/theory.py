"""Theorem 3 in functions: see :mod:`hrrl.methods.theory`."""

from hrrl.methods.theory import best_s, beta, c, h, implied_mu, regret_bound, regret_bound_in_use, slow_start

__all__ = ["best_s", "beta", "c", "h", "implied_mu", "regret_bound", "regret_bound_in_use", "slow_start"]
