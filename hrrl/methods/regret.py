"""The regret of q, which Theorem 3 bounds, on the losses that a run has recorded.

At step t q meets ``L_t(q) = q . g_t - lam/2 ||q - q0||^2``, where ``g_t`` are the (K,) terms
``1/m sum_{j in k} N/N_k l_j`` of Eq. 6 (hrrl/methods/q_history.py); its gradient is that of Eq. 6. Arrays are float64.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.simplex import project_simplex


def replay(distribution: ConceptDistribution, terms: np.ndarray) -> np.ndarray:
    """(T, K): q before each of T steps, when ``distribution`` meets the (T, K) ``terms`` of a run.

    ``distribution`` has made no step yet; it makes T of them here.
    """
    q = np.empty_like(terms)
    for t, step in enumerate(torch.from_numpy(terms)):
        q[t] = distribution.q.numpy()
        distribution.ascend(step)
    return q


def gradient_norms(terms: np.ndarray, q: np.ndarray, q0: np.ndarray, lam: float) -> np.ndarray:
    """(T,) norms of q's stochastic gradient ``g_t - lam (q_t - q0)``; mu of Theorem 3 bounds them."""
    return np.linalg.norm(terms - lam * (q - q0), axis=1)


def mean_regret(
    terms: np.ndarray, q: np.ndarray, q0: np.ndarray, lam: float, T: Sequence[int] | np.ndarray
) -> np.ndarray:
    """``1/T (max_q sum_{t<=T} L_t(q) - sum_{t<=T} L_t(q_t))`` for each of the numbers of steps in ``T``.

    The best fixed q is the projection of ``q0 + 1/(lam T) sum_{t<=T} g_t`` on the simplex.

    Args:
        terms, q: (steps, K), what the run recorded or :func:`replay` gives.
        q0: (K,) reference distribution.
    """
    steps = np.asarray(T)
    cumulative = np.cumsum(_objective(terms, q, q0, lam))
    means = np.cumsum(terms, axis=0)[steps - 1] / steps[:, None]
    best = np.stack([project_simplex(torch.from_numpy(q0 + mean / lam)).numpy() for mean in means])
    return _objective(means, best, q0, lam) - cumulative[steps - 1] / steps


def _objective(terms: np.ndarray, q: np.ndarray, q0: np.ndarray, lam: float) -> np.ndarray:
    return (q * terms).sum(1) - lam / 2 * ((q - q0) ** 2).sum(1)
