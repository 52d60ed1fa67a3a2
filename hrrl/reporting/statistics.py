"""What single runs say together: spreads, paired differences, intervals, p-values, power (docs/evidence.md)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes a second to import

Numbers = Sequence[float] | np.ndarray

CONFIDENCE = 0.95
POWER = 0.8
ENOUGH = 5  # seeds; with fewer, nothing is called better or worse
RESAMPLES = 5_000


def spread(values: Numbers) -> dict:
    """{"mean", "std"} of single runs; std is the sample standard deviation, which a single run has not."""
    values = np.asarray(values, dtype=float)
    std = {"std": float(values.std(ddof=1))} if len(values) > 1 else {}
    return {"mean": float(values.mean()), **std}


def paired(a: pd.Series, b: pd.Series) -> dict:
    """{"mean", "low", "high"} of a - b over the seeds (the index) that both have.

    low and high bound the 95% confidence interval of the mean by Student's t; one seed has none.
    """
    differences = (a - b).dropna()
    score, interval = spread(differences), over_seeds(differences)
    return {"mean": score["mean"]} | ({"low": interval[0], "high": interval[1]} if interval else {})


def over_seeds(differences: Numbers) -> tuple[float, float] | None:
    """The 95% interval of the mean of (n,) differences by Student's t with n - 1 degrees of freedom; None for n < 2."""
    mean, error = np.mean(differences), _error(differences)
    if error is None:
        return None
    half = quantile((1 + CONFIDENCE) / 2, len(differences)) * error
    return float(mean - half), float(mean + half)


def over_images(differences: Numbers, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the mean of (n,) differences, one for each image of the test part.

    n images are drawn with replacement 5,000 times. Which of the images with the same difference are drawn makes no
    difference, so the draws are multinomial counts of the distinct values.
    """
    values, counts = np.unique(np.round(differences, 9), return_counts=True)  # equal but for rounding
    n = counts.sum()
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=RESAMPLES)
    low, high = np.quantile(drawn @ values / n, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def p_value(differences: Numbers, margin: float = 0.0) -> float | None:
    """Of the two-sided t-test that the mean of (n,) differences is ``margin``; None for n < 2."""
    error = _error(differences)
    if error is None:
        return None
    distance = abs(float(np.mean(differences)) - margin)
    if error == 0:
        return float(distance == 0)
    return float(2 * special.stdtr(len(differences) - 1, -distance / error))


def holm(p_values: Numbers) -> list[float]:
    """Holm's adjusted p-values (1979), in the given order: of all true hypotheses, one is rejected in 5% of runs."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


def detectable(half_width: float, seeds: int | None = None) -> float:
    """The true difference that a 95% interval of this half width leaves 0 out for in 80% of runs.

    (q(0.975) + q(0.8)) standard errors, where the half width is q(0.975) of them, and q are the quantiles of Student's
    t over ``seeds``, or of the normal distribution where None.
    """
    outer, inner = quantile((1 + CONFIDENCE) / 2, seeds), quantile(POWER, seeds)
    return half_width * (outer + inner) / outer


def quantile(share: float, n: int | None) -> float:
    """Student's t of n runs, or (None) of the normal distribution."""
    return float(special.ndtri(share) if n is None else special.stdtrit(n - 1, share))


def _error(differences: Numbers) -> float | None:
    """The standard error of the mean."""
    n = len(differences)
    return None if n < 2 else float(np.std(differences, ddof=1) / np.sqrt(n))
