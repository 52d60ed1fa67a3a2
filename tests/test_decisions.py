"""What decides a claim, against scipy and definitions: pairs of seeds, the comparator, intervals, p-values, Holm."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hrrl.report import Results, claims, statistics
from hrrl.report.claims import ENDPOINTS

VARIANTS = {
    "erm": {"example": None, "concept": None},
    "el": {"example": {"gradient": {"tau": 0.5}}, "concept": None},
    "cl": {"example": None, "concept": {"hrrl": {"lam": 1.0}}},
}
SEEDS = range(6)
FIT = {"draw": 0, "validation": 0.0, "C": 1.0, "edge": False, "converged": True}
NOISY, CLEAR = [0.2, 1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 5.1, 4.9, 5.0, 5.2, 4.8]


def results(accuracies: dict[tuple[str, str], list[float]], asked: list[dict], endpoint: str = "svm") -> Results:
    """Of (target, variant): a number for each seed, in an order that is not that of the seeds."""
    rows = [
        {"target": target, "variant": variant, "seed": seed, "accuracy": value}
        for (target, variant), values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    targets = list(dict.fromkeys(target for target, _ in accuracies))
    frames = {"svm": pd.DataFrame([row | FIT for row in rows])}
    if endpoint == "finetune":
        course = [{"step": 1, "train_loss": 1.0, "test_error": row.pop("accuracy")} | row for row in rows]
        frames = {"finetune": pd.DataFrame(course)}
    return Results(
        "d", "el", "b", targets, VARIANTS, list(VARIANTS), shifts=dict.fromkeys(targets, "none"), claims=asked, **frames
    )


def claim(better="el", than="erm", target="a", endpoint="svm") -> dict:
    return {
        "name": f"{better} {target}", "source": "Table 2", "better": better, "than": than, "endpoint": endpoint,
        "target": target,
    }  # fmt: skip


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


def test_what_the_correction_takes_away_is_undecided():
    """Six differences that hold each by itself, and do not together; one that does."""
    zero = [50.0, 40.0, 60.0, 45.0, 55.0, 52.0]
    targets = "abcdefgh"
    accuracies = {(t, "erm"): zero for t in targets}
    for t in targets:
        accuracies[t, "el"] = [z + d for z, d in zip(zero, CLEAR if t in "ah" else NOISY, strict=True)]
    rows = claims(results(accuracies, [claim()]))
    corrected = [row for row in rows if not row["primary"]]
    assert [row["p_holm"] for row in corrected] == pytest.approx(closed_testing([row["p"] for row in corrected]))
    found = {row["target"]: row for row in rows}
    assert (found["h"]["verdict"], found["a"]["verdict"]) == ("holds", "holds")
    for t in "bcdefg":
        assert found[t]["ci95"][0] > 0
        assert found[t]["p"] < 0.05 < found[t]["p_holm"]
        assert found[t]["verdict"] == "undecided"


def test_differences_are_of_the_same_seed_and_of_seeds_that_both_have():
    erm = [10.0, 60.0, 30.0, 80.0, 50.0, 90.0]
    el = [value + d for value, d in zip(erm, NOISY, strict=True)]
    row = claims(results({("a", "erm"): erm, ("a", "el"): el}, [claim()]))[0]
    test = stats.ttest_rel(el, erm)
    interval = test.confidence_interval(0.95)
    assert row["seeds"] == 6
    assert row["difference"] == pytest.approx(np.mean(NOISY))
    assert row["ci95_seeds"] == pytest.approx((interval.low, interval.high))
    assert row["p"] == pytest.approx(test.pvalue)
    fewer = claims(results({("a", "erm"): erm, ("a", "el"): el[:5]}, [claim()]))[0]
    assert fewer["seeds"] == 5
    assert fewer["difference"] == pytest.approx(np.mean(NOISY[:5]))
    pairs = pd.Series(el, range(6)), pd.Series(erm[:4], [3, 2, 1, 0])
    differences = [el[i] - erm[3 - i] for i in range(4)]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    found = statistics.paired(*pairs)
    assert found == pytest.approx({"mean": np.mean(differences), "low": interval.low, "high": interval.high})
    assert statistics.paired(pairs[0][:1], pairs[1]) == {"mean": el[0] - erm[3]}


@pytest.mark.parametrize(("endpoint", "best"), [("svm", "cl"), ("finetune", "erm")])
def test_of_several_the_best_is_what_the_row_shows(endpoint, best):
    """The highest accuracy, and the lowest error; to be better than all is as sure as the least sure of them."""
    numbers = {("a", "erm"): CLEAR, ("a", "cl"): [v + 20 for v in CLEAR], ("a", "el"): [v + 40 for v in NOISY]}
    row = claims(results(numbers, [claim(than=["erm", "cl"], endpoint=endpoint)], endpoint))[0]
    assert row["compared"] == best
    differences = np.array(numbers["a", "el"]) - numbers["a", best]
    assert row["difference"] == pytest.approx(differences.mean())
    each = [np.array(numbers["a", "el"]) - numbers["a", other] for other in ("erm", "cl")]
    assert row["p"] == pytest.approx(max(stats.ttest_1samp(those, 0).pvalue for those in each))
    assert row["verdict"] == ("holds" if endpoint == "svm" else "fails")


def test_the_best_has_the_best_mean_however_many_seeds_it_has():
    numbers = {("a", "erm"): CLEAR, ("a", "cl"): [8.0, 9.0], ("a", "el"): [v + 40 for v in NOISY]}
    row = claims(results(numbers, [claim(than=["erm", "cl"])]))[0]
    assert (row["compared"], row["seeds"]) == ("cl", 2)
    assert {endpoint.sign for endpoint in ENDPOINTS.values()} <= {1, -1}


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize("margin", [0.0, -0.7])
def test_intervals_and_p_values_are_two_sided_students(n, margin):
    differences = np.random.default_rng(n).normal(0.4, 1, n)
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert statistics.over_seeds(differences) == pytest.approx((interval.low, interval.high))
    for sign in (1, -1):
        expected = stats.ttest_1samp(sign * differences, sign * margin).pvalue
        assert statistics.p_value(sign * differences, sign * margin) == pytest.approx(expected)
    assert statistics.spread(differences) == pytest.approx({"mean": differences.mean(), "std": stats.tstd(differences)})
    assert statistics.spread([1, 2, 6]) == pytest.approx({"mean": 3.0, "std": 7**0.5})
    assert statistics.spread([4]) == {"mean": 4.0}
    assert statistics.over_seeds([1.0]) is statistics.p_value([1.0]) is None
    assert (statistics.p_value([1.0, 1.0]), statistics.p_value([0.0, 0.0])) == (0.0, 1.0)
    assert statistics.quantile(0.9, n) == pytest.approx(stats.t(n - 1).ppf(0.9))
    assert statistics.quantile(0.9, None) == pytest.approx(stats.norm.ppf(0.9))
    found = stats.nct(n - 1, statistics.detectable(3.0, n) / 3).sf(stats.t(n - 1).ppf(0.975))
    assert found == pytest.approx(0.8)
