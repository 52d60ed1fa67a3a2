"""How claims are decided: every number once more from what each run gets right, and runs with known answers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_reporting import metrics, tables

from hrrl import report
from hrrl.report import Results, claims, statistics
from hrrl.report.claims import ENDPOINTS
from hrrl.report.concept_difficulty import concept_losses, target_premise, target_weights
from hrrl.report.page import problems
from hrrl.report.summary import pair_means
from hrrl.report.words import statement
from hrrl.settings.schema import MEASURED_RUNS
from hrrl.transfer.search import parse

VARIANTS = {
    "erm": {"example": None, "concept": None},
    "el": {"example": {"gradient": {"tau": 0.5}}, "concept": None},
    "cl": {"example": None, "concept": {"hrrl": {"lam": 1.0}}},
}


def claim(better="el", than="erm", target="clean", name="a", endpoint="svm", **more) -> dict:
    given = {"name": name, "source": "Table 2", "better": better, "than": than, "endpoint": endpoint, "target": target}
    return given | more


SEEDS = {"erm": range(5), "el": range(5), "cl": range(5), "late": (3, 1, 4), "once": (2,), "none": ()}
SKILL = {"erm": 0.0, "el": 0.5, "cl": 0.55, "late": 0.4, "once": 0.5}
NOISE = {"clean": 0.05, "noisy": 0.15, "blank": 0.0, None: 0.1}  # of a seed's skill
IMAGES, CONCEPTS = 300, np.random.default_rng(3).permutation(np.repeat([0, 1, 2, 3], [100, 120, 79, 1]))
SIZES = (0.0, 0.5, 1.0, 8.0)  # at the last everyone is at chance, which is 5%
RECORDED = {("svm", "clean", "el", "late"): 3.0, ("augmented", None, "erm", "late"): 2.0}  # errors over images
UNKNOWN = {("svm", "clean", "late", 1), ("moved", None, "late", 1)}  # of which it is not known which are right
POINTS = {"tau": ["erm", "tau0.5", "tau2", "tau10"], "lam": ["erm", "lam10", "lam1", "lam0.1"]}
RANKS = {  # by endpoint and axis of the doses, the weakest first, for each of four seeds; and Page's p
    ("augmented", "tau"): [(2, 1, 4, 3)] * 4,  # 0.022 upwards
    ("augmented", "lam"): [(2, 1, 4, 3)] * 3 + [(1, 4, 2, 3)],  # 0.034 upwards
    ("worst_concept", "tau"): [(3, 4, 1, 2)] * 4,  # 0.022 downwards
    ("worst_concept", "lam"): [(1, 2, 3, 4), (4, 3, 2, 1)] * 2,  # above 0.5 both ways
}


def runs_right() -> dict[tuple, np.ndarray]:
    """(n,) whether each image is classified right, by (stage, target, variant, seed, draw or step size)."""
    random, found = np.random.default_rng(1), {}
    of_images = random.normal(0, 1, IMAGES) + 9 * (CONCEPTS == 3)  # how easy an image is, for everyone
    for variant, seed in [(variant, seed) for variant, seeds in SEEDS.items() for seed in seeds]:
        for stage, target, several in (
            *[("svm", target, (0, 1)) for target in ("clean", "noisy", "blank")],
            *[("finetune", target, (0,)) for target in ("clean", "noisy")],
            ("moved", None, SIZES),
        ):
            skill = 0.4 + SKILL[variant] * (target != "blank") + random.normal(0, NOISE[target])
            for which in several:
                draw = random.normal(0, 0.3, IMAGES) - (which / 2 if stage == "moved" else 0)
                found[stage, target, variant, seed, which] = (of_images + draw + skill > 0).astype(float)
    return found


RIGHT = runs_right()


def doses(endpoint: str, axis: str) -> dict[str, list[float]]:
    """The points' values of four seeds; both axes begin with the same point."""
    ranks = RANKS[endpoint, axis]
    return {name: [50.0 + row[i] - row[0] for row in ranks] for i, name in enumerate(POINTS[axis])}


def world(asked: list[dict]) -> Results:
    """The results as stages would leave them, in no order."""
    rows: dict[str, list[dict]] = {name: [] for name in ("svm", "finetune", "robustness", "concept_accuracy")}
    rows |= {"history": [], "search_steps": [], "search_concepts": []}
    for (stage, target, variant, seed, which), right in RIGHT.items():
        run, accuracy = {"variant": variant, "seed": seed}, 100 * right.mean()
        if stage == "svm":
            fit = {"draw": which, "validation": accuracy / 2, "C": 1.0, "edge": False, "converged": True}
            rows["svm"].append(run | fit | {"target": target, "accuracy": accuracy})
        elif stage == "finetune":
            for step, error in ((1, 50.0), (2, 100 - accuracy)):
                course = {"target": target, "step": step, "train_loss": 1.0, "test_error": error}
                rows["finetune"].append(run | course)
        else:
            rows["robustness"].append(run | {"step_size": which, "accuracy": accuracy})
            if not which:
                rows["history"].append(run | {"epoch": 1, "train_loss": 1.0, "val_accuracy": accuracy})
                for k, name in enumerate("abcd"):
                    one = {"concept": name, "accuracy": 100 * right[k == CONCEPTS].mean()}
                    rows["concept_accuracy"].append(run | one)
    for endpoint, axis in RANKS:
        points = doses(endpoint, axis) | {"tau2_lam1" if axis == "tau" else "tau2_lam2": [99.0] * 4}  # on both axes
        for name, values in points.items():
            tau, lam = parse(name)
            point = {"tau": np.nan if tau is None else tau, "lam": np.nan if lam is None else lam}
            if name == "erm":
                values = [*values, 99.0] if axis == "tau" else []  # of both axes; the fifth seed has no other points
            for seed, accuracy in enumerate(values):
                if endpoint == "augmented":
                    of = [{"step_size": size, "accuracy": accuracy - 0.75 + size} for size in SIZES]
                    rows["search_steps"] += [point | {"seed": seed} | step for step in of]
                else:
                    of = [{"concept": "a", "accuracy": accuracy + 20}, {"concept": "b", "accuracy": accuracy}]
                    rows["search_concepts"] += [point | {"seed": seed} | concept for concept in of]
    shuffled = {name: pd.DataFrame(those).sample(frac=1, random_state=0) for name, those in rows.items()}
    shuffled["concepts"] = pd.DataFrame({"concept": list("abcd"), "classes": 5, "images": 10, "q0": 0.25})
    results = Results(
        *("w", "el", "b", ["clean", "noisy", "blank"], dict.fromkeys(SEEDS, VARIANTS["erm"]), list(SEEDS)),
        **shuffled | {"claims": asked, "image_errors": RECORDED, "validation_concepts": CONCEPTS},
    )
    for (stage, target, variant, seed, which), right in RIGHT.items():
        if (stage, target, variant, seed) in UNKNOWN:
            continue
        if stage == "moved":
            results.moved_correct.setdefault((variant, seed), {})[which] = right
        elif stage == "finetune":
            results.finetune_correct[target, variant, seed] = right
        else:
            results.correct[target, variant, seed] = (RIGHT[stage, target, variant, seed, 0] + right) / 2
    return results


class Plain:
    """A claim's numbers by loops over runs and images, of which test_statistics.py checks what they say together."""

    def __init__(self, endpoint: str, target: str | None):
        self.endpoint, self.target, self.error = endpoint, target, endpoint == "finetune"
        self.stage = endpoint if endpoint in ("svm", "finetune") else "moved"
        self.whiches = {"svm": (0, 1), "augmented": (0.5, 1.0)}.get(endpoint, (0,))

    def shares(self, variant: str, seed: int) -> np.ndarray | None:
        """(n,) the share of draws, or of steps, in which an image is right; None where there is no such run."""
        found = [RIGHT.get((self.stage, self.target, variant, seed, which)) for which in self.whiches]
        return None if found[0] is None else sum(found) / len(found)

    def worst(self, shares: np.ndarray) -> int:
        return int(np.argmin([shares[k == CONCEPTS].mean() for k in range(4)]))

    def value(self, variant: str, seed: int) -> float:
        shares = self.shares(variant, seed)
        concepts = [100 * shares[k == CONCEPTS].mean() for k in range(4)]
        measures = {"worst_concept": min(concepts), "best_concept": max(concepts), "mean_concept": sum(concepts) / 4}
        measures |= {"concept_gap": max(concepts) - min(concepts), "finetune": 100 - 100 * shares.mean()}
        return measures.get(self.endpoint, 100 * shares.mean())

    def seeds(self, *variants: str) -> list[int]:
        return [s for s in range(5) if all(self.shares(variant, s) is not None for variant in variants)]

    def differences(self, better: str, other: str) -> list[float]:
        return [self.value(better, s) - self.value(other, s) for s in self.seeds(better, other)]

    def image_error(self, better: str, other: str) -> float | None:
        """Of the mean over seeds; images of a concept vary, how many there are of it does not."""
        seeds = self.seeds(better, other)
        if not seeds or any((self.stage, self.target, v, s) in UNKNOWN for v in (better, other) for s in seeds):
            return RECORDED.get((self.endpoint, self.target, better, other))
        parts = np.zeros(IMAGES)
        for s in seeds:
            for variant, sign in ((better, 1), (other, -1)):
                shares = self.shares(variant, s)
                if self.endpoint == "worst_concept":
                    shares = shares * (self.worst(shares) == CONCEPTS)
                parts += sign * shares * 100 / len(seeds)
        if self.endpoint != "worst_concept":
            return stats.sem(parts)
        return sum(stats.sem(parts[k == CONCEPTS]) ** 2 for k in range(3)) ** 0.5  # the fourth has one image

    def pair(self, asked: dict, other: str) -> dict:
        relation, margin = asked["relation"], asked["margin"] or 0.0
        values, error = self.differences(asked["better"], other), self.image_error(asked["better"], other)
        n, mean = len(values), sum(values) / len(values) if values else None
        found = {"compared": other, "difference": mean, "seeds": n, "verdict": "undecided"}
        found["ci95_test"] = None if error is None or mean is None else statistics.over_images(mean, error)
        if n < 2:
            return found | dict.fromkeys(("ci95", "ci95_seeds", "p", "detectable"))
        error = error or 0.0
        low, high = statistics.over_seeds(values, error)
        from_, to = -margin, margin  # between which the true difference is claimed to be
        if relation != "similar":
            from_, to = (-np.inf, margin) if self.error else (-margin, np.inf)
        inside, outside = from_ < low and high < to, high < from_ or to < low
        found["verdict"] = "holds" if inside else "fails" if outside else "undecided"
        found["p"] = max(statistics.p_value(values, end, error) for end in (from_, to) if np.isfinite(end))
        if relation == "similar" and not from_ < mean < to:
            found["p"] = 1.0
        found["detectable"] = statistics.detectable(stats.sem(values), n, error)
        return found | {"ci95": (low, high), "ci95_seeds": statistics.over_seeds(values)}

    def row(self, asked: dict, primary: bool) -> dict:
        given = {"relation": "better", "margin": None} | asked | {"target": self.target, "primary": primary}
        pairs = [self.pair(given, other) for other in np.atleast_1d(given["than"])]
        sign = -1 if self.error else 1
        least = pairs[0]
        for pair in pairs[1:]:
            if not pair["ci95"] or not least["ci95"]:
                pytest.fail("takes pairs with intervals")
            if min(sign * end for end in pair["ci95"]) < min(sign * end for end in least["ci95"]):
                least = pair
        verdicts, name = [pair["verdict"] for pair in pairs], given.pop("name")
        row = {"claim": name} | given | least | {"pairs": pairs if len(pairs) > 1 else [], "beside": {}}
        row["verdict"] = next(verdict for verdict in ("fails", "undecided", "holds") if verdict in verdicts)
        row["p"] = None if least["p"] is None else max(pair["p"] for pair in pairs)
        beside = {"worst_concept": ["mean_concept", "best_concept", "concept_gap"], "augmented": ["benchmark_accuracy"]}
        for name in beside.get(self.endpoint, []):
            values = Plain(name, None).differences(row["better"], row["compared"])
            mean = sum(values) / len(values) if values else None
            row["beside"][name] = {"difference": mean, "ci95": statistics.over_seeds(values)}
        return row


def trend(asked: dict) -> dict:
    """A row about doses: Page's test both ways."""
    values = doses(asked["endpoint"], asked["trend"])
    table = np.transpose(list(values.values()))
    up, down = statistics.trend(table), statistics.trend(-table)
    return {
        "claim": asked["name"], "source": "Fig. 4", "relation": "trend", "trend": asked["trend"], "primary": True,
        "endpoint": asked["endpoint"], "doses": {name: np.mean(those) for name, those in values.items()}, "seeds": 4,
        "difference": np.mean(table[:, -1] - table[:, 0]), "p": min(1, 2 * min(up, down)), "least_p": 2 / 24**4,
        "verdict": "holds" if up < 0.025 else "fails" if down < 0.025 else "undecided", "beside": {}, "pairs": [],
        **dict.fromkeys(("target", "better", "than", "compared", "margin", "ci95", "ci95_seeds", "ci95_test")),
        "detectable": None,
    }  # fmt: skip


def corrected(rows: list[dict]) -> list[dict]:
    """With Holm's p, of those that have one."""
    p = iter(statistics.holm([row["p"] for row in rows if row["p"] is not None]))
    for row in rows:
        row["p_holm"] = None if row["p"] is None else next(p)
    return rows


def same(found, expected) -> None:
    """Numbers to rounding, in whatever they are nested."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, (list, tuple)) and not isinstance(found, str):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == (pytest.approx(expected, rel=1e-5, abs=1e-9) if isinstance(expected, float) else expected)


ASKED = [
    claim(better, than, target, f"{better} {than} {endpoint} {more}", endpoint, **more)
    for endpoint, target in (("svm", "clean"), ("finetune", "clean"), ("augmented", None), ("worst_concept", None))
    for better, than in (("el", "erm"), ("erm", "late"), ("cl", "el"))
    for more in ({}, {"relation": "no_worse", "margin": 1.0}, {"relation": "similar", "margin": 9.0})
    if target or not more
]
ASKED += [
    claim("cl", ["erm", "el"], "clean", "each", relation="better"),
    claim("erm", ["cl", "late", "el"], "clean", "none", relation="better"),
    claim("erm", ["cl", "late", "el"], "clean", "of errors", "finetune", relation="no_worse", margin=3.0),
    claim("erm", "late", "clean", "not so bad", relation="no_worse", margin=2.0),
    claim("erm", "el", "clean", "mirrored"),
    claim("el", "late", "clean", "of recorded images"),
    claim("el", "late", None, "of unknown images", "augmented"),
    claim("once", "erm", "clean", "of one seed"),
    claim("once", "erm", None, "of one seed, too", "worst_concept"),
    claim("el", "none", "clean", "of no seed"),
    claim("none", "el", None, "of no seed, too", "augmented"),
]


def test_all_rows_are_those_of_loops_over_runs_and_images():
    """Primary ones, those on the other targets that are no primary ones' and not asked twice, and both corrections."""
    trends = [{"name": f"{e} {a}", "source": "Fig. 4", "trend": a, "endpoint": e} for e, a in RANKS]
    expected = [Plain(asked["endpoint"], asked["target"]).row(asked, True) for asked in ASKED]
    primary = corrected(expected + [trend(asked) for asked in trends])
    secondary: list[dict] = []
    for asked in ASKED:
        again = asked["target"] and asked.get("relation", "better") == "better" and isinstance(asked["than"], str)
        for target in ("clean", "noisy", "blank") if again else ():
            rows = [row for row in expected + secondary if row["endpoint"] == asked["endpoint"]]
            known = [
                {row["better"], than} for row in rows for than in np.atleast_1d(row["than"]) if row["target"] == target
            ]
            if {asked["better"], asked["than"]} not in known:
                secondary.append(Plain(asked["endpoint"], target).row(asked, False))
    corrected(secondary)
    lost = [row for row in secondary if row["p"] is not None and row["p"] < 0.05 <= row["p_holm"]]
    assert {row["verdict"] for row in lost} & {"holds", "fails"}  # which the correction takes away
    for row in secondary:
        row["verdict"] = row["verdict"] if row["p_holm"] is not None and row["p_holm"] < 0.05 else "undecided"
    assert {row["verdict"] for row in secondary} == {"holds", "undecided"}
    decided = {(row["relation"], row["endpoint"] == "finetune", row["verdict"]) for row in primary}
    assert len(decided) == 3 * 2 * 3 + 3  # three relations, more and less is better, and trends
    results = world(ASKED + trends)
    rows = claims(results)
    same(rows, primary + secondary)
    shown = report.tables(results, rows)
    doses = ["larger τ: erm < tau0.5 < tau2 < tau10", "smaller λ: erm < lam10 < lam1 < lam0.1"]
    assert shown["claims"].Compared.tolist()[-4:] == 2 * doses
    [each] = [row for row in rows if row["claim"] == "each"]
    assert "better than ERM [erm] and ERM [el]" in statement(results, each)
    for name, those in (("claims", primary), ("claims_secondary", secondary)):
        assert shown[name]["p (Holm)"].tolist() == ["–" if r["p"] is None else f"{r['p_holm']:.3f}" for r in those]
        assert shown[name]["Seeds"].tolist() == [str(row["seeds"]) for row in those]
        assert shown[name]["Verdict"].tolist() == [row["verdict"] for row in those]
        assert [text.split()[0] for text in shown[name]["Difference [95% CI]"]] == [shown_as(row) for row in those]
    p_values = ["–" if row["p"] is None else f"{row['p']:.3f}" for row in secondary]
    assert shown["claims_secondary"]["p"].tolist() == p_values
    beside = [(row["claim"], measure, found) for row in primary for measure, found in row["beside"].items()]
    written = [f"{name} {measure.replace('_', ' ')} {shown_as(found)}" for name, measure, found in beside]
    columns = shown["claims_beside"].drop(columns="Compared").to_numpy().tolist()
    assert [" ".join(row).partition(" [")[0] for row in columns] == [text for text in written if text[-1] != "–"]
    late = next(row for row in rows if row["claim"] == "of recorded images")  # of the seeds that both have
    means = [np.mean([Plain("svm", "clean").value(variant, seed) for seed in (1, 3, 4)]) for variant in ("el", "late")]
    assert pair_means(results, late) == pytest.approx(means)
    halves = [Plain("svm", "clean").value("el", seed) / 2 for seed in range(5)]  # as world has it
    assert results.runs("svm_validation", "clean").el.sort_index().tolist() == pytest.approx(halves)


def shown_as(found: dict) -> str:
    return "–" if found["difference"] is None else f"{found['difference']:+.2f}"


def decided(asked: dict, concepts=None, **measures) -> dict:
    """The row of a claim about runs that are given as {measure: {variant: (value of each seed, ...)}}."""
    rows = [
        {"measure": measure, "target": asked.get("target") or "", "variant": variant, "seed": seed, "value": value}
        for measure, by in measures.items()
        for variant, values in by.items()
        for seed, value in enumerate(values)
    ]
    frame = pd.DataFrame(concepts or {"concept": ["a"], "classes": [10], "images": [10], "q0": [1.0]})
    variants = dict.fromkeys(["erm", *(variant for by in measures.values() for variant in by)], VARIANTS["erm"])
    results = Results("known", "erm", "b", ["clean"], variants, ["erm"], claims=[asked], concepts=frame)
    results.recorded = pd.DataFrame(rows)
    return claims(results)[0]


def test_the_floor_is_a_fifth_of_the_baselines_way_above_chance():
    """From 10% by chance to 80: 24%. Where a file gives the concepts of images, the classes are not those of a row."""
    concepts = {"concept": ["a", "b"], "classes": [7, 8], "of": [10, 10], "images": [5, 5], "q0": [0.5, 0.5]}
    for accuracy, above in ((24.5, True), (23.5, False)):
        seeds = [(value + 6, value - 3, value - 3) for value in (80, accuracy)]  # their mean counts
        steps = {f"accuracy_step_{i}": {"erm": those, "el": (90.0,) * 3} for i, those in enumerate(seeds)}
        row = decided(claim(endpoint="augmented", target=None), concepts, **steps)
        assert (row["difference"] is not None) == above


def test_no_step_is_above_the_floor_of_a_baseline_at_chance():
    """Nor one at which it is within a twentieth of the way from chance to 100%: here up to 14.5%."""
    for accuracies, seeds in (((10.5, 11.0), 0), ((14.0, 14.5), 0), ((14.5, 15.0), 2)):
        steps = {f"accuracy_step_{size}": {"erm": accuracies, "el": (60.0, 61.0)} for size in (0, 0.5)}
        row = decided(claim(endpoint="augmented", target=None), **steps)
        assert (row["seeds"], row["difference"] is None) == (seeds, not seeds)


def test_a_difference_of_just_the_margin_is_undecided():
    """Interval and margin are the same number: nothing is claimed of the margin itself."""
    erm = (80.0, 81.0, 80.5)
    for relation, margin, difference in (
        *[("better", None, 0.0), ("no_worse", 0.5, -0.5), ("similar", 0.5, 0.5), ("similar", 0.5, -0.5)],
    ):
        row = decided(claim(relation=relation, margin=margin), svm={"erm": erm, "el": np.add(erm, difference)})
        assert (row["ci95"], row["verdict"]) == ((difference, difference), "undecided")
        assert row["p"] == 1.0
        more = decided(claim(relation=relation, margin=margin), svm={"erm": erm, "el": np.add(erm, difference + 2**-9)})
        assert more["verdict"] == ("fails" if difference > 0 else "holds")


def test_of_one_seed_the_least_difference_is_shown_and_none_decides():
    asked = claim("el", ["erm", "cl", "pgd"], relation="better")
    row = decided(asked, svm={"erm": (80.0,), "el": (84.0,), "cl": (83.0,), "pgd": (70.0,)})
    assert (row["compared"], row["difference"], row["verdict"], row["p"]) == ("cl", 1.0, "undecided", None)
    assert [pair["difference"] for pair in row["pairs"]] == [4.0, 1.0, 14.0]
    row = decided(asked, svm={"erm": (80.0, 81.0), "el": (84.0, 85.1), "cl": (70.0,)})
    assert (row["compared"], row["difference"], row["seeds"]) == ("pgd", None, 0)
    tuned = claim("el", ["erm", "cl"], relation="better", endpoint="finetune")
    assert decided(tuned, finetune={"erm": (20.0,), "el": (18.0,), "cl": (19.0,)})["compared"] == "cl"


def test_a_trend_takes_three_doses_and_a_seed_that_has_them_all():
    asked = {"name": "a", "source": "Fig. 5", "trend": "tau", "endpoint": "worst_concept"}
    for doses, each in (({"erm": (60.0, 61.0), "tau1": (70.0, 69.0)}, [60.5, 69.5]), ({}, [])):
        measures = {"accuracy_dog": {"erm": (60.0, 61.0)} | {f"search:{name}": those for name, those in doses.items()}}
        row = decided(asked, **measures)
        assert (row["doses"], row["verdict"], row["p"]) == (dict(zip(doses, each, strict=True)), "undecided", None)
    assert row["least_p"] is None
    apart = {"search:erm": (60.0, 61.0), "search:tau0.1": (np.nan, 62.0), "search:tau1": (63.0, np.nan)}
    row = decided(asked, accuracy_dog=apart)  # no seed has all
    assert [row[key] for key in ("doses", "difference", "seeds", "p", "least_p")] == [{}, None, 0, None, None]
    runs = {f"search:{name}": (60.0 + i,) for i, name in enumerate(("erm", "tau0.1", "tau1"))}
    row = decided(asked, accuracy_dog=runs | {"search:tau10": ()})
    assert (row["p"], row["least_p"], row["seeds"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 1)


def test_the_worst_concepts_images_count_as_drawing_others_of_the_same_concepts_has_it():
    random, concepts = np.random.default_rng(0), np.repeat([0, 1], [60, 140])
    share = {"erm": (0.3, 0.8), "cl": (0.45, 0.75)}
    hits = {(v, s): random.random(200) < np.take(share[v], concepts) for v in share for s in range(4)}

    def difference(rows) -> float:
        def worst(v, s):
            return min(hits[v, s][rows][concepts[rows] == k].mean() for k in (0, 1))

        return 100 * np.mean([worst("cl", s) - worst("erm", s) for s in range(4)])

    accuracies = [
        {"variant": v, "seed": s, "concept": name, "accuracy": 100 * those[concepts == k].mean()}
        for (v, s), those in hits.items()
        for k, name in enumerate(("dog", "cat"))
    ]
    results = measured([claim("cl", target=None, endpoint="worst_concept")], concept_accuracy=pd.DataFrame(accuracies))
    results.moved_correct = {run: {0.0: those, 1.0: those} for run, those in hits.items()}
    results.validation_concepts = concepts
    [row] = claims(results)
    assert row["difference"] == pytest.approx(difference(np.arange(200)))
    kinds = np.arange(60), np.arange(60, 200)
    draws = [difference(np.concatenate([random.choice(kind, len(kind)) for kind in kinds])) for _ in range(1000)]
    assert (row["ci95_test"][1] - row["ci95_test"][0]) / 2 / 1.96 == pytest.approx(np.std(draws), rel=0.1)


def test_endpoints_are_those_of_params():
    assert set(ENDPOINTS) == set(MEASURED_RUNS)


def measured(claims=(), **frames) -> Results:
    """The course of fine-tuning and losses per concept of five seeds."""
    finetune, history, accuracies = [], [], []
    for variant, seed in ((variant, seed) for variant in ("erm", "cl") for seed in range(5)):
        erm, run = variant == "erm", {"variant": variant, "seed": seed}
        for step in (1, 2):
            course = {"target": "digits", "epoch": step, "step": step, "train_loss": 1.0}
            finetune.append(run | course | {"test_error": (20.0 if erm else 15.0) - step})
        losses = {"val_loss": 2.0, "loss_dog": 2.0 + seed, "loss_cat": 1.0 if erm else 9.0}
        history.append(run | {"epoch": 1, "train_loss": 1.0, "val_accuracy": 80.0} | losses)
        for concept, accuracy in (("dog", 60.0 if erm else 70.0), ("cat", 90.0 if erm else 85.0)):
            accuracies.append(run | {"concept": concept, "accuracy": accuracy + seed})
    rows = {"finetune": finetune, "history": history, "concept_accuracy": accuracies}
    given = {name: pd.DataFrame(those) for name, those in rows.items()}
    given["concepts"] = pd.DataFrame({"concept": ["dog", "cat"], "classes": 50, "images": [30, 10], "q0": [0.75, 0.25]})
    targets = ["digits", "pets", "cats"]
    return Results("m", "erm", "b", targets, VARIANTS, ["erm"], claims=list(claims), **given | frames)


def test_premise_is_the_baselines_loss_on_a_targets_concepts():
    shares = [("digits", "unknown", 1.0), ("pets", "dog", 0.5), ("pets", "fish", 0.5), ("cats", "cat", 1.0)]
    results = measured(target_concepts=pd.DataFrame(shares, columns=["target", "concept", "share"]))
    results.shifts = {"digits": "both", "pets": "concepts", "cats": "concepts"}
    assert results.runs("benchmark_loss").to_numpy().tolist() == [[2.0, 2.0]] * 5  # on validation images
    losses = concept_losses(results)
    assert losses.loss.tolist() == pytest.approx([4.0, 1.0])  # the mean over seeds
    assert losses.badly.tolist() == [True, False]
    three = pd.DataFrame(
        {"concept": ["dog", "cat", "cow"], "classes": 50, "images": [30, 8, 2], "q0": [0.75, 0.2, 0.05]}
    )
    several = measured(concepts=three, history=results.history.assign(loss_cow=3.0))
    assert concept_losses(several).badly.tolist() == [True, False, False]  # the mean of images, not of concepts
    several = measured(concepts=three)  # a concept without validation images
    mixes = {"third": {"dog": 0.3, "cat": 0.3, "cow": 0.4}, "rest": {"dog": 0.4, "fish": 0.6}}
    rows = [(target, concept, share) for target, mix in mixes.items() for concept, share in mix.items()]
    several.target_concepts = pd.DataFrame(rows, columns=["target", "concept", "share"])
    several.targets, several.shifts = list(mixes), dict.fromkeys(mixes, "both")
    found = target_premise(several)
    assert (found.premise.tolist(), found.known.tolist()) == (["fails", "unknown"], pytest.approx([0.6, 0.4]))
    assert found.loss.tolist() == pytest.approx([2.5, 4.0])
    assert found.benchmark_loss.tolist() == pytest.approx([(0.75 * 4 + 0.2 * 1) / 0.95] * 2)
    single = measured(concepts=three[:1].assign(q0=1.0), target_concepts=results.target_concepts[1:2].assign(share=1.0))
    single.shifts = {"pets": "concepts"}
    assert (concept_losses(single).badly.tolist(), target_premise(single).premise.tolist()) == ([False], ["fails"])
    table = target_premise(results).set_index("target")
    assert table.premise.to_dict() == {"digits": "unknown", "pets": "holds", "cats": "fails"}
    assert table.distance.tolist()[1:] == pytest.approx([0.5, 0.75])
    assert table.loss[["pets", "cats"]].tolist() == pytest.approx([4.0, 1.0])
    assert table.benchmark_loss.tolist() == pytest.approx([3.25] * 3)
    assert np.isnan(table.distance["digits"])  # no number where the concept of an image is unknown
    assert np.isnan(table.loss["digits"])
    shown = tables(results)
    assert shown["premise_targets"].to_numpy().tolist() == [
        ["digits", "both", "–", "0.00", "–", "3.250", "unknown"],
        ["pets", "concepts", "0.50", "0.50", "4.000", "3.250", "holds"],
        ["cats", "concepts", "0.75", "1.00", "1.000", "3.250", "fails"],
    ]
    assert shown["premise_concepts"].to_numpy().tolist() == [
        ["dog", "0.7500", "4.000", "yes"],
        ["cat", "0.2500", "1.000", "no"],
    ]
    assert [line.split()[0] for line in problems(results)] == ["cats"]
    assert "on its mix of concepts is 1.000, on the benchmark's 3.250." in problems(results)[0]
    assert metrics(results)["premise"]["targets"]["cats"] == {"premise": "fails", "distance": 0.75, "loss": 1.0}


def test_the_premise_says_how_much_weight_a_targets_concepts_got_and_what_it_did():
    shares = [("digits", "unknown", 1.0), ("pets", "dog", 0.9), ("pets", "cat", 0.1), ("cats", "cat", 0.5)]
    shares += [("cats", "fish", 0.5)]  # of which the benchmark has none
    shares += [("same", "dog", 0.745), ("same", "cat", 0.255), ("odd", "dog", 0.5), ("odd", "unknown", 0.5)]
    shares += [("new", "fish", 1.0), ("near", "dog", 0.735), ("near", "cat", 0.265)]
    results = measured(target_concepts=pd.DataFrame(shares, columns=["target", "concept", "share"]))
    results.targets += ["same", "odd", "new", "near"]  # the benchmark's mix but for 0.5% or 1.5%; unknown; other ones
    for frame, seeds in (("concept_accuracy", 4), ("history", 3)):  # the seeds that both have count
        setattr(results, frame, getattr(results, frame).query(f"variant == 'erm' or seed < {seeds}"))
    results.concept_accuracy["accuracy"] += results.concept_accuracy.eval("4 * (variant == 'cl' and seed == 0)")
    results.history = results.history.assign(q_dog=0.6, q_cat=0.4)  # of ERM's, too, whose weights are not used
    table = target_weights(results).set_index(["target", "variant"])
    assert table.index.tolist() == [("pets", "cl"), ("cats", "cl"), ("near", "cl")]
    assert table.weight.tolist() == pytest.approx([0.9 * 0.6 / 0.75 + 0.1 * 0.4 / 0.25, 0.4 / 0.25, 1.012])
    assert table.difference.tolist() == pytest.approx([0.9 * 10 - 0.1 * 5 + 1, -5 + 1, 6.025 + 1])
    width = stats.t(3).ppf(0.975) * np.std([4, 0, 0, 0], ddof=1) / 2
    assert table.loc[("cats", "cl"), ["low", "high"]].tolist() == pytest.approx([-4 - width, -4 + width])
    table = tables(results)["premise_weights"]
    assert table.columns[:3].tolist() == ["Target", "Method", "Weight of its mix of concepts"]
    assert table.iloc[1, 2:].tolist() == ["1.60", "-4.00 [-7.18, -0.82]"]
    results.concept_accuracy = results.concept_accuracy.query("variant == 'erm'")
    vars(results).pop("values", None)
    assert target_weights(results).empty
