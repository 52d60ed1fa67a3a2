"""How claims are decided: against scipy where it has the test, else on real digits, classified by several models."""

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from hrrl.params import MEASURED_RUNS
from hrrl.reporting import Results, claims, metrics, runs, statistics, tables
from hrrl.reporting.claims import ENDPOINTS, statement
from hrrl.reporting.page import problems
from hrrl.reporting.premise import concept_losses, target_premise

VARIANTS = {
    "erm": {"example": None, "concept": None},
    "el": {"example": {"gradient": {"tau": 0.5}}, "concept": None},
    "cl": {"example": None, "concept": {"hrrl": {"lam": 1.0}}},
}
PIXELS = {"erm": 20, "el": 32, "cl": 24}  # how many of the 64 a variant's features are: the more, the better
TARGETS = {"clean": 0.0, "noisy": 4.0, "blank": 1e4}  # standard deviation of the noise on its images


@functools.cache
def right(target: str, variant: str, seed: int) -> np.ndarray:
    """(2, n): which test images a linear classifier gets right on pixels that the seed chooses, for two draws."""
    x, y = load_digits(return_X_y=True)
    images = x + np.random.default_rng(0).normal(0, 1, x.shape) * TARGETS[target]
    features = images[:, np.random.default_rng(seed).permutation(64)[: PIXELS[variant]]]
    models = [RidgeClassifier().fit(features[draw:600:2], y[draw:600:2]) for draw in (0, 1)]
    return np.array([model.predict(features[600:]) == y[600:] for model in models])


def transfer(claims: list[dict], seeds) -> Results:
    """Real digits; no variant is better on the target "blank"."""
    cells = [{"target": t, "variant": v, "seed": s} for t in TARGETS for v in VARIANTS for s in seeds]
    fit = {"validation": 0.0, "C": 1.0, "edge": False, "converged": True}
    rows = [
        cell | fit | {"draw": draw, "accuracy": 100 * hits.mean()}
        for cell in cells
        for draw, hits in enumerate(right(**cell))
    ]
    return Results(
        name="digits",
        headline="el",
        benchmark="digits",
        targets=list(TARGETS),
        variants=VARIANTS,
        compared=list(VARIANTS),
        shifts={"clean": "none", "noisy": "images", "blank": "both"},
        claims=claims,
        svm=pd.DataFrame(rows),
        hits={tuple(cell.values()): right(**cell).mean(axis=0) for cell in cells},
    )


def claim(better="el", than="erm", target="clean", name="a") -> dict:
    return {"name": name, "source": "Table 2", "better": better, "than": than, "endpoint": "svm", "target": target}


# ------------------------------------------------------------------------------------------------- statistics


def test_interval_and_p_value_are_scipys():
    differences = np.array([0.5, 1.2, -0.3, 0.9, 1.4])
    test = stats.ttest_1samp(differences, -0.2)
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert statistics.over_seeds(differences) == pytest.approx((interval.low, interval.high))
    assert statistics.p_value(differences, -0.2) == pytest.approx(test.pvalue)
    assert statistics.over_seeds([1.0]) is statistics.p_value([1.0]) is None
    assert (statistics.p_value([1.0, 1.0]), statistics.p_value([0.0, 0.0])) == (0.0, 1.0)


def test_interval_over_images_is_scipys_bootstrap():
    differences = np.random.default_rng(1).choice([-1.0, 0.0, 0.0, 0.0, 0.5, 1.0], 800)
    options = {"n_resamples": 5000, "method": "percentile", "rng": np.random.default_rng(2)}
    expected = stats.bootstrap((differences,), np.mean, **options).confidence_interval
    assert statistics.over_images(differences) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert statistics.over_images(differences) == statistics.over_images(differences)


def test_holms_correction_on_a_worked_example():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.6]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@pytest.mark.parametrize("n", [5, 12])
def test_what_is_detectable_is_found_in_four_of_five_runs(n):
    random = np.random.default_rng(0)
    half = stats.t.ppf(0.975, n - 1) / np.sqrt(n)  # of differences with standard deviation 1
    samples = random.normal(statistics.detectable(half, n), 1, (4000, n))
    found = stats.ttest_1samp(samples, 0, axis=1).confidence_interval(0.95).low > 0
    assert found.mean() == pytest.approx(0.8, abs=0.02)
    assert statistics.detectable(1.96) == pytest.approx(1.96 + 0.84, abs=0.01)


# ---------------------------------------------------------------------------------------------------- verdicts


def test_a_claim_is_the_paired_difference_and_its_wider_interval():
    results = transfer([claim()], range(6))
    [row] = [row for row in claims(results) if row["primary"]]
    pairs = results.scores[results.scores.target == "clean"].pivot(index="seed", columns="variant", values="accuracy")
    interval = stats.ttest_rel(pairs.el, pairs.erm).confidence_interval(0.95)
    assert row["difference"] == pytest.approx((pairs.el - pairs.erm).mean())
    assert row["ci95_seeds"] == pytest.approx([*interval])
    images = np.mean([results.hits["clean", "el", s] - results.hits["clean", "erm", s] for s in range(6)], axis=0)
    assert 100 * images.mean() == pytest.approx(row["difference"])
    error = 100 * images.std(ddof=1) / np.sqrt(len(images))
    assert row["ci95_test"] == pytest.approx(
        [row["difference"] - 1.96 * error, row["difference"] + 1.96 * error], abs=0.2
    )
    assert row["ci95"] == max(row["ci95_seeds"], row["ci95_test"], key=lambda ci: ci[1] - ci[0])
    assert (row["verdict"], row["seeds"]) == ("holds", 6)


def test_the_test_sample_counts_where_seeds_agree():
    results = transfer([claim()], range(6))
    for target, variant, seed in list(results.hits):  # six times the same model
        results.hits[target, variant, seed] = same = results.hits[target, variant, 0]
        cell = (results.scores[["target", "variant", "seed"]] == [target, variant, seed]).all(axis=1)
        results.scores.loc[cell, "accuracy"] = 100 * same.mean()
    [row, *_] = claims(results)
    assert row["ci95"] == row["ci95_test"] != row["ci95_seeds"]
    assert row["detectable"] == pytest.approx((row["ci95"][1] - row["ci95"][0]) / 2 * (1.96 + 0.84) / 1.96, rel=1e-3)


def test_verdicts_need_five_seeds_and_the_whole_interval():
    def verdict(asked, seeds):
        return claims(transfer([asked], seeds))[0]["verdict"]

    assert verdict(claim(), range(5)) == "holds"
    assert verdict(claim(), range(4)) == "undecided"
    assert verdict(claim("erm", "el"), range(5)) == "fails"
    assert verdict(claim(target="blank"), range(5)) == "undecided"


def test_no_worse_than_the_better_of_two_less_the_noise():
    results = transfer([claim("el", ["erm", "cl"]), claim("erm", ["el", "cl"], name="b")], range(6))
    best, worse = [row for row in claims(results) if row["primary"]]
    accuracy = results.scores[results.scores.target == "clean"].groupby("variant").accuracy
    assert (best["compared"], worse["compared"]) == ("cl", "el")
    assert best["margin"] == pytest.approx(-accuracy.std()["cl"])
    assert (best["verdict"], worse["verdict"]) == ("holds", "fails")
    assert "no worse than the better of ERM and CL (λ=1)" in statement(results, best)
    same = claims(transfer([claim("erm", ["el", "cl"], target="blank")], range(6)))[0]
    assert same["ci95"][0] < 0 < same["ci95"][1]  # no better: the margin is what it is judged against
    assert same["verdict"] == ("holds" if same["ci95"][0] > same["margin"] else "undecided")


def test_other_targets_are_secondary_once_and_corrected_together():
    results = transfer([claim(), claim(target="noisy", name="b"), claim("cl", name="c")], range(6))
    rows = claims(results)
    asked = [(row["claim"], row["target"], row["primary"]) for row in rows]
    assert asked == [
        *[("a", "clean", True), ("b", "noisy", True), ("c", "clean", True)],
        *[("a", "blank", False), ("c", "noisy", False), ("c", "blank", False)],
    ]
    secondary = [row for row in rows if not row["primary"]]
    assert [row["p_holm"] for row in secondary] == pytest.approx(statistics.holm([row["p"] for row in secondary]))
    assert all(row["verdict"] == "undecided" for row in secondary if row["p_holm"] >= 0.05)
    table = tables(results)["claims_secondary"]
    assert table.Endpoint.tolist() == ["svm blank", "svm noisy", "svm blank"]


def test_endpoints_are_those_of_params():
    assert set(ENDPOINTS) == set(MEASURED_RUNS)


# ------------------------------------------------------------------------------- less is better, and the premise


def measured(claims=(), **frames) -> Results:
    """The course of fine-tuning and losses per concept of three seeds."""
    run = [{"variant": variant, "seed": seed} for variant in ("erm", "cl") for seed in range(5)]
    error = {"erm": 20.0, "cl": 15.0}
    tuned = [
        r | {"target": "digits", "epoch": e, "step": e, "train_loss": 1.0, "test_error": error[r["variant"]] - e}
        for r in run
        for e in (1, 2)
    ]
    history = [
        r | {"epoch": 1, "train_loss": 1.0, "val_accuracy": 80.0, "loss_dog": 2.0 + r["seed"], "loss_cat": 1.0}
        for r in run
    ]
    accuracy = {"erm": (60.0, 90.0), "cl": (70.0, 85.0)}
    parts = [
        r | {"concept": c, "accuracy": a + r["seed"]}
        for r in run
        for c, a in zip(("dog", "cat"), accuracy[r["variant"]], strict=True)
    ]
    steps = [
        r | {"step_size": s, "accuracy": 80 - s * (20 if r["variant"] == "erm" else 10)}
        for r in run
        for s in (0.0, 1.0, 2.0)
    ]
    given = {
        "finetune": pd.DataFrame(tuned),
        "history": pd.DataFrame(history),
        "concept_accuracy": pd.DataFrame(parts),
        "robustness": pd.DataFrame(steps),
        "concepts": pd.DataFrame({"concept": ["dog", "cat"], "classes": 1, "images": [30, 10], "q0": [0.75, 0.25]}),
    }
    return Results(
        "m", "erm", "b", ["digits", "pets", "cats"], VARIANTS, ["erm"], claims=list(claims), **given | frames
    )


def test_less_error_and_a_smaller_gap_are_on_the_claimed_side():
    asked = {"source": "Fig. 3", "better": "cl", "than": "erm"}
    names = {"finetune": {"target": "digits"}, "concept_gap": {}, "augmented": {}}
    rows = claims(measured([asked | {"name": name, "endpoint": name} | more for name, more in names.items()]))
    found = {row["claim"]: (row["difference"], row["verdict"]) for row in rows if row["primary"]}
    assert found["finetune"] == (pytest.approx(-5.0), "holds")
    assert found["concept_gap"] == (pytest.approx(-15.0), "holds")
    assert found["augmented"] == (pytest.approx(15.0), "holds")  # loses 15 points on average instead of 30


def test_premise_is_the_baselines_loss_on_a_targets_concepts():
    shares = [("digits", "unknown", 1.0), ("pets", "dog", 0.5), ("pets", "fish", 0.5), ("cats", "cat", 1.0)]
    results = measured(target_concepts=pd.DataFrame(shares, columns=["target", "concept", "share"]))
    results.shifts = {"digits": "both", "pets": "concepts", "cats": "concepts"}
    losses = concept_losses(results)
    assert losses.loss.tolist() == pytest.approx([4.0, 1.0])  # the mean over seeds
    assert losses.badly.tolist() == [True, False]
    table = target_premise(results).set_index("target")
    assert table.premise.to_dict() == {"digits": "unknown", "pets": "holds", "cats": "fails"}
    assert table.distance.tolist() == pytest.approx([1.0, 0.5, 0.75])
    assert table.benchmark_loss.tolist() == pytest.approx([3.25] * 3)
    assert table.loss[["pets", "cats"]].tolist() == pytest.approx([4.0, 1.0])
    assert [line.split()[0] for line in problems(results)] == ["cats"]
    assert metrics(results)["premise"]["targets"]["cats"] == {"premise": "fails", "distance": 0.75, "loss": 1.0}


def test_runs_are_every_number_once():
    values = runs(measured())
    assert not values.duplicated(["measure", "target", "variant", "seed"]).any()
    last = values[(values.measure == "finetune") & (values.variant == "erm")].set_index("seed").value
    assert last.to_dict() == dict.fromkeys(range(5), 18.0)
