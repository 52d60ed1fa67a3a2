"""How claims are decided: against scipy where it has the test, else on real digits, classified by several models."""

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from test_reporting import metrics, tables

from hrrl.report import Results, claims, statistics
from hrrl.report.claims import ENDPOINTS
from hrrl.report.concept_difficulty import concept_losses, target_premise, target_weights
from hrrl.report.page import problems
from hrrl.report.words import statement
from hrrl.settings.schema import MEASURED_RUNS

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
        correct={tuple(cell.values()): right(**cell).mean(axis=0) for cell in cells},
    )


def claim(better="el", than="erm", target="clean", name="a") -> dict:
    return {"name": name, "source": "Table 2", "better": better, "than": than, "endpoint": "svm", "target": target}


# ------------------------------------------------------------------------------------------------- statistics


def test_error_over_images_is_scipys_bootstraps():
    random = np.random.default_rng(1)
    differences = random.choice([-1.0, 0.0, 0.0, 0.0, 0.5, 1.0], 800)
    options = {"n_resamples": 5000, "method": "percentile", "rng": np.random.default_rng(2)}
    expected = stats.bootstrap((differences,), np.mean, **options)
    error = statistics.image_error(differences / 800)
    assert error == pytest.approx(expected.standard_error, rel=0.03)
    low, high = expected.confidence_interval
    assert statistics.over_images(differences.mean(), error) == pytest.approx((low, high), abs=0.004)
    assert error == pytest.approx(stats.sem(differences))


def test_error_over_images_of_two_kinds_is_that_of_a_sum():
    random = np.random.default_rng(1)
    hits, kinds = random.choice([0.0, 1.0], 400), np.repeat([0, 1], [100, 300])
    parts = np.where(kinds == 0, hits / 100, hits / 300)
    expected = np.hypot(*(stats.sem(hits[kinds == kind]) for kind in (0, 1)))
    assert statistics.image_error(parts, kinds) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_an_interval_over_seeds_and_images_covers_the_truth(n):
    """Both parts equal; of seeds alone, or the wider of the two, the coverage at ten seeds is below 0.9."""
    random, runs, error = np.random.default_rng(0), 4000, 1 / np.sqrt(n)
    of_seeds, of_images = random.normal(0, 1, (runs, n)), random.normal(0, error, runs)
    found = [statistics.over_seeds(row + shift, error) for row, shift in zip(of_seeds, of_images, strict=True)]
    assert 0.945 < np.mean([low < 0 < high for low, high in found]) < 0.99
    wider = [
        max(statistics.over_seeds(row + shift), statistics.over_images(row.mean() + shift, error), key=np.ptp)
        for row, shift in zip(of_seeds, of_images, strict=True)
    ]
    assert n < 10 or np.mean([low < 0 < high for low, high in wider]) < 0.91


def test_a_p_value_is_where_the_interval_ends():
    differences = np.array([0.5, 1.2, -0.3, 0.9, 1.4])
    low, high = statistics.over_seeds(differences, 0.2)
    assert statistics.p_value(differences, low, 0.2) == pytest.approx(0.05)
    assert statistics.p_value(differences, high, 0.2) == pytest.approx(0.05)
    assert statistics.p_value(differences, 0.1, 1e-9) == pytest.approx(statistics.p_value(differences, 0.1))


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("image_error", [0.0, 0.3])
def test_what_is_detectable_is_found_in_four_of_five_runs(n, image_error):
    random = np.random.default_rng(0)
    difference = statistics.detectable(1 / np.sqrt(n), n, image_error)
    samples = random.normal(difference, 1, (3000, n)) + random.normal(0, image_error, (3000, 1))
    found = np.mean([statistics.over_seeds(row, image_error)[0] > 0 for row in samples])
    assert found == pytest.approx(0.8, abs=0.03 if image_error else 0.02)


def test_seeds_that_a_difference_needs():
    n = statistics.seeds_needed(std=1.0, difference=1.0)
    assert statistics.detectable(1 / np.sqrt(n), n) <= 1.0 < statistics.detectable(1 / np.sqrt(n - 1), n - 1)
    assert n == 10  # as every table of the paired t-test's power has it
    assert statistics.seeds_needed(1.0, 1.0, image_error=0.2) > n
    assert statistics.seeds_needed(1.0, 1.0, image_error=0.5) is None  # no number of seeds makes that smaller


def test_a_trend_is_scipys_exact_test():
    rising = np.array([[60.0, 61.0, 64.0, 66.0], [59.0, 62.0, 63.0, 68.0]])
    assert statistics.trend(rising) == pytest.approx(1 / 24**2)
    some = np.random.default_rng(0).normal(size=(3, 5)) + np.arange(5) / 2
    assert statistics.trend(some) == pytest.approx(stats.page_trend_test(some, method="exact").pvalue)
    assert statistics.trend(rising[:1]) == pytest.approx(1 / 24)
    assert statistics.trend(rising) == pytest.approx(statistics.least_p_of_a_trend(2, 4))
    assert statistics.trend(-rising) == pytest.approx(1.0)
    assert statistics.trend(rising[:, :2]) is None


# ---------------------------------------------------------------------------------------------------- verdicts


def test_a_claim_is_the_paired_difference_and_the_interval_of_both_parts():
    results = transfer([claim()], range(6))
    [row] = [row for row in claims(results) if row["primary"]]
    pairs = results.scores[results.scores.target == "clean"].pivot(index="seed", columns="variant", values="accuracy")
    interval = stats.ttest_rel(pairs.el, pairs.erm).confidence_interval(0.95)
    assert row["difference"] == pytest.approx((pairs.el - pairs.erm).mean())
    assert row["ci95_seeds"] == pytest.approx([*interval])
    images = np.mean([results.correct["clean", "el", s] - results.correct["clean", "erm", s] for s in range(6)], axis=0)
    assert 100 * images.mean() == pytest.approx(row["difference"])
    error = 100 * images.std(ddof=1) / np.sqrt(len(images))
    assert row["ci95_test"] == pytest.approx([row["difference"] - 1.96 * error, row["difference"] + 1.96 * error], 1e-4)
    halves = [(row[part][1] - row[part][0]) / 2 for part in ("ci95_seeds", "ci95_test", "ci95")]
    assert halves[2] == pytest.approx(np.hypot(halves[0], halves[1]))
    assert (row["verdict"], row["seeds"]) == ("holds", 6)


def test_the_test_sample_counts_where_seeds_agree():
    results = transfer([claim()], range(6))
    for target, variant, seed in list(results.correct):  # six times the same model
        results.correct[target, variant, seed] = same = results.correct[target, variant, 0]
        cell = (results.scores[["target", "variant", "seed"]] == [target, variant, seed]).all(axis=1)
        results.scores.loc[cell, "accuracy"] = 100 * same.mean()
    [row, *_] = claims(results)
    assert row["ci95"] == pytest.approx(row["ci95_test"]) != row["ci95_seeds"]
    assert row["detectable"] == pytest.approx((row["ci95"][1] - row["ci95"][0]) / 2 * (1.96 + 0.84) / 1.96, rel=1e-3)


def test_a_claim_about_several_is_about_each_of_them():
    asked = claim("el", ["erm", "cl"]) | {"relation": "better"}
    results = transfer([asked, asked | {"name": "b", "better": "erm", "than": ["el", "cl"]}], range(6))
    best, worst = [row for row in claims(results) if row["primary"]]
    assert [pair["compared"] for pair in best["pairs"]] == ["erm", "cl"]
    assert (best["compared"], best["verdict"]) == ("cl", "holds")  # the harder one, and by it the row is read
    assert best["p"] == max(pair["p"] for pair in best["pairs"])
    assert (worst["compared"], worst["verdict"]) == ("el", "fails")
    middle = claims(transfer([asked | {"better": "cl", "than": ["erm", "el"]}], range(6)))[0]
    assert middle["verdict"] == "fails"  # better than one is not enough
    assert "better than ERM and CL (λ=1)" in statement(results, best)


def test_other_targets_are_secondary_once_and_corrected_together():
    mirrored = claim("erm", "el", "noisy", "b")
    results = transfer([claim(), mirrored, claim("cl", name="c")], range(6))
    rows = claims(results)
    asked = [(row["claim"], row["target"], row["primary"]) for row in rows]
    assert asked == [
        *[("a", "clean", True), ("b", "noisy", True), ("c", "clean", True)],
        *[("a", "blank", False), ("c", "noisy", False), ("c", "blank", False)],  # not b again, with its sides changed
    ]
    for part in (rows[:3], rows[3:]):
        assert [row["p_holm"] for row in part] == pytest.approx(statistics.holm([row["p"] for row in part]))
    assert all(row["verdict"] == "undecided" for row in rows[3:] if row["p_holm"] >= 0.05)
    table = tables(results)["claims_secondary"]
    assert table.Endpoint.tolist() == ["svm blank", "svm noisy", "svm blank"]
    assert table["p (Holm)"].tolist() == [f"{row['p_holm']:.3f}" for row in rows[3:]]
    assert table["p"].tolist() == [f"{row['p']:.3f}" for row in rows[3:]] != table["p (Holm)"].tolist()


# ------------------------------------------------------------------------------------- runs with known answers


def decided(asked: dict, concepts=None, **measures) -> dict:
    """The row of a claim about runs that are given as {measure: {variant: (value of each seed, ...)}}."""
    rows = [
        {"measure": measure, "target": asked.get("target") or "", "variant": variant, "seed": seed, "value": value}
        for measure, by in measures.items()
        for variant, values in by.items()
        for seed, value in enumerate(values)
    ]
    given = {"concepts": pd.DataFrame(concepts or {"concept": ["a"], "classes": [10], "images": [10], "q0": [1.0]})}
    names = dict.fromkeys(["erm", *(variant for by in measures.values() for variant in by)])
    results = Results(
        "known", "erm", "b", ["clean"], dict.fromkeys(names, VARIANTS["erm"]), ["erm"], claims=[asked], **given
    )
    results.recorded = pd.DataFrame(rows)
    return claims(results)[0]


def spread_around(*centres, size=0.3) -> tuple:
    """The same seeds' noise around each centre, for as many variants."""
    noise = np.random.default_rng(0).normal(0, size, 5)
    return tuple(tuple(centre + noise * (1 + 0.1 * i)) for i, centre in enumerate(centres))


def test_a_network_at_chance_does_not_win_on_moved_images():
    clean, moved, far = spread_around(80, 60, 11)
    chance = (10.0, 10.1, 9.9, 10.0, 10.0)
    steps = {"accuracy_step_0": (clean, chance), "accuracy_step_0.5": (moved, chance), "accuracy_step_2": (far, chance)}
    measures = {name: dict(zip(("erm", "el"), values, strict=True)) for name, values in steps.items()}
    row = decided({"name": "a", "source": "s", "better": "el", "than": "erm", "endpoint": "augmented"}, **measures)
    assert row["verdict"] == "fails"
    assert row["difference"] == pytest.approx(np.mean(chance) - np.mean(moved))  # the step at the floor plays no part
    moved_less_clean = np.mean(np.subtract(chance, chance)) - np.mean(np.subtract(moved, clean))
    assert moved_less_clean > 0  # which is what it would win by


def test_the_floor_is_a_fifth_of_the_baselines_way_above_chance():
    """From 10% by chance to 80: 24%. Where a file gives the concepts of images, the classes are not those of a row."""
    concepts = {"concept": ["a", "b"], "classes": [7, 8], "of": [10, 10], "images": [5, 5], "q0": [0.5, 0.5]}
    for accuracy, above in ((24.5, True), (23.5, False)):
        steps = {
            f"accuracy_step_{i}": {"erm": (value,) * 2, "el": (90.0,) * 2} for i, value in enumerate((80, accuracy))
        }
        row = decided(claim() | {"endpoint": "augmented", "target": None}, concepts, **steps)
        assert (row["difference"] is not None) == above


def test_no_step_is_above_the_floor_of_a_baseline_at_chance():
    steps = {f"accuracy_step_{size}": {"erm": (10.5, 11.0), "el": (60.0, 61.0)} for size in (0, 0.5)}
    row = decided({"name": "a", "source": "s", "better": "el", "than": "erm", "endpoint": "augmented"}, **steps)
    assert (row["verdict"], row["difference"], row["seeds"]) == ("undecided", None, 0)


def test_a_network_that_levels_down_does_not_serve_its_worst_concept_better():
    asked = {"name": "a", "source": "s", "better": "cl", "than": "erm", "endpoint": "worst_concept"}
    good, bad = spread_around(90, 60)
    measures = {
        "accuracy_dog": {"erm": bad, "cl": np.subtract(bad, 2)},
        "accuracy_cat": {"erm": good, "cl": np.subtract(good, 25)},
    }
    row = decided(asked, **measures)
    assert (row["verdict"], row["difference"]) == ("fails", pytest.approx(-2))
    assert row["beside"]["concept_gap"]["difference"] == pytest.approx(-23)  # by which it would win
    assert row["beside"]["best_concept"]["difference"] == pytest.approx(-25)
    assert row["beside"]["mean_concept"]["difference"] == pytest.approx(-13.5)


def test_three_seeds_decide_by_students_t():
    erm, el = (80.0, 81.0, 80.5), (84.0, 85.1, 84.7)
    row = decided(claim(), svm={"erm": erm, "el": el})
    assert (row["verdict"], row["seeds"]) == ("holds", 3)
    assert row["p"] == pytest.approx(stats.ttest_rel(el, erm).pvalue)
    assert row["p"] < 0.001
    assert decided(claim(), svm={"erm": erm[:2], "el": el[:2]})["verdict"] == "holds"
    one = decided(claim(), svm={"erm": erm[:1], "el": el[:1]})
    assert (one["verdict"], one["ci95"], one["p"]) == ("undecided", None, None)
    assert decided(claim("erm", "el"), svm={"erm": erm, "el": el})["verdict"] == "fails"
    assert decided(claim(), svm={"erm": erm, "el": (80.1, 80.6, 81.0)})["verdict"] == "undecided"


def test_similar_is_within_a_margin_that_is_given_and_not_within_the_noise():
    erm = (80.0, 81.0, 80.5, 79.5, 80.2)
    asked = claim() | {"relation": "similar", "margin": 0.5}

    def of(differences):
        return decided(asked, svm={"erm": erm, "el": np.add(erm, differences)})

    for differences in np.multiply([[1], [-1]], (0.1, -0.1, 0.05, 0.0, -0.1)):
        near = of(differences)
        assert near["verdict"] == "holds"
        sides = [stats.ttest_1samp(differences, side).pvalue for side in (-0.5, 0.5)]
        assert near["p"] == pytest.approx(max(sides))  # both must be rejected
    assert of((1.1, 0.9, 1.05, 1.0, 0.9))["verdict"] == "fails"
    assert of((-1.1, -0.9, -1.05, -1.0, -0.9))["verdict"] == "fails"
    noisy = of((3.0, -3.0, 2.0, -1.5, -0.5))  # no difference is seen, which shows none to be small
    assert (noisy["verdict"], noisy["p"] > 0.05) == ("undecided", True)


def test_no_worse_is_within_a_margin_on_one_side():
    erm, cl = (80.0, 81.0, 80.5, 79.5, 80.2), (79.0, 80.1, 79.4, 78.6, 79.2)
    less = np.subtract(erm, (0.3, 0.2, 0.25, 0.3, 0.2))
    asked = claim("el", ["erm", "cl"]) | {"relation": "no_worse", "margin": 0.5}
    row = decided(asked, svm={"erm": erm, "cl": cl, "el": less})
    assert (row["compared"], row["verdict"]) == ("erm", "holds")
    assert decided(asked | {"margin": 0.2}, svm={"erm": erm, "cl": cl, "el": less})["verdict"] == "undecided"
    error = {"finetune": {"erm": erm, "el": np.add(erm, 0.3)}}
    tuned = claim("el", "erm") | {"relation": "no_worse", "margin": 0.5, "endpoint": "finetune"}
    assert decided(tuned, **error)["verdict"] == "holds"
    assert decided(tuned | {"margin": 0.2}, **error)["verdict"] == "fails"  # 0.3 more error in every seed


def test_a_dose_must_rise_along_the_whole_search():
    asked = {"name": "a", "source": "Fig. 4", "trend": "tau", "endpoint": "augmented"}
    values = {"erm": (60.0, 61.0), "tau0.1": (63.0, 62.0), "tau0.3": (66.0, 65.0), "tau1": (70.0, 69.0)}
    runs_of = {f"search:{name}": those for name, those in values.items()} | {"search:lam1": (99.0, 99.0)}
    steps = {"accuracy_step_0": {"erm": (90.0, 90.0)}, "accuracy_step_0.5": {"erm": (60.0, 60.0)} | runs_of}
    row = decided(asked, **steps)
    assert list(row["doses"]) == ["erm", "tau0.1", "tau0.3", "tau1"]
    assert (row["verdict"], row["p"]) == ("holds", pytest.approx(2 / 24**2))
    assert (row["difference"], row["primary"]) == (pytest.approx(9.0), True)  # 69.5 - 60.5
    once = decided(asked, **{name: {v: those[:1] for v, those in by.items()} for name, by in steps.items()})
    assert (once["verdict"], once["p"], once["least_p"]) == ("undecided", pytest.approx(2 / 24), pytest.approx(2 / 24))
    by_lam = {"erm": (60.0, 61.0), "lam10": (63.0, 62.0), "lam1": (66.0, 65.0), "lam0.1": (70.0, 69.0)}
    worst = {"accuracy_dog": {f"search:{name}": those for name, those in by_lam.items()}}
    rows = decided(asked | {"trend": "lam", "endpoint": "worst_concept"}, **worst)
    assert (list(rows["doses"]), rows["verdict"]) == (["erm", "lam10", "lam1", "lam0.1"], "holds")


@pytest.mark.parametrize("endpoint", ["augmented", "worst_concept", "finetune"])
def test_images_count_for_every_endpoint(endpoint):
    """The part for test images is what drawing other images of the same concepts does to the difference."""
    random, concepts = np.random.default_rng(0), np.repeat([0, 1], [60, 140])
    share = {"erm": (0.3, 0.8), "cl": (0.45, 0.75)}
    hits = {(v, s): random.random(200) < np.take(share[v], concepts) for v in share for s in range(4)}
    asked = {"name": "a", "source": "s", "better": "cl", "than": "erm", "endpoint": endpoint}
    asked |= {"target": "digits"} if endpoint == "finetune" else {}

    def difference(rows) -> float:
        def value(v, s):
            mine, of = hits[v, s][rows], concepts[rows]
            return 100 * min(mine[of == k].mean() for k in (0, 1)) if endpoint == "worst_concept" else 100 * mine.mean()

        sign = -1 if endpoint == "finetune" else 1
        return sign * np.mean([value("cl", s) - value("erm", s) for s in range(4)])

    cells = [{"variant": v, "seed": s} for v, s in hits]
    accuracy = {cell: 100 * those.mean() for cell, those in hits.items()}
    frames = {
        "robustness": [
            c | {"step_size": size, "accuracy": accuracy[*c.values()]} for c in cells for size in (0.0, 1.0)
        ],
        "concept_accuracy": [
            c | {"concept": name, "accuracy": 100 * hits[*c.values()][concepts == k].mean()}
            for c in cells
            for k, name in enumerate(("dog", "cat"))
        ],
        "finetune": [
            c | {"target": "digits", "step": 1, "train_loss": 1.0, "test_error": 100 - accuracy[*c.values()]}
            for c in cells
        ],
    }
    results = measured([asked], **{name: pd.DataFrame(rows) for name, rows in frames.items()})
    results.moved_correct = {cell: {0.0: those, 1.0: those} for cell, those in hits.items()}
    results.finetune_correct = {("digits", *cell): those for cell, those in hits.items()}
    results.validation_concepts = concepts
    [row, *_] = claims(results)
    assert row["difference"] == pytest.approx(difference(np.arange(200)))
    kinds = (np.arange(60), np.arange(60, 200)) if endpoint == "worst_concept" else (np.arange(200),)
    draws = [difference(np.concatenate([random.choice(kind, len(kind)) for kind in kinds])) for _ in range(2000)]
    assert (row["ci95_test"][1] - row["ci95_test"][0]) / 2 / 1.96 == pytest.approx(np.std(draws), rel=0.1)


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
        r
        | {"epoch": 1, "train_loss": 1.0, "val_accuracy": 80.0, "loss_dog": 2.0 + r["seed"], "loss_cat": loss}
        | {"val_loss": 2.0}
        for r in run
        for loss in [1.0 if r["variant"] == "erm" else 9.0]
    ]
    accuracy = {"erm": (60.0, 90.0), "cl": (70.0, 85.0)}
    parts = [
        r | {"concept": c, "accuracy": a + r["seed"]}
        for r in run
        for c, a in zip(("dog", "cat"), accuracy[r["variant"]], strict=True)
    ]
    steps = [
        r | {"step_size": s, "accuracy": 100 - s * (20 if r["variant"] == "erm" else 10)}
        for r in run
        for s in (0.0, 1.0, 2.0)
    ]
    given = {
        "finetune": pd.DataFrame(tuned),
        "history": pd.DataFrame(history),
        "concept_accuracy": pd.DataFrame(parts),
        "robustness": pd.DataFrame(steps),
        "concepts": pd.DataFrame({"concept": ["dog", "cat"], "classes": 50, "images": [30, 10], "q0": [0.75, 0.25]}),
    }
    return Results(
        "m", "erm", "b", ["digits", "pets", "cats"], VARIANTS, ["erm"], claims=list(claims), **given | frames
    )


def test_less_error_and_a_better_worst_concept_are_on_the_claimed_side():
    asked = {"source": "Fig. 3", "better": "cl", "than": "erm"}
    names = {"finetune": {"target": "digits"}, "worst_concept": {}, "augmented": {}}
    rows = claims(measured([asked | {"name": name, "endpoint": name} | more for name, more in names.items()]))
    found = {row["claim"]: (row["difference"], row["verdict"]) for row in rows if row["primary"]}
    assert found["finetune"] == (pytest.approx(-5.0), "holds")
    assert found["worst_concept"] == (pytest.approx(10.0), "holds")
    assert found["augmented"] == (pytest.approx(15.0), "holds")  # the mean over both steps


def test_premise_is_the_baselines_loss_on_a_targets_concepts():
    shares = [("digits", "unknown", 1.0), ("pets", "dog", 0.5), ("pets", "fish", 0.5), ("cats", "cat", 1.0)]
    results = measured(target_concepts=pd.DataFrame(shares, columns=["target", "concept", "share"]))
    results.shifts = {"digits": "both", "pets": "concepts", "cats": "concepts"}
    losses = concept_losses(results)
    assert losses.loss.tolist() == pytest.approx([4.0, 1.0])  # the mean over seeds
    assert losses.badly.tolist() == [True, False]
    table = target_premise(results).set_index("target")
    assert table.premise.to_dict() == {"digits": "unknown", "pets": "holds", "cats": "fails"}
    assert table.distance.tolist()[1:] == pytest.approx([0.5, 0.75])
    assert np.isnan(table.distance["digits"])  # no number where the concept of an image is unknown
    assert np.isnan(table.loss["digits"])
    assert tables(results)["premise_targets"].set_index("Target")["Distance to q0"]["digits"] == "–"
    assert table.benchmark_loss.tolist() == pytest.approx([3.25] * 3)
    assert table.loss[["pets", "cats"]].tolist() == pytest.approx([4.0, 1.0])
    assert [line.split()[0] for line in problems(results)] == ["cats"]
    assert metrics(results)["premise"]["targets"]["cats"] == {"premise": "fails", "distance": 0.75, "loss": 1.0}


def test_the_premise_says_how_much_weight_a_targets_concepts_got_and_what_it_did():
    shares = [("digits", "unknown", 1.0), ("pets", "dog", 0.9), ("pets", "cat", 0.1), ("cats", "cat", 0.5)]
    shares += [("cats", "fish", 0.5)]  # of which the benchmark has none
    results = measured(target_concepts=pd.DataFrame(shares, columns=["target", "concept", "share"]))
    results.history = results.history.assign(q_dog=0.6, q_cat=0.4)  # of ERM's, too, whose weights are not used
    table = target_weights(results).set_index(["target", "variant"])
    assert table.index.tolist() == [("pets", "cl"), ("cats", "cl")]
    assert table.weight.tolist() == pytest.approx([0.9 * 0.6 / 0.75 + 0.1 * 0.4 / 0.25, 0.4 / 0.25])
    assert table.difference.tolist() == pytest.approx([0.9 * 10 - 0.1 * 5, -5])
    assert tables(results)["premise_weights"].iloc[1, 2] == "1.60"


def test_runs_are_every_number_once():
    values = measured().values
    assert not values.duplicated(["measure", "target", "variant", "seed"]).any()
    last = values[(values.measure == "finetune") & (values.variant == "erm")].set_index("seed").value
    assert last.to_dict() == dict.fromkeys(range(5), 18.0)
    assert set(values[values.measure == "benchmark_loss"].value) == {2.0}
