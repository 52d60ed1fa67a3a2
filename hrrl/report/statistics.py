"""What single runs say together: spreads, paired differences, intervals, p-values, power (docs/evidence.md)."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes a second to import

Numbers = Sequence[float] | np.ndarray
Interval = tuple[float, float]

CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2  # the quantile at which a two-sided interval ends
POWER = 0.8
MIN_SEEDS = 2  # seeds: fewer have no spread, and decide nothing
ADVISED_SEEDS = 5  # seeds: with fewer, an interval is right but so wide that a reader is told


def spread(values: Numbers) -> dict:
    """{"mean", "std"} of single runs; std is the sample standard deviation, which needs two runs."""
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


def over_seeds(differences: Numbers, image_error: float = 0.0) -> Interval | None:
    """The 95% interval of the mean of (n,) differences; None for n < 2.

    By Student's t with n - 1 degrees of freedom for other seeds. ``image_error`` is the mean's standard error over
    other test images; the two are independent, their variances add, and with them the squares of their half widths
    (Zou and Donner 2008), each with its own quantile.
    """
    error = seed_error(differences)
    if error is None:
        return None
    half = _half_width((1 - CONFIDENCE) / 2, error, len(differences), image_error)
    mean = float(np.mean(differences))
    return mean - half, mean + half


def over_images(mean: float, image_error: float) -> Interval:
    """The 95% interval of a mean over test images alone, by the normal distribution."""
    half = quantile(UPPER, None) * image_error
    return mean - half, mean + half


def image_error(parts: Numbers, strata: Numbers | None = None) -> float:
    """The standard error of a sum of (n,) parts, one for each test image, over other images of the same kinds.

    ``strata``: the kind of each image, as integers; how many there are of each is taken as given. An accuracy is the
    sum of parts hit / n over images of one kind.
    """
    parts = np.asarray(parts, dtype=float)
    kinds = np.zeros(len(parts)) if strata is None else np.asarray(strata)
    groups = [parts[kinds == kind] for kind in np.unique(kinds)]
    return float(np.sqrt(sum(len(group) * group.var(ddof=1) for group in groups if len(group) > 1)))


def p_value(differences: Numbers, margin: float = 0.0, image_error: float = 0.0) -> float | None:
    """Of the two-sided test that the true mean of (n,) differences is ``margin``; None for n < 2.

    The p for which the interval of :func:`over_seeds` at level 1 - p reaches just to the margin; without a part for
    test images that is the paired t-test's.
    """
    error, n = seed_error(differences), len(differences)
    if error is None:
        return None
    distance = abs(float(np.mean(differences)) - margin)
    if not error and not image_error:
        return float(distance == 0)
    if not image_error:
        return float(2 * special.stdtr(n - 1, -distance / error))
    low, high = 0.0, 0.5  # of the tail; the half width falls from infinity to 0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _half_width(middle, error, n, image_error) > distance else (low, middle)
    return 2 * high


def holm(p_values: Numbers) -> list[float]:
    """Holm's adjusted p-values (1979), in the given order.

    At least one of the true hypotheses is rejected in at most 5% of runs.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


def detectable(seed_error: float, seeds: int, image_error: float = 0.0) -> float:
    """The true difference for which the 95% interval leaves out 0, on its side, in 80% of such runs.

    ``seed_error``: the standard error over ``seeds``; its part by the noncentral t distribution, that of test images by
    the normal one, and their squares add as those of the interval do.
    """
    seed_part = seed_error * special.nctdtrinc(seeds - 1, 1 - POWER, quantile(UPPER, seeds))
    image_part = image_error * (quantile(UPPER, None) + quantile(POWER, None))
    return float(np.hypot(seed_part, image_part))


def seeds_needed(std: float, difference: float, image_error: float = 0.0, most: int = 10_000) -> int | None:
    """The fewest seeds for which ``difference`` is :func:`detectable`, where paired differences have this ``std``.

    None: no number up to ``most`` is enough, as where the test images alone leave more uncertain.
    """
    numbers = range(MIN_SEEDS, most + 1)
    index = bisect_left(numbers, True, key=lambda n: detectable(std / np.sqrt(n), n, image_error) <= difference)
    return numbers[index] if index < len(numbers) else None


def few_seeds(n: int) -> list[str]:
    """What a reader must know of a run with n seeds, where they are few."""
    if n >= ADVISED_SEEDS or n == 0:
        return []
    if n < MIN_SEEDS:
        return ["One seed only: there is no standard deviation, no confidence interval, and no verdict."]
    sizes = [f"{detectable(k**-0.5, k):.1f}" for k in (n, ADVISED_SEEDS)]
    return [
        f"{n} seeds only: intervals are right but wide. To be found in 80% of runs, a difference must be {sizes[0]} "
        f"times as large as differences vary from seed to seed; with {ADVISED_SEEDS} seeds {sizes[1]} times."
    ]


def trend(values: pd.DataFrame | np.ndarray) -> float | None:
    """One-sided p of Page's test (1963) that (seeds, doses) values rise with the dose; exact, seed by seed.

    L is the sum over seeds and doses of dose number times rank; p the share of all orders with an L as large. None
    where there are fewer than three doses. Few doses have few orders: of one seed and four the least p is 1/24.
    """
    seeds, doses = values.shape
    if doses < 3 or not seeds:
        return None
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy()  # equal ones get the mean of their ranks: L is rounded down
    L = int((ranks * np.arange(1, doses + 1)).sum())
    ways = reduce(np.convolve, [_orders(doses)] * seeds)
    return float(ways[L:].sum() / ways.sum())


def _orders(doses: int) -> np.ndarray:
    """How many orders of the ranks 1 .. doses have each value of the sum of dose number times rank.

    By sets of ranks: ways(S) at L is the sum over r in S of ways(S without r) at L - |S| r, as the last dose of S has
    the number |S|.
    """
    ways = [np.eye(doses * (doses + 1) * (2 * doses + 1) // 6 + 1)[0]]  # by the set of ranks, as bits
    for subset in range(1, 2**doses):
        ranks = [rank for rank in range(1, doses + 1) if subset >> (rank - 1) & 1]
        ways.append(sum(np.roll(ways[subset - 2 ** (rank - 1)], len(ranks) * rank) for rank in ranks))
    return ways[-1]


def least_p_of_a_trend(seeds: int, doses: int) -> float:
    """The p of :func:`trend` where all seeds are in perfect order."""
    return float(special.factorial(doses) ** -float(seeds))


def quantile(share: float, n: int | None) -> float:
    """Student's t of n runs, or (None) of the normal distribution."""
    return float(special.ndtri(share) if n is None else special.stdtrit(n - 1, share))


def seed_error(differences: Numbers) -> float | None:
    """The standard error of the mean over seeds; None for fewer than two."""
    n = len(differences)
    return None if n < MIN_SEEDS else float(np.std(differences, ddof=1) / np.sqrt(n))


def _half_width(tail: float, error: float, n: int, image_error: float) -> float:
    return float(np.hypot(quantile(1 - tail, n) * error, quantile(1 - tail, None) * image_error))
