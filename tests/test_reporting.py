"""The numbers against scipy, the files byte for byte, the page in a browser, claims anew from the files, and power."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats

from hrrl import report
from hrrl.errors import UserError
from hrrl.methods import theory
from hrrl.report import Results, headline, headline_changes, label, labels, plots, power, search, statistics
from hrrl.report.figures import CHARTS, looks
from hrrl.report.page import problems
from hrrl.report.recorded import recorded
from hrrl.report.summary import scores
from hrrl.report.words import interval
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
        "smoothness": pd.DataFrame(each(runs, "gradient", (0.3, 0.6, 3.0, 6.0))).assign(L=1.0),
        "variances": pd.DataFrame(each(runs, "concept", concepts)).eval("factor = 3.0 + seed"),
    }
    # Two values of each axis alone and together, beside neither; on two tuning seeds.
    values = (float("nan"), 0.1, 1.0)
    points = each(each(each([{}], "tau", values), "lam", values), "seed", (7, 8))
    frames |= {
        "search": noisy(points, benchmark=90, **{f"accuracy_{target}": 80 for target in targets}),
        "search_steps": noisy(each(points, "step_size", steps), accuracy=70),
        "search_concepts": noisy(each(points, "concept", concepts), accuracy=75),
    }
    mus = [(name, mu) for name, mu in ((np.nan, 50.0), ("hrrl", 12.0), ("cl", 1.0)) if name in {np.nan, *variants}]
    curves = [pd.DataFrame({"variant": name, "mu": mu, "lam": 1.0, "s": s, "h": theory.h(s, mu)}) for name, mu in mus]
    regret = each(each([run for run in runs if run["variant"] == "hrrl"], "c", (10.0, 1.0)), "steps", (1, 10, 100))
    slow = {"variant": "hrrl", "lam": 1.0, "s": 100, "c": 10.0, "mu": 12.0, "mu_run": 14.0, "batches": 20}
    slow |= {"suggested_s": 31, "suggested_c": 3.1, "implied_mu": 65.9}
    none = {"variant": "cl", "lam": 1.0, "s": 0, "c": 10.0, "mu": 1.0, "mu_run": 1.0, "batches": 20}
    shares = [{"target": t, "concept": concept, "share": 1.0} for t, concept in zip(targets, concepts, strict=False)]
    frames |= {
        "curves": pd.concat(curves),
        "regret": pd.DataFrame(
            [row | {"s": 100, "regret": 1 / row["steps"], "bound": 9 / row["steps"]} for row in regret],
            columns=["variant", "seed", "c", "s", "steps", "regret", "bound"],
        ),
        "maxima": pd.DataFrame([{"mu": 50.0, "s": 230, "h": theory.h(230, 50.0), "c": theory.c(230, 50.0)}]),
        "suggestions": pd.DataFrame([slow, none]).query("variant in @variants"),
        "table1": pd.DataFrame({"concept": ["animal"], "classes": [121], "paper": [121]}),
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
    return made(variants=VARIANTS | points, seeds=(0, 1), concepts=[f"concept {k}" for k in range(11)])


@pytest.fixture(scope="module")
def shown() -> dict:
    """The tables of the plain results."""
    return tables(made())


def test_another_q0_is_compared_with_the_same_method_without_it(shown):
    aware = {"hrrl": {**HRRL["hrrl"], "q0": "target:lowres"}}
    plain = {"hrrl": {**HRRL["hrrl"], "q0": "empirical"}}
    points = {"erm": VARIANTS["erm"], "hrrl": {"example": None, "concept": plain}}
    results = made(points | {"aware": {"example": None, "concept": aware}})
    table = tables(results)["q0"]
    runs = results.svm[results.svm.target == "lowres"].pivot(index="seed", columns="variant", values="accuracy")
    assert table["Compared with"].tolist() == [results.labels["hrrl"]]
    assert table["lowres"].item().startswith(f"{(runs.aware - runs.hrrl).mean():+.2f} [")
    assert "q0" not in shown


def test_metrics_are_means_over_seeds_with_stable_keys():
    results = made()
    tree = json.loads(json.dumps(metrics(results), allow_nan=False))
    runs = results.svm[results.svm.target == "lowres"].pivot(index="seed", columns="variant", values="accuracy")
    score = tree["svm"]["lowres"]["hrrl"]
    interval = stats.ttest_rel(runs.hrrl, runs.erm).confidence_interval(0.95)
    assert score["mean"] == pytest.approx(runs.hrrl.mean(), abs=1e-4)
    assert score["std"] == pytest.approx(runs.hrrl.std(ddof=1), abs=1e-4)
    assert [score["difference"]["low"], score["difference"]["high"]] == pytest.approx([*interval], abs=1e-4)
    accuracy = results.concept_accuracy[results.concept_accuracy.variant == "cl"]
    worst = accuracy.groupby("seed").accuracy.min().mean()
    assert tree["benchmark"]["cl"]["worst_concept"]["mean"] == pytest.approx(worst, abs=1e-4)
    assert "step_0_5" in tree["robustness"]["erm"]
    assert "wheeled_vehicle" in tree["concepts"]["erm"]
    assert set(tree["q"]) == {"cl", "hrrl"}
    validation = results.svm[(results.svm.target == "lowres") & (results.svm.variant == "hrrl")].validation
    assert (score["n"], score["validation"]["mean"]) == (3, pytest.approx(validation.mean(), abs=1e-4))
    tuned = results.finetune[(results.finetune.target == "cifar") & (results.finetune.step == 60)]
    expected = tuned[tuned.variant == "el"].test_error.mean()
    assert tree["finetune"]["cifar"]["el"]["test_error"]["mean"] == pytest.approx(expected, abs=1e-4)
    decided = {row["claim"]: row for row in report.claims(results) if row["primary"]}
    assert {name: found["difference"] for name, found in tree["claims"].items()} == {
        name: pytest.approx(row["difference"], abs=1e-4) for name, row in decided.items()
    }
    holding = sum(row["verdict"] == "holds" for row in decided.values())
    assert headline(tree, "hrrl")["claims"] == f"{holding}/{len(CLAIMS)}"
    assert "images_per_second" not in json.dumps(tree)


def test_theory_says_where_no_slow_start_pays(shown):
    table = shown["suggestions"].set_index("Method")
    assert table.Suggested.tolist() == ["s = 31, c = 3.1", "no slow start pays"]
    assert table["In use"].tolist() == ["s = 100, c = 10", "no slow start"]
    assert table["μ that it implies"].tolist() == ["65.9", "–"]
    assert table.filter(like="μ, ").iloc[0].tolist() == ["12.00", "14.00"]


def test_theorem_2_asks_for_a_step_for_each_image(shown):
    row = shown["smoothness"].set_index("Method").loc["EL (τ=0.5)"]
    assert (row["L_x"], row["τ of Theorem 2"]) == ("1 [1, 1]", "0.6 [0.1, 2]")  # the norm of the gradient / (3 L_x)
    assert (row["τ in use"], row["λ_w > L_x (%)"]) == ("0.5", "75")  # where the norm of the gradient / 0.5 exceeds 1
    row = shown["q_variance"].set_index("Concept").loc["footwear"]
    assert (row["N/N_k"], row["ERM"]) == ("3.0", "4.0")  # the mean over seeds


def test_fine_tuning_shows_its_plateau(shown):
    errors = made().finetune.query("variant == 'el' and target == 'cifar'").groupby("step").test_error.mean()
    found = shown["finetune_plateau"].set_index(["Target", "Method"]).loc[("cifar", "EL (τ=0.5)")].tolist()
    least, last = f"{errors[40]:.2f} (step 40)", f"{errors[60]:.2f} (step 60)"
    assert found == [least, last, f"{errors[60] - errors[40]:+.2f}"]


def test_headline_is_one_variant_without_its_name():
    tree = metrics(made())
    found = headline(tree, "hrrl")
    assert found["svm"]["cifar"] == tree["svm"]["cifar"]["hrrl"]["mean"]
    assert found["worst_concept"] == tree["benchmark"]["hrrl"]["worst_concept"]["mean"]
    assert found["robust"] == tree["robustness"]["hrrl"]["step_2"]["mean"]
    assert headline(tree, "erm").keys() == found.keys()
    row = headline_changes(tree, "erm", "hrrl").set_index("Metric").loc["svm.cifar"]
    assert float(row.Change) == pytest.approx(tree["svm"]["cifar"]["hrrl"]["difference"]["mean"], abs=0.01)
    assert len(headline_changes(tree, "erm", "erm")) == 0
    assert headline(tree, "erm") != found


def test_labels_are_the_papers_and_unique():
    assert [label(spec) for spec in VARIANTS.values()] == ["ERM", "EL (τ=0.5)", "CL (λ=1)", "HRRL (τ=0.5, λ=1)"]
    pgd = {"example": {"pgd": {"eps": 0.5, "steps": 3, "step_size": 0.3}}, "concept": {"group_dro": {}}}
    assert label(pgd) == "PGD (ε=0.5, 3 steps) + Group DRO"
    slow = {"example": None, "concept": {"hrrl": {"lam": 1.0, "c": 20.0}}}
    assert labels({"cl": VARIANTS["cl"], "slow": slow}) == {"cl": "CL (λ=1) [cl]", "slow": "CL (λ=1) [slow]"}


def test_tables_have_the_papers_numbers_for_its_targets_alone(shown):
    row = shown["svm_cifar"].set_index("Method").loc["SVM_HRRL (τ=0.5, λ=1)"]
    assert row["Paper (%)"] == "86.49 ± 0.19"
    assert re.fullmatch(r"[+-]\d+\.\d\d \[[+-]\d+\.\d\d, [+-]\d+\.\d\d\]", row["Difference to ERM [95% CI]"])
    assert "Paper (%)" not in shown["svm_lowres"]
    assert list(shown["svm"].columns) == ["Method", "lowres", "cifar"]
    row, fit = shown["svm_fits"].iloc[0], made().svm.iloc[0]
    assert (row["Validation (%)"], row["Test (%)"]) == (f"{fit.validation:.2f}", f"{fit.accuracy:.2f}")
    judged = shown["claims"].set_index("Claim")["Judged against"].to_dict()
    assert (judged["transfer"], judged["keeps"], judged["same"], judged["dose"]) == ("0", "-0.50", "±0.50", "chance")


def test_a_page_says_how_weak_few_seeds_are_and_calls_nothing_better_or_worse_by_one(tmp_path):
    pages = {}
    for seeds in (1, 3, 5):
        results = made(seeds=range(seeds))
        results.scores.loc[results.scores.variant == "hrrl", "accuracy"] += 100
        pages[seeds] = page(results, tmp_path)
    assert not re.search('class="(better|worse)"', pages[1])
    assert 'class="better"' in pages[3]
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
    assert "Accuracy on moved images rises with a larger τ in the search." in table


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


def test_same_results_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        report.write(made(), tmp_path / folder)
    a, b = ({f.relative_to(tmp_path / x): f.read_bytes() for f in (tmp_path / x).rglob("*.*")} for x in "ab")
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
    assert erm["headline_q"].q.unique().tolist() == pytest.approx([1 / 11])  # ERM's q stays at the concepts' shares
    assert all(len(frame) == 0 for frame in plots(nothing()).values())


def test_variants_keep_their_colour_when_others_join():
    few, many = looks(VARIANTS), looks(twelve().variants)
    assert {name: many[name]["color"] for name in few} == {name: few[name]["color"] for name in few}
    assert len({style["color"] for style in many.values()}) == len(many)


def test_concepts_are_ranked_ascending_for_each_variant():
    for _, rows in plots(made())["concepts"].groupby("variant"):
        assert list(rows["rank"]) == [1, 2, 3]
        assert rows.accuracy.is_monotonic_increasing


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
    steps = plots(results)["augmented_search"]
    assert steps.series.unique().tolist() == ["ERM", "EL (τ=0.1)", "EL (τ=1)"]
    assert plots(results)["concepts_search"].series.unique().tolist() == ["ERM", "CL (λ=0.1)", "CL (λ=1)"]


def test_page_flags_fits_that_cannot_be_trusted(tmp_path):
    results = made()
    results.svm.loc[0, "edge"] = True
    results.svm.loc[1, "converged"] = False
    html = page(results, tmp_path)
    assert "1 of 24 SVM fits chose a C at the edge of the grid: C = 0.1 (1 on lowres)." in html
    assert "1 of 24 SVM fits did not converge: C = 0.1 (1 on lowres)." in html
    assert metrics(results)["checks"] == {"svm_fits": 24, "svm_edge": 1, "svm_not_converged": 1}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with the figures of twelve variants."""
    folder = tmp_path_factory.mktemp("twelve")
    figures(twelve(), folder)
    return folder


def test_page_renders_whatever_is_absent(drawn, tmp_path):
    """Much, little and nothing."""
    little = made(seeds=(0,), targets=("lowres",), epochs=1)
    for name, results in (("little", little), ("nothing", nothing())):
        figures(results, tmp_path / name)
    for results, folder in ((twelve(), drawn), (little, tmp_path / "little"), (nothing(), tmp_path / "nothing")):
        results.members = pd.DataFrame([MEMBERS])
        html = page(results, folder, "tau: <0.5>")
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert" in html or not len(results.concepts)
        assert html.count("<img") == len(list(folder.glob("*.svg")))
        assert "tau: &lt;0.5&gt;" in html
        assert not re.search(r'(src|href)="(?!data:)', html)
        assert "nan" not in re.sub(r"base64,\S+", "", html).lower()


def test_the_page_shows_names_as_text(tmp_path):
    """Whatever the schema lets through, or a later one would."""
    odd = ["<script>alert(1)</script>", "$(touch pwned)$", 'a"b&c']
    results = made(concepts=odd, targets=("<b>x", "$y"))
    report.write(results, tmp_path, "name: <script>alert(2)</script>")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "<b>x" not in html


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
def test_a_browser_shows_every_figure_sorts_and_takes_another_baseline(drawn, tmp_path):
    results, file = twelve(), tmp_path / "probe.html"
    file.write_text(page(results, drawn) + PROBE, encoding="utf-8")
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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a run writes, of three seeds whose test images are known on one target."""
    results = made(seeds=range(3))
    random = np.random.default_rng(0)
    cells = results.scores[["target", "variant", "seed"]].itertuples(index=False, name=None)
    results.correct = {cell: (random.random(400) < 0.8).astype(float) for cell in cells if cell[0] == "lowres"}
    folder = tmp_path_factory.mktemp("runs") / "made"
    report.write(results, folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "made"))


def test_claims_from_the_files_are_those_of_the_run(folder):
    before, tables = (folder / "claims.json").read_text(), {f.name: f.read_bytes() for f in folder.glob("tables/*")}
    command.main([str(folder)])
    after = json.loads((folder / "claims.json").read_text())
    for row, anew in zip(json.loads(before), after, strict=True):
        assert anew["verdict"] == row["verdict"]
        for key in ("difference", "p", "p_holm", "detectable"):
            assert anew[key] == pytest.approx(row[key]), (row["claim"], key)
        assert anew["ci95"] == (row["ci95"] and pytest.approx(row["ci95"]))
    for name in ("claims", "claims_beside", "claims_secondary", "premise_targets", "target_concepts"):
        assert (folder / f"tables/{name}.csv").read_bytes() == tables[f"{name}.csv"], name
    read = pd.read_csv(folder / "tables/runs.csv", keep_default_na=False)
    assert not read.duplicated(["measure", "target", "variant", "seed"]).any()


def test_a_page_shows_the_new_verdicts_and_keeps_the_rest(folder):
    old = (folder / "report.html").read_text(encoding="utf-8")
    page = re.sub(r'<h2 id="claims">.*?(?=<h2 id="premise">)', '<h2 id="claims">old</h2>', old, flags=re.DOTALL)
    assert page != old
    (folder / "report.html").write_text(page, encoding="utf-8")
    command.main([str(folder)])
    new = (folder / "report.html").read_text(encoding="utf-8")
    assert "computed anew from tables/runs.csv" in new
    assert new.count('id="claims"') == new.count('id="premise"') == new.count('id="svm"') == 1
    assert new[new.index('id="svm"') :] == old[old.index('id="svm"') :]


def test_what_links_lead_to_stays_as_it_is(folder):
    """DVC's cache, where `cache.type` is symlink or hardlink."""
    cache = folder.with_name("cache")
    shutil.copytree(folder, cache)
    kept = {file.relative_to(cache): file.read_bytes() for file in cache.rglob("*.*")}
    for file in kept:
        (folder / file).unlink()
        (folder / file).hardlink_to(cache / file)
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(cache / "report.html")
    command.main([str(folder)])
    assert {file: (cache / file).read_bytes() for file in kept} == kept
    assert (folder / "report.html").read_bytes() != kept[Path("report.html")]


def test_what_was_not_measured_is_left_out_and_named(folder, capsys):
    command.decide(folder, load(ROOT / "presets/photos.yaml"))
    assert "not measured, or not recorded: el_images" in capsys.readouterr().out
    found = {row["claim"] for row in json.loads((folder / "claims.json").read_text())}
    assert found == {"el_augmented", "cl_worst", "el_dose", "cl_dose"}


def test_a_folder_without_runs_is_named(tmp_path, folder):
    with pytest.raises(UserError, match=r"takes a folder with tables/runs\.csv"):
        recorded(tmp_path)
    (folder / "tables/runs.csv").write_text("measure\nsvm\n")
    with pytest.raises(UserError, match="holds no numbers of a run"):
        recorded(folder)


def test_power_is_that_of_the_paired_differences(folder):
    rows = power.power(recorded(folder), 1.0, 5).set_index(["measure", "target", "better"])
    runs = pd.read_csv(folder / "tables/runs.csv", keep_default_na=False)
    svm = runs[(runs.measure == "svm") & (runs.target == "cifar")].pivot(index="seed", columns="variant")["value"]
    std = (svm.hrrl - svm.erm).std()
    row = rows.loc["svm", "cifar", "hrrl"]
    assert (row["std"], row["seeds"], np.isnan(row["images"])) == (pytest.approx(std), 3, True)
    assert row["detectable"] == pytest.approx(statistics.detectable(std / 5**0.5, 5))
    assert row["needed"] == statistics.seeds_needed(std, 1.0)
    assert rows.loc["svm", "lowres", "el"]["images"] > 0
    drawn = np.random.default_rng(0).normal(1.0, std, (4000, row["needed"]))
    found = (stats.ttest_1samp(drawn, 0, axis=1).confidence_interval(0.95).low > 0).mean()
    assert 0.79 < found < 0.87  # the least number that is enough


def test_power_as_a_command(folder, capsys):
    power.main([str(folder), "--difference", "2", "--seeds", "4", "--than", "el"])
    lines = capsys.readouterr().out.splitlines()
    assert re.split(r" *\| *", lines[0].strip("| "))[-2:] == ["Found with 4 seeds", "Seeds for 2"]
    assert all(" − EL (τ=0.5)" in line for line in lines[2:])
    assert "HRRL (τ=0.5, λ=1) − EL" in lines[-1]
    with pytest.raises(SystemExit, match="has no variant hrlr; it has erm, el, cl, hrrl"):
        power.main([str(folder), "--than", "hrlr"])
    with pytest.raises(SystemExit, match="--difference takes points above 0"):
        power.main([str(folder), "--difference", "0"])


@pytest.mark.parametrize("found", sorted(ROOT.glob("*/*/tables/runs.csv")), ids=lambda path: path.parts[-3])
def test_committed_verdicts_are_those_of_the_committed_runs(found, tmp_path):
    kept = found.parent.parent
    shutil.copytree(kept, tmp_path / kept.name)
    command.main([str(tmp_path / kept.name)])
    both = (kept, tmp_path / kept.name)
    old, new = (json.loads((where / "claims.json").read_text()) for where in both)
    assert [row["verdict"] for row in old] == [row["verdict"] for row in new]
    old, new = ((where / "tables/claims.csv").read_text() for where in both)
    assert old == new
    old, new = (pd.read_csv(where / "tables/runs.csv") for where in both)
    pd.testing.assert_frame_equal(old, new)  # up to rounding: the command need not compute as the run did
