"""The numbers against scipy, the files byte for byte, the page in a browser, claims anew from the files, and power."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from matplotlib.colors import to_rgb
from scipy import stats

from hrrl import report
from hrrl.errors import UserError
from hrrl.methods import theory
from hrrl.report import Results, headline, headline_changes, label, labels, plots, power, search, statistics
from hrrl.report.figures import CHARTS, looks
from hrrl.report.page import problems
from hrrl.report.recorded import pooled, recorded
from hrrl.report.results import PAPER
from hrrl.report.summary import of_targets, scores
from hrrl.report.tables import plateau
from hrrl.report.words import against, interval, statement
from hrrl.settings.schema import load
from scripts import claims as command

GRADIENT, HRRL = {"gradient": {"tau": 0.5}}, {"hrrl": {"lam": 1.0, "c": 10.0, "s": 100}}
VARIANTS = {
    "erm": {"example": None, "concept": None},
    "el": {"example": GRADIENT, "concept": None},
    "cl": {"example": None, "concept": HRRL},
    "hrrl": {"example": GRADIENT, "concept": HRRL},
}
CONCEPTS = ["garment", "footwear", "wheeled vehicle"]
MEMBERS = {
    **{"dataset": "benchmark", "concept": "a<script>alert(1)</script>", "classes": "<script>alert(2)</script>"},
    **{"example": "<script>alert(3)</script>", "way": "entity.n.01"},
}
CLAIMS = [
    {"name": "transfer", "source": "Table 2", "better": "el", "than": "erm", "endpoint": "svm"},
    {"name": "keeps", "source": "Table 2", "better": "hrrl", "than": ["el", "cl"], "endpoint": "svm"}
    | {"relation": "no_worse", "margin": 0.5},
    {"name": "both", "source": "Table 4", "better": "hrrl", "than": ["el", "cl"], "endpoint": "svm"},
    {"name": "same", "source": "Table 3", "better": "el", "than": "erm", "endpoint": "svm"}
    | {"relation": "similar", "margin": 0.5},
    {"name": "tuned", "source": "Fig. 3", "better": "hrrl", "than": "erm", "endpoint": "finetune"},
    {"name": "augmented", "source": "Fig. 4", "better": "el", "than": "erm", "endpoint": "augmented"},
    {"name": "worst", "source": "Fig. 5", "better": "cl", "than": "erm", "endpoint": "worst_concept"},
    {"name": "dose", "source": "Fig. 4", "trend": "tau", "endpoint": "augmented"},
]


def claims_about(variants, target) -> list[dict]:
    """The claims whose variants there are."""
    named = [c for c in CLAIMS if "trend" in c or {c["better"], *np.atleast_1d(c["than"])} <= set(variants)]
    return [claim | ({"target": target} if claim["endpoint"] in ("svm", "finetune") else {}) for claim in named]


def made(variants=VARIANTS, seeds=(0, 1, 2), targets=("lowres", "cifar"), concepts=CONCEPTS, epochs=3) -> Results:
    """Results of a pipeline that never ran; every number depends on the seed and the variant."""
    random, s = np.random.default_rng(0), np.arange(2, 2000)
    runs = [{"variant": variant, "seed": seed} for variant in variants for seed in seeds]

    def each(rows, key, values) -> list[dict]:
        return [row | {key: value} for row in rows for value in values]

    def noisy(rows, **centres):
        return pd.DataFrame([row | {k: v + random.normal(0, 1) for k, v in centres.items()} for row in rows])

    on_targets, steps = [{"target": target} | run for target in targets for run in runs], (0, 0.5, 2.0)
    fit = {"draw": 0, "C": 0.1, "edge": False, "converged": True}
    per_concept = {f"accuracy_{c}": 80.0 for c in concepts} | {f"loss_{c}": 5.0 for c in concepts}
    frames = {
        "svm": noisy([row | fit for row in on_targets], accuracy=80, validation=81),
        "history": noisy(
            each(runs, "epoch", range(1, epochs + 1)), train_loss=5, val_accuracy=90, **per_concept
        ).assign(**{f"q_{c}": 1 / len(concepts) for c in concepts}),
        "finetune": noisy(each(on_targets, "step", range(20, 20 * epochs + 1, 20)), train_loss=5, test_error=20),
        "robustness": noisy(each(runs, "step_size", steps), accuracy=70),
        "concept_accuracy": noisy(each(runs, "concept", concepts), accuracy=75),
        "smoothness": pd.DataFrame(each(runs, "gradient", (0.3, 0.6, 3.0, 6.0))).eval("L = 1.0 + 1.0 * (gradient > 5)"),
        "variances": pd.DataFrame(each(runs, "concept", concepts)).eval("factor = 3.0 + seed**2"),
    }
    # Two values of each axis alone and together, beside neither; on two tuning seeds.
    values = (float("nan"), 0.1, 1.0)
    points = each(each(each([{}], "tau", values), "lam", values), "seed", (7, 8))
    frames |= {
        "search": noisy(points, benchmark=90, **{f"accuracy_{target}": 80 for target in targets}),
        "search_steps": noisy(each(points, "step_size", steps), accuracy=70),
        "search_concepts": noisy(each(points, "concept", concepts), accuracy=75),
    }
    measured = {name: mu for name, mu in (("hrrl", 12.0), ("cl", 1.0)) if name in variants}
    mus = [(np.nan, 50.0), (np.nan, 100.0), *measured.items()]
    curves = [pd.DataFrame({"variant": name, "mu": mu, "lam": 1.0, "s": s, "h": theory.h(s, mu)}) for name, mu in mus]
    regret = each(each([run for run in runs if run["variant"] == "hrrl"], "c", (10.0, 1.0)), "steps", (1, 10, 100))
    regret = pd.DataFrame(regret, columns=["variant", "seed", "c", "steps"]).assign(s=100)
    slow = {"variant": "hrrl", "lam": 1.0, "s": 100, "c": 10.0, "mu": 12.0, "mu_run": 14.0, "batches": 20}
    slow |= {"suggested_s": 31, "suggested_c": 3.1, "implied_mu": 65.9}
    none = {"variant": "cl", "lam": 1.0, "s": 0, "c": 10.0, "mu": 1.0, "mu_run": 1.0, "batches": 20}
    shares = [{"target": t, "concept": concept, "share": 1.0} for t, concept in zip(targets, concepts, strict=False)]
    frames |= {
        "curves": pd.concat(curves),
        "regret": regret.assign(regret=10 / regret.c / regret.steps, bound=90 / regret.c / regret.steps),
        "maxima": pd.DataFrame(
            [{"mu": mu, "s": s, "h": theory.h(s, mu), "c": theory.c(s, mu)} for mu, s in ((50.0, 230), (100.0, 1000))]
        ),
        "suggestions": pd.DataFrame([slow, none]).query("variant in @variants"),
        "table1": pd.DataFrame({"concept": ["animal"], "classes": [120], "paper": [121]}),
        "concepts": pd.DataFrame({"concept": concepts, "classes": 1, "images": 100, "q0": 1 / len(concepts)}),
        "target_concepts": pd.DataFrame(shares),
    }
    return Results(
        *("made", "hrrl", "garments", list(targets), variants, list(variants)),
        target_kinds={"cifar": "cifar10", "lowres": "fashion_mnist"},
        shifts=dict(zip(targets, ("images", "concepts"), strict=False)),
        claims=claims_about(variants, targets[0]),
        **frames,
    )


def of(frame, **where):
    return frame[np.logical_and.reduce([frame[key] == value for key, value in where.items()])]


def by_variant(frame, column, **where):
    """A column of these rows: variants as columns, with a row for each seed."""
    return of(frame, **where).pivot(index="seed", columns="variant", values=column)


def mean_and_std(values) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"


def metrics(results) -> dict:
    return report.metrics(results, report.claims(results))


def tables(results) -> dict:
    return report.tables(results, report.claims(results))


def figures(results, folder) -> list[str]:
    return report.figures(results, report.claims(results), plots(results), folder)


def page(results, folder, params="") -> str:
    rows = report.claims(results)
    return report.page(results, rows, report.tables(results, rows), folder, params)


def nothing() -> Results:
    return Results("none", "erm", "garments", ["lowres"], {"erm": VARIANTS["erm"]}, ["erm"])


def twelve() -> Results:
    points = {name: {"example": {name: {"eps": 0.5}}, "concept": HRRL} for name in ("pgd", "wrm", "noise")}
    weightings = ("group_dro", "cvar", "balanced")
    points |= {name: {"example": GRADIENT, "concept": {name: {}}} for name in weightings}
    points |= {name: {"example": {"pgd": {"eps": eps}}, "concept": HRRL} for name, eps in (("a", 1.0), ("b", 2.0))}
    odd = "$(touch <script>alert(4)</script>)$"  # whatever the schema lets through, or a later one would
    return made(VARIANTS | points, (0, 1), ("lowres", "<b>x"), [*(f"concept {k}" for k in range(10)), odd])


@pytest.fixture(scope="module")
def shown() -> dict:
    """The tables of the plain results, of concepts with several shares, and of smoothness that variants differ in."""
    results = made()
    results.concepts = results.concepts.assign(q0=[0.5, 0.3, 0.2])
    results.smoothness.loc[results.smoothness.variant != "el", "gradient"] *= 2
    results.variances.loc[results.variances.variant != "erm", "factor"] *= 2
    return tables(results)


def test_another_q0_is_compared_with_the_same_method_without_it(shown):
    aware = {"hrrl": {**HRRL["hrrl"], "q0": "target:lowres"}}
    plain = {"hrrl": {**HRRL["hrrl"], "q0": "empirical"}}
    points = {"erm": VARIANTS["erm"], "hrrl": {"example": None, "concept": plain}}
    results = made(points | {"aware": {"example": None, "concept": aware}})
    table = tables(results)["q0"]
    runs = by_variant(results.svm, "accuracy", target="lowres")
    assert table["Compared with"].tolist() == [results.labels["hrrl"]]
    assert table["lowres"].item().startswith(f"{(runs.aware - runs.hrrl).mean():+.2f} [")
    assert "q0" not in shown


def test_metrics_are_means_over_seeds_with_stable_keys():
    results = made()
    results.svm.loc[[0, 12], "edge"], results.svm.loc[1, "converged"] = True, False
    tree = json.loads(json.dumps(metrics(results), allow_nan=False))
    assert tree["checks"] == {"svm_fits": 24, "svm_edge": 2, "svm_not_converged": 1}
    drawn = made()
    drawn.svm = pd.concat([drawn.svm, drawn.svm.assign(draw=1)])
    assert metrics(drawn)["checks"]["svm_fits"] == 48  # of each draw
    assert tree["benchmark"]["el"]["accuracy"].keys() == {"mean", "std", "n", "difference"}
    assert tree["robustness"]["el"]["step_0"].keys() == {"mean", "std"}
    columns = of_targets(results, "svm") + of_targets(results, "finetune")
    assert [column.sign for column in columns] == [1, 1, -1, -1]
    assert [column.target for column in columns] == [*results.targets, None, None]
    runs = by_variant(results.svm, "accuracy", target="lowres")
    score = tree["svm"]["lowres"]["hrrl"]
    interval = stats.ttest_rel(runs.hrrl, runs.erm).confidence_interval(0.95)
    assert score["mean"] == pytest.approx(runs.hrrl.mean(), abs=1e-4)
    assert score["std"] == pytest.approx(runs.hrrl.std(ddof=1), abs=1e-4)
    assert [score["difference"]["low"], score["difference"]["high"]] == pytest.approx([*interval], abs=1e-4)
    worst = of(results.concept_accuracy, variant="cl").groupby("seed").accuracy.min().mean()
    assert tree["benchmark"]["cl"]["worst_concept"]["mean"] == pytest.approx(worst, abs=1e-4)
    erm, tuned = {"variant": "erm"}, tree["finetune"]["cifar"]["el"]["test_error"]
    for found, runs in (
        (tree["benchmark"]["cl"]["accuracy"], of(results.history, variant="cl", epoch=3).val_accuracy),
        (tree["robustness"]["erm"]["step_0_5"], of(results.robustness, **erm, step_size=0.5).accuracy),
        (tree["concepts"]["erm"]["wheeled_vehicle"], of(results.concept_accuracy, **erm, concept=CONCEPTS[2]).accuracy),
        (score["validation"], of(results.svm, variant="hrrl", target="lowres").validation),
        (tuned, of(results.finetune, variant="el", target="cifar", step=60).test_error),
    ):
        assert found["mean"] == pytest.approx(runs.mean(), abs=1e-4)
    assert score["n"] == 3
    signs = metrics(made(concepts=["+1", "-1"]))["concepts"]["erm"]
    assert len({signs["_1"]["mean"], signs["_1_"]["mean"]}) == 2
    assert set(tree["q"]) == {"cl", "hrrl"}
    losses = of(results.history, variant="erm", epoch=3)
    assert tree["premise"]["concepts"]["garment"] == pytest.approx(losses.loss_garment.mean(), abs=1e-4)
    assert tree["theory"]["maxima"]["mu_50"]["s"] == 230
    assert (tree["theory"]["variants"]["hrrl"]["mu"], tree["theory"]["variants"]["cl"]["mu"]) == (12, 1)
    decided = {row["claim"]: row for row in report.claims(results) if row["primary"]}
    assert {name: found["difference"] for name, found in tree["claims"].items()} == {
        name: pytest.approx(row["difference"], abs=1e-4) for name, row in decided.items()
    }
    images = {"el": np.tile([1.0, 0.0], 50), "erm": np.tile([0.0, 1.0, 1.0, 0.0], 25)}
    results.correct = {("lowres", variant, seed): hits for variant, hits in images.items() for seed in range(3)}
    found, row = metrics(results)["claims"]["transfer"], report.claims(results)[0]
    assert [found["low"], found["high"]] == pytest.approx(row["ci95"], abs=1e-4) != pytest.approx(row["ci95_seeds"])
    holding = sum(row["verdict"] == "holds" for row in decided.values())
    assert headline(tree, "hrrl")["claims"] == f"{holding}/{len(CLAIMS)}"


def test_theory_says_where_no_slow_start_pays(shown):
    table = shown["suggestions"].set_index("Method")
    assert table.Suggested.tolist() == ["s = 31, c = 3.1", "no slow start pays"]
    assert table["In use"].tolist() == ["s = 100, c = 10", "no slow start"]
    assert table["μ that it implies"].tolist() == ["65.9", "–"]
    assert table.filter(like="μ, ").iloc[0].tolist() == ["12.00", "14.00"]
    results = made()
    results.suggestions = results.suggestions.assign(s=1, c=2.0, implied_mu=0.0)
    assert tables(results)["suggestions"].iloc[0, -2:].tolist() == ["s = 1, c = 2", "–"]
    assert shown["h_maxima"].iloc[0].tolist() == ["50", "230", "67.28", "5.44"]


def test_theorem_2_asks_for_a_step_for_each_image(shown):
    row = shown["smoothness"].set_index("Method").loc["EL (τ=0.5)"]
    assert (row["Norm of the gradient"], row["L_x"], row["Largest L_x"]) == ("1.8 [0.3, 6]", "1 [1, 2]", "2")
    assert row["τ of Theorem 2"] == "0.6 [0.1, 1]"  # the norm of the gradient / (3 L_x)
    assert (row["τ in use"], row["λ_w > L_x (%)"]) == ("0.5", "75")  # where the norm of the gradient / 0.5 exceeds 1
    results = made()
    flat = results.smoothness[results.smoothness.variant == "el"].assign(gradient=0.0, L=0.0)
    before, results.smoothness = tables(results)["smoothness"], pd.concat([results.smoothness, flat])
    after = tables(results)["smoothness"]  # with images on which no loss moves
    assert after["λ_w > L_x (%)"].tolist() == before["λ_w > L_x (%)"].tolist()
    row = shown["q_variance"].set_index("Concept").loc["footwear"]
    assert (row["N/N_k"], row["ERM"]) == ("3.3", "4.7")  # the mean over seeds
    assert shown["q_variance"].Concept.tolist() == CONCEPTS
    assert shown["concepts"].iloc[1].tolist() == ["footwear", "1", "100", "0.3000"]
    assert shown["table1"].to_dict("records") == [{"Concept": "animal", "Classes": "120", "Paper": "121"}]


def test_fine_tuning_shows_its_plateau(shown):
    errors = of(made().finetune, variant="el", target="cifar").groupby("step").test_error.mean()
    found = shown["finetune_plateau"].set_index(["Target", "Method"]).loc[("cifar", "EL (τ=0.5)")].tolist()
    assert shown["finetune_plateau"].Method.tolist()[:4] == [label(spec) for spec in VARIANTS.values()]
    least, last = f"{errors[40]:.2f} (step 40)", f"{errors[60]:.2f} (step 60)"
    assert found == [least, last, f"{errors[60] - errors[40]:+.2f}"]
    assert plateau(made(epochs=6))["After 2/3 of the steps"].str.endswith("(step 80)").all()
    tuned = by_variant(made().finetune, "test_error", target="cifar", step=60)
    assert shown["finetune"].set_index("Method").cifar["EL (τ=0.5)"].startswith(f"{tuned.el.mean():.2f} ± ")
    changed = shown["finetune_differences"].set_index("Method").cifar
    assert changed["EL (τ=0.5)"].startswith(f"{(tuned.el - tuned.erm).mean():+.2f} [")
    assert "ERM" not in changed


def test_headline_is_one_variant_without_its_name():
    results = made()
    results.robustness = results.robustness[::-1]  # params may list the steps in any order
    tree = metrics(results)
    found = headline(tree, "hrrl")
    assert found["svm"]["cifar"] == tree["svm"]["cifar"]["hrrl"]["mean"]
    assert found["worst_concept"] == tree["benchmark"]["hrrl"]["worst_concept"]["mean"]
    for name in VARIANTS:
        assert headline(tree, name)["robust"] == tree["robustness"][name]["step_2"]["mean"]
    assert headline(tree, "erm").keys() == found.keys()
    row = headline_changes(tree, "erm", "hrrl").set_index("Metric").loc["svm.cifar"]
    assert float(row.Change) == pytest.approx(tree["svm"]["cifar"]["hrrl"]["difference"]["mean"], abs=0.01)
    assert (row.erm, row.hrrl) == tuple(f"{tree['svm']['cifar'][name]['mean']:.2f}" for name in ("erm", "hrrl"))
    assert len(headline_changes(tree, "erm", "erm")) == 0
    assert headline({"svm": {}, "benchmark": {}, "robustness": {}}, "erm") == {}


def test_a_variant_without_some_seeds_is_scored_by_those_that_it_has():
    results = made()
    results.scores = results.scores.query("variant != 'cl' or seed != 1").reset_index(drop=True)
    erm, el, left = (of(results.scores, target="lowres", variant=name) for name in ("erm", "el", "cl"))
    results.scores.loc[el.index, "accuracy"] = erm.accuracy.to_numpy() - 1e-6
    column = of_targets(results, "svm")[0]
    assert list(column.runs) == ["cl", "el", "erm", "hrrl"]
    assert column.runs["cl"] == dict(zip((0, 2), left.accuracy.round(6), strict=True))
    found = metrics(results)["svm"]["lowres"]
    spread = {"mean": left.validation.mean(), "std": left.validation.std()}
    assert (found["cl"]["n"], found["cl"]["validation"]) == (2, pytest.approx(spread, abs=1e-4))
    assert str(found["el"]["difference"]["mean"]) == "0.0"  # not -0.0


def test_labels_are_the_papers_and_unique():
    assert [label(spec) for spec in VARIANTS.values()] == ["ERM", "EL (τ=0.5)", "CL (λ=1)", "HRRL (τ=0.5, λ=1)"]
    pgd = {"example": {"pgd": {"eps": 0.5, "steps": 3, "step_size": 0.3}}, "concept": {"group_dro": {}}}
    assert label(pgd) == "PGD (ε=0.5, 3 steps) + Group DRO"
    slow = {"example": None, "concept": {"hrrl": {"lam": 1.0, "c": 20.0, "q0": "empirical"}}}
    assert label({"example": None, "concept": {"hrrl": {"lam": 1.0, "q0": "uniform"}}}) == "CL (λ=1, q0=uniform)"
    assert labels({"cl": VARIANTS["cl"], "slow": slow}) == {"cl": "CL (λ=1) [cl]", "slow": "CL (λ=1) [slow]"}


def test_tables_have_the_papers_numbers_for_its_targets_alone(shown):
    assert shown["svm"].Method.tolist() == [f"SVM_{label(spec)}" for spec in VARIANTS.values()]
    row = shown["svm_cifar"].set_index("Method").loc["SVM_HRRL (τ=0.5, λ=1)"]
    assert (row["Paper (%)"], row["Seeds"]) == ("86.49 ± 0.19", "3")
    numbers = [[list(part) for part in zip(*of.values(), strict=True)] for of in PAPER.values()]
    assert numbers == [  # Tables 2 to 4, means and deviations
        [[85.77, 86.62, 85.64, 86.49], [0.12, 0.18, 0.26, 0.19]],
        [[73.47, 73.48, 74.34, 74.23], [0.09, 0.08, 0.05, 0.08]],
        [[63.23, 65.01, 65.47, 67.33], [0.35, 0.37, 0.27, 0.39]],
    ]
    runs = by_variant(made().svm, "accuracy", target="cifar")
    ends = stats.ttest_rel(runs.hrrl, runs.erm).confidence_interval(0.95)
    expected = f"{(runs.hrrl - runs.erm).mean():+.2f} [{ends.low:+.2f}, {ends.high:+.2f}]"
    assert row["Difference to ERM [95% CI]"] == expected
    assert row["Accuracy (%)"] == mean_and_std(runs.hrrl)
    assert "Paper (%)" not in shown["svm_lowres"]
    assert list(shown["svm"].columns) == ["Method", "lowres", "cifar"]
    for name, where in (("svm", {"target": "lowres"}), ("concept_accuracy", {"concept": "footwear"})):
        values = of(getattr(made(), name), variant="cl", **where).accuracy
        assert shown[name][next(iter(where.values()))][2] == mean_and_std(values)
    compared = shown["comparison"].set_index("Method")
    assert list(compared.columns) == ["accuracy", "worst concept", "SVM lowres", "SVM cifar"]
    last = of(made().history, variant="cl", epoch=3).val_accuracy
    assert compared.accuracy["CL (λ=1)"] == mean_and_std(last)
    moved = of(made().robustness, variant="el", step_size=0.5).accuracy
    steps = shown["augmented_accuracy"].set_index("Method")["step size 0.5"]
    assert steps["EL (τ=0.5)"] == mean_and_std(moved)
    assert shown["q"].footwear.tolist() == ["0.333 ± 0.000"] * 2
    row, fit = shown["svm_fits"].iloc[-1], made().svm.iloc[-1]
    assert row[["Seed", "Draw", "C", "C at the edge", "Converged"]].tolist() == ["2", "0", "0.1", "no", "yes"]
    assert (row["Validation (%)"], row["Test (%)"]) == (f"{fit.validation:.2f}", f"{fit.accuracy:.2f}")
    judged = shown["claims"].set_index("Claim")["Judged against"].to_dict()
    assert (judged["transfer"], judged["keeps"], judged["same"], judged["dose"]) == ("0", "-0.50", "±0.50", "chance")
    assert against({"endpoint": "finetune", "relation": "no_worse", "margin": 0.5}) == "+0.50"  # of errors


def test_a_page_says_how_weak_few_seeds_are_and_calls_nothing_better_or_worse_by_one(tmp_path):
    pages = {}
    for seeds in (1, 3, 5):
        results = made(seeds=range(seeds))
        results.scores.loc[results.scores.variant == "hrrl", "accuracy"] += 100
        results.scores.loc[results.scores.variant == "el", "accuracy"] -= 100
        results.finetune.loc[results.finetune.variant == "hrrl", "test_error"] += 50
        pages[seeds] = page(results, tmp_path)
    assert not re.search('class="(better|worse)"', pages[1])
    for sign, found in (("1", {"better", "worse"}), ("-1", {"worse"})):  # of errors, less is better
        lines = "".join(line for line in pages[3].splitlines() if f'data-sign="{sign}"' in line)
        assert {*re.findall('class="difference (better|worse)"', lines)} == found
    assert "One seed only" in pages[1]
    assert "3 seeds only: intervals are right but wide" in pages[3]
    assert "seeds only" not in pages[5]
    assert "SVM fits" not in pages[5]  # each can be trusted


def test_a_page_has_the_papers_numbers_beside_each_claim(tmp_path):
    results = made()
    html = page(results, tmp_path)
    table = html[html.index('id="claims"') : html.index("</table>")]
    assert table.count("<tr><th") == 1 + len(CLAIMS)
    assert "EL (τ=0.5) transfers to lowres (other images, same concepts) better than ERM." in table
    assert "+0.85<small>CIFAR-10: 86.62 vs. 85.77</small>" in table
    means = results.scores[results.scores.target == "lowres"].groupby("variant").accuracy.mean()
    assert f"<small>lowres: {means.el:.2f} vs. {means.erm:.2f}</small>" in table
    assert 'class="verdict undecided" title="the interval reaches over both' in table
    found = [row["verdict"] for row in report.claims(results) if row["primary"]]
    meant = "the whole 95% interval is where the claim says"
    for verdict, word, meaning in (("holds", "hold", meant), ("fails", "fail", f"{meant} it is not")):
        counted = f"{found.count(verdict)} {word}"
        assert f'<b class="verdict {verdict}" title="{meaning}">{counted}</b>' in html
    differs = {"none": "same images, same concepts", "images": "other images, same concepts"}
    differs |= {"concepts": "same kind of images, other concepts", "both": "other images, other concepts"}
    for shift, meaning in differs.items():
        results.shifts["lowres"] = shift
        assert f" to lowres ({meaning}) better" in statement(results, report.claims(results)[0])
    assert "Accuracy on moved images rises with a larger τ in the search." in table
    assert "no worse than EL (τ=0.5) and CL (λ=1), within 0.5 points." in table
    assert "as well as ERM, within 0.5 points." in table


def test_a_page_says_where_the_search_took_the_end_of_its_grid():
    results = made()
    results.search.loc[(results.search.tau == 1.0) & results.search.lam.isna(), "accuracy_cifar"] += 20
    results.search.loc[(results.search.lam == 0.1) & results.search.tau.isna(), "accuracy_cifar"] += 20
    found = "\n".join(problems(results))
    assert "The search took EL (τ=1), the greatest τ of its grid" in found
    assert "The search took CL (λ=0.1), the least λ of its grid" in found
    middle = results.search[results.search.lam.isna() & results.search.tau.notna()].assign(tau=3.0)
    results.search = pd.concat([results.search, middle.assign(accuracy_cifar=0.0)])
    assert "took EL" not in "\n".join(problems(results))


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="svm: columns target"):
        Results("x", "erm", "b", ["t"], VARIANTS, ["erm"], svm=pd.DataFrame({"variant": [], "seed": []}))


# ---------------------------------------------------------------------------------------------------- figures

SHOWN = {  # figure -> the variants that are in it
    "svm_accuracy": list(VARIANTS),
    "claims": list(VARIANTS),
    "fig4_augmented_accuracy": ["erm", "el", "hrrl"],
    "fig5_concept_accuracy": ["erm", "cl", "hrrl"],
}


COLOURS = {"holds": "#009E73", "fails": "#D55E00", "undecided": "#7F7F7F"}  # green, red, grey


@pytest.fixture(scope="module")
def charts():
    """Results, and what their figures are drawn on, by name: lists of axes."""
    results = made()
    results.concepts = results.concepts.assign(q0=[0.5, 0.3, 0.2])
    moved = np.random.default_rng(1).dirichlet([5, 3, 2], len(results.history))
    results.history[[f"q_{name}" for name in CONCEPTS]] = moved
    results.search_steps = results.search_steps[::-1]  # params may list the steps in any order
    rows = [row for row in report.claims(results) if row["primary"] and row["relation"] != "trend"]
    rows = [row | {"verdict": verdict} for row, verdict in zip(rows, [*COLOURS] * len(rows), strict=False)]
    data, look = plots(results) | {"claims": rows}, looks(VARIANTS)
    return results, rows, {name: draw(results, data, look).axes for name, (draw, _) in CHARTS.items()}


def goes_through_means(axis, lines: dict, x: str, y: str) -> None:
    """Whether the lines of these labels have the means of the frames given with them."""
    drawn = {line.get_label(): [*map(tuple, line.get_xydata())] for line in axis.lines}
    for label_, frame in lines.items():
        assert drawn[label_] == [pytest.approx(point) for point in frame.groupby(x)[y].mean().items()], label_


def has_the_spread(band, x: float, runs) -> None:
    """Whether a band at an x reaches one standard deviation around the mean of these runs."""
    ends = sorted({round(y, 9) for at, y in band.get_paths()[0].vertices if at == x})
    assert ends == pytest.approx([runs.mean() - runs.std(), runs.mean() + runs.std()])


def test_claims_and_scores_are_drawn_as_they_are(charts):
    """Intervals with the claimed side on the right; seeds as dots, their means as bars, the paper's as diamonds."""
    results, rows, axes = charts
    drawn = [line.get_xydata() for line in axes["claims"][0].lines]
    coloured = [(line.get_ydata()[0], line.get_color()) for line in axes["claims"][0].lines]
    names = [text.get_text() for text in axes["claims"][0].get_yticklabels()]
    for place, row in enumerate(rows):
        assert [colour for y, colour in coloured if y == place] == [COLOURS[row["verdict"]]] * 2
        sides = " against ".join(label(VARIANTS[row[side]]) for side in ("better", "compared"))
        where = [row["endpoint"].replace("_", " "), *([row["target"]] if row["target"] else [])]
        assert names[place] == f"{sides}\n{' '.join(where)}"
        own = [xy for xy in drawn if round(xy[:, 1].mean()) == place]
        sign, margin = -1 if row["endpoint"] == "finetune" else 1, row["margin"] or 0
        [interval], [[[difference, _]]] = ([xy for xy in own if len({*xy[:, 1]}) == 1 and len(xy) == n] for n in (2, 1))
        assert sorted(interval[:, 0]) == pytest.approx(sorted(sign * bound for bound in row["ci95"]))
        assert difference == pytest.approx(sign * row["difference"])
        ticks = {"better": [0], "no_worse": [-margin], "similar": [-margin, margin]}[row["relation"]]
        assert sorted(xy[0, 0] for xy in own if len({*xy[:, 1]}) == 2) == ticks
    for axis, target in zip(axes["svm_accuracy"], results.targets, strict=True):
        runs = [of(results.svm, target=target, variant=variant).accuracy for variant in VARIANTS]
        bars = [line.get_xdata()[0] for line in axis.lines]
        assert bars == pytest.approx([those.mean() for those in [*runs, runs[0]]])  # the baseline's as a line
        dots = [[[accuracy, row] for accuracy in those] for row, those in enumerate(runs)]
        if target == "cifar":
            dots = [d for row, mean in enumerate((85.77, 86.62, 85.64, 86.49)) for d in (dots[row], [[mean, row]])]
        assert [dots.get_offsets().tolist() for dots in axis.collections] == dots
    names = [text.get_text() for text in axes["svm_accuracy"][0].get_yticklabels()]
    assert names == [label(VARIANTS[variant]) for variant in VARIANTS]


def test_the_search_is_drawn_as_differences_to_erm(charts):
    results, _, axes = charts
    titles = {"accuracy_lowres": "lowres", "accuracy_cifar": "cifar", "benchmark": "benchmark"}
    means = results.search.groupby(["tau", "lam"], dropna=False)[[*titles]].mean().rename(columns=titles)
    means["mean over targets"] = (means.lowres + means.cifar) / 2
    means = (means - means.iloc[-1]).reset_index()  # which lacks both axes
    for axis, one, other in zip(axes["search"], ("tau", "lam"), ("lam", "tau"), strict=False):
        rows = means[means[one].notna() & means[other].isna()].reset_index(drop=True)
        goes_through_means(axis, {title: rows.assign(y=rows[title]) for title in rows.columns[2:]}, rows.index, "y")
        [ring] = [line.get_xydata()[0] for line in axis.lines if len(line.get_xdata()) == 1]
        best = rows["mean over targets"].argmax()
        assert ring.tolist() == [best, pytest.approx(rows["mean over targets"][best])]
        assert [text.get_text() for text in axis.get_xticklabels()] == [f"{value:g}" for value in rows[one]]
    grid = means.dropna().pivot(index="tau", columns="lam", values="mean over targets").to_numpy()
    np.testing.assert_allclose(axes["search"][2].images[0].get_array(), grid)
    for text in axes["search"][2].texts:
        assert text.get_text() == f"{grid[text.get_position()[::-1]]:+.1f}"
    [best] = [text.get_position()[::-1] for text in axes["search"][2].texts if text.get_weight() == "bold"]
    assert grid[best] == grid.max()


def test_curves_are_drawn_through_the_means_of_seeds(charts):
    results, _, axes = charts

    def lines(frame, **where) -> dict:
        return {results.labels[variant]: of(frame, variant=variant, **where) for variant in VARIANTS}

    [moved, swept] = axes["fig4_augmented_accuracy"]
    goes_through_means(moved, lines(results.robustness), "step_size", "accuracy")
    steps = results.search_steps[results.search_steps.lam.isna()].fillna({"tau": 0.0})
    doses = {"ERM": of(steps, tau=0.0), "EL (τ=0.1)": of(steps, tau=0.1), "EL (τ=1)": of(steps, tau=1.0)}
    goes_through_means(swept, doses, "step_size", "accuracy")
    has_the_spread(moved.collections[0], 0, of(results.robustness, variant="erm", step_size=0.0).accuracy)
    for axis, target in zip(axes["fig3_finetuning"], results.targets, strict=True):
        assert axis.get_title() == target
        goes_through_means(axis, lines(results.finetune, target=target), "step", "test_error")
    for axis, (title, column) in zip(
        axes["training"], (("training loss", "train_loss"), ("validation accuracy", "val_accuracy")), strict=True
    ):
        assert axis.get_title().startswith(title)
        goes_through_means(axis, lines(results.history), "epoch", column)
    for axis, variant in zip(axes["q"][2:], ("cl", "hrrl"), strict=True):
        for name in CONCEPTS:
            goes_through_means(axis, {name: of(results.history, variant=variant)}, "epoch", f"q_{name}")
        assert [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == ":"] == [0.5, 0.3, 0.2]
        for name, band in zip(CONCEPTS, axis.collections, strict=True):
            has_the_spread(band, 1, of(results.history, variant=variant, epoch=1)[f"q_{name}"])
    panels = axes["fig5_concept_accuracy"]
    for axis, variant in zip(panels, VARIANTS, strict=False):
        runs = of(results.concept_accuracy, variant=variant).groupby("concept").accuracy
        means = runs.mean().sort_values()
        assert [*map(tuple, axis.lines[-1].get_xydata())] == [pytest.approx((x, i)) for i, x in enumerate(means, 1)]
        [bars], std = axis.collections, runs.std()[means.index]
        assert [ends[:, 0].tolist() for ends in bars.get_segments()] == [
            pytest.approx(ends) for ends in zip(means - std, means + std, strict=True)
        ]
        assert axis.lines[0].get_xdata().tolist() == panels[0].lines[0].get_xdata().tolist()  # the baseline's, behind
        assert axis.get_title().split() == label(VARIANTS[variant]).split()
        assert [text.get_text() for text in axis.get_yticklabels()] == [*means.index]
        assert axis.texts[0].get_text() == f"worst {means.iloc[0]:.1f} %, gap {means.iloc[-1] - means.iloc[0]:.1f}"
    swept = results.search_concepts[results.search_concepts.tau.isna()].fillna({"lam": 0.0})
    for line, lam in zip(panels[-1].lines, (0.0, 0.1, 1.0), strict=True):
        means = of(swept, lam=lam).groupby("concept").accuracy.mean().sort_values()
        assert line.get_label() == (f"CL (λ={lam:g})" if lam else "ERM")
        assert [*map(tuple, line.get_xydata())] == [pytest.approx((x, i)) for i, x in enumerate(means, 1)]
    of_c = [line.get_ydata().tolist() for line in axes["regret"][0].lines]  # regret and bound, of c = 10 and 1
    assert of_c == [pytest.approx([n, n / 10, n / 100]) for n in (1, 9, 10, 90)]
    curves = {line.get_label(): line.get_xydata() for line in axes["fig2_h"][0].lines if len(line.get_xdata()) > 2}
    named = {"μ = 50: s = 230": 50, "μ = 100: s = 1,000": 100, "CL (λ=1): μ = 1: h < 0": 1}
    named |= {"HRRL (τ=0.5, λ=1): μ = 12: s = 31": 12}
    assert curves.keys() == named.keys()
    for name, mu in named.items():
        h = mu * np.sqrt(np.log(curves[name][:, 0]) / 2) - curves[name][:, 0] ** 0.5
        np.testing.assert_allclose(curves[name][:, 1], np.where(h > 0, h, np.nan))
    assert "in use: s = 100" in [line.get_label() for line in axes["fig2_h"][0].lines]
    tops = [line.get_xydata()[0].tolist() for line in axes["fig2_h"][0].lines if len(line.get_xdata()) == 1]
    assert tops == [[s, pytest.approx(mu * np.sqrt(np.log(s) / 2) - s**0.5)] for mu, s in ((50, 230), (100, 1000))]


# ------------------------------------------------------------------------------------------------------ files


def partly_scored() -> Results:
    """Results of three seeds whose test images are known on one target; one variant is not scored."""
    names, random = ["erm", "noise", "el", "cl", "hrrl"], np.random.default_rng(0)
    results = made({name: VARIANTS.get(name, {"example": None, "concept": None}) for name in names})
    for frame in ("svm", "scores", "finetune"):
        setattr(results, frame, getattr(results, frame).query("variant != 'noise'").reset_index(drop=True))
    results.compared.remove("noise")
    moved = random.dirichlet([5, 3, 2], len(results.history))
    results.history[[f"q_{name}" for name in CONCEPTS]] = moved
    cells = results.scores[["target", "variant", "seed"]].itertuples(index=False, name=None)
    results.correct = {cell: (random.random(400) < 0.8).astype(float) for cell in cells if cell[0] == "lowres"}
    return results


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a run writes."""
    folder = tmp_path_factory.mktemp("runs") / "made"
    report.write(partly_scored(), folder)
    return folder


def test_same_results_give_the_same_bytes(written, tmp_path):
    report.write(partly_scored(), tmp_path)
    for name, variants in SHOWN.items():  # matplotlib writes texts as curves, and beside them as comments
        drawn = re.findall("<!-- (.*?) -->", (tmp_path / f"figures/{name}.svg").read_text(), re.DOTALL)
        assert [v for v in VARIANTS if any(label(VARIANTS[v]) in text for text in drawn)] == variants, name
        assert ("cifar" in "".join(drawn)) == (name == "svm_accuracy")  # no claim is about it but a secondary one
    a, b = ({f.relative_to(x): f.read_bytes() for f in x.rglob("*.*")} for x in (written, tmp_path))
    assert a == b
    assert {path.stem for path in a if path.suffix == ".svg"} == set(CHARTS)
    assert {path.suffix for path in a} == {".json", ".csv", ".svg", ".html"}


def test_plots_to_compare_revisions_by_are_few_and_the_headlines_own():
    results = twelve()
    el, results.headline = plots(results), "erm"
    erm = plots(results)
    for name, frame in erm.items():
        lines = frame.groupby("frame").line.nunique().max() if {"frame", "line"} <= set(frame) else 1
        assert lines <= 8, name
        assert frame.equals(el[name]) == (not name.startswith("headline"))
    own = of(results.history, variant="erm")
    worst = own.filter(regex="^accuracy_").min(axis=1).groupby(own.epoch).mean()
    found = erm["headline_training"].set_index("frame").value
    assert found["worst concept's accuracy (%)"].tolist() == pytest.approx(worst.tolist())
    for frame, column in (("accuracy (%)", "val_accuracy"), ("training loss", "train_loss")):
        assert found[frame].tolist() == pytest.approx(own.groupby("epoch")[column].mean().tolist())
    means = of(results.robustness, variant="erm").groupby("step_size").accuracy.mean()
    assert erm["headline_augmented"].accuracy.tolist() == pytest.approx(means.tolist())
    assert (erm["h_positive"].h > 0).all()
    results.history["q_concept 3"] = results.history["q_concept 4"] = 0.9
    results.history["q_concept 5"] = 0.0
    data = plots(results)
    assert {f"concept {k}" for k in (3, 4, 5)} <= {*data["variants_q"].concept}  # those that moved furthest
    assert data["regret"].line.unique().tolist() == ["c = 10", "c = 1"]
    assert erm["headline_q"].q.unique().tolist() == pytest.approx([1 / 11])  # ERM's q stays at the concepts' shares
    assert all(len(frame) == 0 for frame in plots(nothing()).values())


def test_variants_keep_their_colour_when_others_join():
    few, many = looks(VARIANTS), looks(twelve().variants)
    assert {name: many[name]["color"] for name in few} == {name: few[name]["color"] for name in few}
    for part in ("color", "marker"):
        assert len({style[part] for style in many.values()}) == len(many)
    assert sum(to_rgb(many["b"]["color"])) < sum(to_rgb(many["a"]["color"]))  # the larger setting is the darker


def test_the_search_is_ranked_by_its_mean_over_targets_and_tuning_seeds():
    results = made()
    best = (results.search.tau == 1.0) & results.search.lam.isna()
    results.search.loc[best, "accuracy_cifar"] += 20
    results.search.loc[results.search.tau == 0.1, "benchmark"] += 50  # plays no part
    points = search.points(results)
    assert points.family.tolist() == ["erm", "el", "el", "cl", "cl", *["hrrl"] * 4]
    assert points[points.chosen & (points.family == "el")].tau.tolist() == [1.0]
    assert points.groupby("family").chosen.sum().tolist() == [1, 1, 1, 1]
    of_best = results.search[best].groupby("seed")[["accuracy_lowres", "accuracy_cifar"]].mean().mean(axis=1)
    row = points[points.chosen & (points.family == "el")].iloc[0]
    assert (row["mean"], row["std"]) == pytest.approx((of_best.mean(), of_best.std()))
    table = tables(results)["search"]
    assert table.Method.tolist()[:3] == ["ERM", "EL (τ=0.1)", "EL (τ=1)"]
    assert table["Mean over targets (%)"][2] == mean_and_std(of_best)
    of_best = results.search[best].mean()
    shown = [f"{of_best[column]:.2f}" for column in ("accuracy_lowres", "accuracy_cifar", "benchmark")]
    assert table.iloc[2, 2:].tolist() == [*shown, "2", "yes"]
    steps = plots(results)["augmented_search"]
    assert steps.series.unique().tolist() == ["ERM", "EL (τ=0.1)", "EL (τ=1)"]
    assert plots(results)["concepts_search"].series.unique().tolist() == ["ERM", "CL (λ=0.1)", "CL (λ=1)"]


def test_page_flags_fits_that_cannot_be_trusted(tmp_path):
    results = made()
    results.svm.loc[[0, 12], "edge"] = True
    results.svm.loc[12, "C"] = 10.0
    results.svm.loc[1, "converged"] = False
    html = page(results, tmp_path)
    assert "2 of 24 SVM fits chose a C at the edge of the grid: C = 0.1 (1 on lowres), C = 10 (1 on cifar)." in html
    assert "1 of 24 SVM fits did not converge: C = 0.1 (1 on lowres)." in html


def rendered(results, folder) -> tuple[Results, str, int]:
    """The results, with their page and the number of its figures."""
    results.members = pd.DataFrame([MEMBERS])
    number = len(figures(results, folder))
    return results, page(results, folder, "tau: <0.5>"), number


@pytest.fixture(scope="module")
def much(tmp_path_factory):
    return rendered(twelve(), tmp_path_factory.mktemp("twelve"))


def test_page_renders_whatever_is_absent(much, tmp_path):
    """Much, little and nothing."""
    little = made(seeds=(0,), targets=("lowres",), epochs=1)
    others = rendered(little, tmp_path / "little"), rendered(nothing(), tmp_path / "nothing")
    for results, html, number in (much, *others):
        assert "<script>alert" not in html
        assert "<b>x" not in html
        assert "&lt;script&gt;alert" in html or not len(results.concepts)
        assert html.count("<img") == number
        assert "tau: &lt;0.5&gt;" in html
        assert not re.search(r'(src|href)="(?!data:)', html)
        assert "nan" not in re.sub(r"base64,\S+", "", html).lower()


PROBE = """<script>addEventListener("load", () => {
  const note = document.documentElement.dataset, [table, other] = document.querySelectorAll("table.scores");
  const select = document.getElementById("baseline"), title = table.tHead.rows[0].cells[1];
  note.sizes = [...document.images].map(i => i.complete && i.alt ? i.naturalWidth : 0).join(" ");
  select.value = "hrrl";
  select.dispatchEvent(new Event("change"));
  const difference = table => table.querySelector("tr[data-variant=erm] small.difference").textContent;
  note.differences = [table, other].map(difference).join("; ");
  title.click();
  note.order = [...table.tBodies[0].rows].map(row => row.dataset.variant).join(" ");
})</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_shows_every_figure_sorts_and_takes_another_baseline(much, tmp_path):
    (results, html, _), file = much, tmp_path / "probe.html"
    file.write_text(html + PROBE, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom"]
    shown = subprocess.run(["chromium", *flags, file.as_uri()], capture_output=True, text=True, timeout=60)
    noted = dict(re.findall(r'data-(sizes|differences|order)="([^"]+)"', shown.stdout[:5000]))
    sizes = noted["sizes"].split()
    assert len(sizes) == len(CHARTS)
    assert min(map(int, sizes)) > 300
    lowres = scores(results, "svm", "lowres", "hrrl")
    benchmark = scores(results, "benchmark_accuracy", baseline="hrrl")
    differences = f"{interval(lowres['erm'])}; {interval(benchmark['erm'])}"
    assert noted["differences"].replace("−", "-") == differences.replace("−", "-")
    means = [lowres[variant]["mean"] for variant in noted["order"].split()]
    assert len(means) == len(results.variants)
    assert np.round(means, 2).tolist() == sorted(np.round(means, 2), reverse=True)
    assert "CONSOLE" not in shown.stderr


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "made"))


@pytest.fixture(scope="module")
def anew(written, tmp_path_factory):
    """After the command: the files of a run, which its folder linked to, what they were before, and the folder."""
    cache = Path(shutil.copytree(written, tmp_path_factory.mktemp("anew") / "cache"))
    html = (written / "report.html").read_text(encoding="utf-8")
    old = re.sub(r'<h2 id="claims">.*?(?=<h2 id="premise">)', '<h2 id="claims">old</h2>', html, flags=re.DOTALL)
    assert old != html
    (cache / "report.html").write_text(old, encoding="utf-8")
    folder = Path(shutil.copytree(cache, cache.with_name("made"), copy_function=os.link))
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(cache / "report.html")
    kept = {file.relative_to(cache): file.read_bytes() for file in cache.rglob("*.*")}
    command.main([str(folder)])
    return cache, kept, folder


def test_claims_from_the_files_are_those_of_the_run(anew, folder):
    _, kept, found = anew
    before, after = json.loads(kept[Path("claims.json")]), json.loads((found / "claims.json").read_text())
    for row, again in zip(before, after, strict=True):
        assert again["verdict"] == row["verdict"]
        for key in ("difference", "p", "p_holm", "detectable"):
            assert again[key] == pytest.approx(row[key]), (row["claim"], key)
        assert again["ci95"] == (row["ci95"] and pytest.approx(row["ci95"]))
    for name in ("claims", "claims_beside", "claims_secondary", "premise_targets", "target_concepts"):
        file = Path(f"tables/{name}.csv")
        assert (found / file).read_bytes() == kept[file], name
    read = pd.read_csv(found / "tables/runs.csv", keep_default_na=False)
    assert not read.duplicated(["measure", "target", "variant", "seed"]).any()
    read[~read.measure.str.startswith("q_")].to_csv(folder / "tables/runs.csv", index=False)  # as older runs have it
    for name in CONCEPTS:
        means = recorded(folder).runs(f"q_{name}").mean()
        assert means.to_dict() == {
            variant: pytest.approx(of(read, measure=f"q_{name}", variant=variant).value.mean(), abs=6e-4)
            for variant in ("cl", "hrrl")
        }


def test_methods_keep_their_names_where_runs_svm_has_another_order(tmp_path):
    results, order = made(), ["erm", "hrrl", "cl", "el"]
    results.scores = results.scores.sort_values("variant", key=lambda column: column.map(order.index), kind="stable")
    frames = {"runs": results.values} | {name: tables(results)[name] for name in ("svm", "concepts")}
    report.write_frames(frames, tmp_path / "tables")
    found = recorded(tmp_path)
    assert (found.compared, found.labels) == (order, results.labels)


def test_what_a_run_has_not_measured_is_left_out(tmp_path):
    """All of it, the robustness, the losses per concept; and no score is no run."""
    report.write(nothing(), tmp_path / "nothing")
    results = made()
    results.history = results.history.drop(columns=[name for name in results.history if name.startswith("loss_")])
    results.robustness = results.robustness[:0]
    report.write(results, tmp_path / "fewer")
    assert "premise_concepts" not in tables(results)
    assert "robust" not in json.loads((tmp_path / "fewer/headline.json").read_text(encoding="utf-8"))
    runs = pd.read_csv(tmp_path / "fewer/tables/runs.csv")
    runs[runs.measure != "svm"].to_csv(tmp_path / "fewer/tables/runs.csv", index=False)
    with pytest.raises(UserError, match="has no rows of the measure svm"):
        recorded(tmp_path / "fewer")


def test_a_page_shows_the_new_verdicts_and_keeps_the_rest(anew, written):
    old, new = ((where / "report.html").read_text(encoding="utf-8") for where in (written, anew[-1]))
    assert "computed anew from tables/runs.csv" in new
    assert new.count('id="claims"') == new.count('id="premise"') == new.count('id="svm"') == 1
    assert new[new.index('id="svm"') :] == old[old.index('id="svm"') :]


def test_what_links_lead_to_stays_as_it_is(anew):
    """DVC's cache, where `cache.type` is symlink or hardlink."""
    cache, kept, _ = anew
    assert {file: (cache / file).read_bytes() for file in kept} == kept


def test_what_was_not_measured_is_left_out_and_named(folder, capsys):
    command.decide(folder, load(ROOT / "presets/photos.yaml"))
    assert "not measured, or not recorded: el_images" in capsys.readouterr().out
    found = {row["claim"] for row in json.loads((folder / "claims.json").read_text())}
    assert found == {"el_augmented", "cl_worst", "el_dose", "cl_dose"}


def test_runs_that_differ_in_seeds_alone_are_decided_together(tmp_path, capsys):
    kept, parts = ROOT / "results/quick_20_seeds", [tmp_path / "a", tmp_path / "b"]
    runs = pd.read_csv(kept / "tables/runs.csv", keep_default_na=False)
    for part, seeds in zip(parts, (range(13), range(13, 20)), strict=True):
        shutil.copytree(kept, part)
        those = runs.seed.isin(sorted(runs.seed[runs.measure == "svm"].unique())[i] for i in seeds)
        runs[those | runs.variant.str.startswith("search:")].to_csv(part / "tables/runs.csv", index=False)
    names = [*map(str, parts)]
    command.main([*names, "--to", str(tmp_path / "both")])
    for table in ("claims", "claims_secondary", "svm", "concepts", "target_concepts", "premise_targets"):
        assert (tmp_path / f"both/tables/{table}.csv").read_text() == (kept / f"tables/{table}.csv").read_text(), table
    known, [a, b] = recorded(kept).image_errors, map(recorded, parts)
    b.image_errors = {key: 2 * error for key, error in known.items()}
    assert pooled([a, b]).image_errors == {
        key: pytest.approx((13 + 2 * 7) / 20 * error) for key, error in known.items()
    }
    with pytest.raises(UserError, match=r"^quick_20_seeds: has seed \d+, which a has; takes other seeds$"):
        pooled([a, recorded(kept)])
    params = (parts[1] / "params.yaml").read_text()
    (parts[1] / "params.yaml").write_text(params.replace("\nheadline: hrrl", "\nheadline: el", 1))
    with pytest.raises(UserError, match=r"b/params\.yaml: headline is not as in .*a; takes runs with other seeds$"):
        command.main([*names, "--to", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()
    with pytest.raises(SystemExit):
        command.main(names)
    assert "several folders take --to" in capsys.readouterr().err


def test_a_folder_without_runs_is_named(tmp_path, folder):
    with pytest.raises(UserError, match=r"takes a folder with tables/runs\.csv"):
        recorded(tmp_path)
    (folder / "tables/runs.csv").write_text("measure\nsvm\n")
    with pytest.raises(UserError, match="holds no numbers of a run"):
        recorded(folder)


def test_power_is_that_of_the_paired_differences(folder):
    rows = power.power(recorded(folder), 1.0, 5).set_index(["measure", "target", "better"])
    assert recorded(folder, shifts={"cifar": "both"}).shifts == {"cifar": "both"}
    runs = pd.read_csv(folder / "tables/runs.csv", keep_default_na=False)
    for target, better, known in (("lowres", "el", True), ("cifar", "hrrl", False)):
        svm = by_variant(runs, "value", measure="svm", target=target)
        std = (svm[better] - svm.erm).std()
        row = rows.loc["svm", target, better]
        assert (row["std"], row["seeds"], row["images"] > 0) == (pytest.approx(std), 3, known)
        images = row["images"] if known else 0.0
        assert row["detectable"] == pytest.approx(statistics.detectable(std / 5**0.5, 5, images))
        assert row["needed"] == statistics.seeds_needed(std, 1.0, images)
    with_el = power.power(recorded(folder), 1.0, 5, "el").set_index(["measure", "target", "better"])
    assert with_el.loc["svm", "lowres", "erm"]["images"] == rows.loc["svm", "lowres", "el"]["images"]
    drawn = np.random.default_rng(0).normal(1.0, std, (4000, row["needed"]))
    found = (stats.ttest_1samp(drawn, 0, axis=1).confidence_interval(0.95).low > 0).mean()
    assert 0.79 < found < 0.87  # the least number that is enough


def test_power_as_a_command(folder, capsys):
    power.main([str(folder), "--difference", "2", "--seeds", "4", "--than", "el"])
    lines = capsys.readouterr().out.splitlines()
    assert re.split(r" *\| *", lines[0].strip("| "))[-2:] == ["Found with 4 seeds", "Seeds for 2"]
    assert all(" − EL (τ=0.5)" in line for line in lines[2:])
    assert "HRRL (τ=0.5, λ=1) − EL" in lines[-1]
    [cells] = [re.split(r" *\| *", line.strip("| ")) for line in lines if "svm cifar" in line and "HRRL" in line]
    runs = pd.read_csv(folder / "tables/runs.csv", keep_default_na=False)
    svm = by_variant(runs, "value", measure="svm", target="cifar")
    std = (svm.hrrl - svm.el).std()
    expected = f"{statistics.detectable(std / 2, 4):.2f}", str(statistics.seeds_needed(std, 2.0))
    assert (cells[3], *cells[5:]) == (f"{std:.2f}", *expected)
    with pytest.raises(SystemExit, match="has no variant hrlr; it has erm, noise, el, cl, hrrl"):
        power.main([str(folder), "--than", "hrlr"])
    with pytest.raises(SystemExit, match="--difference takes points above 0"):
        power.main([str(folder), "--difference", "nan"])


@pytest.mark.parametrize("found", sorted(ROOT.glob("*/*/tables/runs.csv")), ids=lambda path: path.parts[-3])
def test_committed_verdicts_are_those_of_the_committed_runs(found, tmp_path):
    kept = found.parent.parent
    anew = shutil.copytree(kept, tmp_path / kept.name)
    command.main([str(anew)])
    old, new = ([row["verdict"] for row in json.loads((where / "claims.json").read_text())] for where in (kept, anew))
    assert old == new
    assert (kept / "tables/claims.csv").read_text() == (anew / "tables/claims.csv").read_text()
    old, new = (pd.read_csv(where / "tables/runs.csv") for where in (kept, anew))
    pd.testing.assert_frame_equal(old, new)  # up to rounding: the command need not compute as the run did
