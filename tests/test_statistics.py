"""What single runs say together, against scipy, definitions that are counted out, and draws whose truth is known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from hrrl.report import statistics


def half_width(tail: float, differences, image_error: float) -> float:
    """Of the interval that leaves out ``tail`` on each side, over other seeds and other test images."""
    of_seeds = stats.t.isf(tail, len(differences) - 1) * stats.sem(differences)
    return (of_seeds**2 + (stats.norm.isf(tail) * image_error) ** 2) ** 0.5


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("image_error", [0.0, 0.3])
def test_intervals_p_values_and_power(n, image_error):
    """p is where an interval ends at the margin; a difference is found where the interval's lower end is above 0."""
    differences, given = np.random.default_rng(n).normal(0.4, 1, n).tolist(), [image_error] if image_error else []
    mean, half = np.mean(differences), half_width(0.025, differences, image_error)
    assert statistics.over_seeds(differences, *given) == pytest.approx((mean - half, mean + half), rel=1e-9)
    for sign, margin in itertools.product((1, -1), (0.0, 0.7, -0.7)):
        shifted = sign * np.array(differences)
        distance = abs(sign * mean - margin)

        def beyond(tail, shifted=shifted, distance=distance):
            return half_width(tail, shifted, image_error) - distance

        expected = 2 * optimize.brentq(beyond, 1e-12, 0.5, xtol=1e-15)
        against = [margin, *given] if margin or given else []
        assert statistics.p_value(shifted, *against) == pytest.approx(expected, rel=1e-6)

    def missed(shift):
        return stats.nct.cdf(stats.t.isf(0.025, n - 1), n - 1, shift) - 0.2

    of_seeds = 3 * optimize.brentq(missed, 0, 50)
    of_images = image_error * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    expected = (of_seeds**2 + of_images**2) ** 0.5
    assert statistics.detectable(3.0, n, *given) == pytest.approx(expected, rel=1e-6)


def test_what_one_seed_and_seeds_that_agree_say():
    assert statistics.over_seeds([1.0], 0.1) is statistics.p_value([1.0], 0.0, 0.1) is None
    assert (statistics.p_value([1.0, 1.0]), statistics.p_value([0.0, 0.0])) == (0.0, 1.0)
    assert (statistics.p_value([1.0, 1.0], 1.0), statistics.p_value([0.0, 0.0], 0.5)) == (1.0, 0.0)
    assert statistics.p_value([0.5, 0.5], 0.1, 0.3) == pytest.approx(2 * stats.norm.sf(0.4 / 0.3))
    assert statistics.p_value([0.5, 0.5], 0.5, 0.3) == pytest.approx(1.0)
    assert statistics.over_seeds([0.5, 0.5], 0.3) == pytest.approx(statistics.over_images(0.5, 0.3))
    assert statistics.over_images(0.5, 0.3) == pytest.approx(stats.norm(0.5, 0.3).interval(0.95))


def test_spreads_and_paired_differences():
    assert statistics.spread([1, 2, 6]) == pytest.approx({"mean": 3.0, "std": 7**0.5})
    assert statistics.spread([4]) == {"mean": 4.0}
    a, b = [10.2, 61.0, 32.0, 83.0, 54.0, 95.0], [80.0, 30.0, 60.0, 10.0]
    pairs = pd.Series(a, range(6)), pd.Series(b, [3, 2, 1, 0])  # by seed, of those that both have
    differences = [0.2, 1.0, 2.0, 3.0]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    expected = {"mean": np.mean(differences), "low": interval.low, "high": interval.high}
    assert statistics.paired(*pairs) == pytest.approx(expected)
    assert statistics.paired(pairs[0][:1], pairs[1]) == {"mean": pytest.approx(0.2)}


def test_the_error_over_images_is_what_other_images_of_the_same_kinds_would_change():
    """Of a mean, by scipy's bootstrap; of a sum over kinds, by the variance of each. An image alone has none."""
    random = np.random.default_rng(1)
    differences = random.choice([-1.0, 0.0, 0.0, 0.0, 0.5, 1.0], 800)
    options = {"n_resamples": 5000, "method": "percentile", "rng": np.random.default_rng(2)}
    expected = stats.bootstrap((differences,), np.mean, **options)
    error = statistics.image_error((differences / 800).tolist())
    assert error == pytest.approx(stats.sem(differences))
    assert error == pytest.approx(expected.standard_error, rel=0.03)
    low, high = expected.confidence_interval
    assert statistics.over_images(differences.mean(), error) == pytest.approx((low, high), abs=0.004)
    hits, kinds = random.choice([0.0, 1.0], 403), random.permutation(np.repeat([0, 7, 2, 3], [100, 300, 2, 1]))
    of_kinds = [hits[kinds == kind] for kind in (0, 7, 2)]
    parts = hits / np.array([len(hits[kinds == kind]) for kind in kinds])
    expected = sum(stats.sem(of_kind) ** 2 for of_kind in of_kinds) ** 0.5
    assert statistics.image_error(parts, kinds.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_an_interval_over_seeds_and_images_covers_the_truth_and_finds_what_is_detectable(n):
    """Both parts equal."""
    random, runs, error = np.random.default_rng(0), 2000, 1 / np.sqrt(n)
    samples = random.normal(0, 1, (runs, n)) + random.normal(0, error, (runs, 1))
    low, high = np.array([statistics.over_seeds(row, error) for row in samples]).T
    assert 0.94 < np.mean((low < 0) & (high > 0)) < 0.99
    found = np.mean(low + statistics.detectable(error, n, error) > 0)
    assert found == pytest.approx(0.8, abs=0.03)


def test_seeds_that_a_difference_needs():
    assert statistics.seeds_needed(std=1.0, difference=1.0) == 10  # as every table of the paired t-test's power has it
    assert statistics.seeds_needed(1.0, 100.0) == 2
    assert statistics.seeds_needed(1.0, 1.0, image_error=0.2) > 10
    assert statistics.seeds_needed(1.0, 1.0, image_error=0.5) is None  # no number of seeds makes that smaller
    for most, options in ((10_000, {}), (30, {"most": 30})):  # a difference that takes just so many, and one more
        just, more = (statistics.detectable(1 / np.sqrt(n), n) for n in (most, most + 1))
        assert statistics.seeds_needed(1.0, just, **options) == most
        assert statistics.seeds_needed(1.0, more, **options) is None


def test_few_seeds_are_said_to_be_few():
    assert statistics.few_seeds(0) == statistics.few_seeds(5) == []
    [one] = statistics.few_seeds(1)
    assert one == "One seed only: there is no standard deviation, no confidence interval, and no verdict."
    for n, times in ((2, "11.5"), (4, "2.1")):
        power = stats.nct(n - 1, float(times) * n**0.5).sf(stats.t(n - 1).ppf(0.975))
        assert power == pytest.approx(0.8, abs=0.02)
        [said] = statistics.few_seeds(n)
        assert said.startswith(f"{n} seeds only: intervals are right but wide.")
        assert f"must be {times} times as large" in said


def counted(values) -> float:
    """Page's test by definition: of all orders of every seed's doses, the share that rises as much, rounded down."""
    seeds, doses = np.shape(values)
    numbers = range(1, doses + 1)
    found = sum(n * rank for row in values for n, rank in zip(numbers, stats.rankdata(row), strict=True))
    sums = [sum(n * rank for n, rank in zip(numbers, order, strict=True)) for order in itertools.permutations(numbers)]
    return np.mean([sum(those) >= int(found) for those in itertools.product(sums, repeat=seeds)])


def test_a_trend_is_pages_exact_test():
    random = np.random.default_rng(0)
    for seeds, doses in [(1, 3), (2, 3), (3, 3), (1, 4), (2, 4), (1, 5)]:
        for values in (random.normal(size=(seeds, doses)) + np.arange(doses), random.integers(0, 3, (seeds, doses))):
            assert statistics.trend(values) == pytest.approx(counted(values)), values  # whole numbers have ties
        rising = np.tile(np.arange(doses), (seeds, 1))
        assert statistics.trend(rising) == pytest.approx(statistics.least_p_of_a_trend(seeds, doses))
        assert statistics.trend(-rising) == pytest.approx(1.0)
    many = random.normal(size=(4, 6)) + np.arange(6) / 2
    assert statistics.trend(many) == pytest.approx(stats.page_trend_test(many, method="exact").pvalue)
    assert statistics.trend(np.ones((2, 2))) is statistics.trend(np.ones((0, 4))) is None


def closed_testing(p: list[float]) -> list[float]:
    """By definition: the largest Bonferroni p-value of all the sets that a hypothesis is in."""
    numbers = range(len(p))
    sets = [s for n in range(1, len(p) + 1) for s in itertools.combinations(numbers, n)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in numbers]


@pytest.mark.parametrize("seed", range(5))
def test_holms_correction_is_closed_testing_with_bonferroni(seed):
    random = np.random.default_rng(seed)
    p = [*(random.random(4) ** 3), 0.01, 0.01, 0.9][: 7 - seed]
    assert statistics.holm(p) == pytest.approx(closed_testing(p), rel=1e-12)
    assert statistics.holm([]) == []
