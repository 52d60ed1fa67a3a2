"""The tables of the report as frames of text: means with deviations, differences with their intervals."""

from typing import Any

import pandas as pd

from hrrl.report import concept_difficulty, search, summary
from hrrl.report.results import CONCEPT_TITLES, Results
from hrrl.report.summary import Column
from hrrl.report.words import (
    MISSING,
    against,
    compared,
    difference,
    interval,
    mean_std,
    number,
    paper,
    paper_difference,
    signed,
)


def _slow_start(s: float, c: float, none: str) -> str:
    return f"s = {s:.0f}, c = {c:.3g}" if s > 0 else none


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def tables(results: Results, decided: list[dict]) -> dict[str, pd.DataFrame]:
    """name -> table, in the order of the report; a table without rows is left out.

    ``svm`` is the overview, ``svm_<target>`` has the form of Tables 2 to 4, ``svm_fits`` lists every fit.

    Args:
        decided: what :func:`hrrl.report.claims.claims` gives.
    """
    transfer, tuned = summary.of_targets(results, "svm"), summary.of_targets(results, "finetune", -1)
    compared = summary.comparison_columns(results)
    steps = summary.columns(results, summary.step_measures(results, "step size {:g}"))
    accuracies, q = (summary.columns(results, summary.concept_measures(results, name)) for name in ("accuracy_", "q_"))
    shares = results.concepts.assign(q0=results.concepts.q0.map("{:.4f}".format))
    named = {
        "claims": claim_table(results, decided, True),
        "claims_beside": beside_table(results, decided),
        "claims_secondary": claim_table(results, decided, False),
        "premise_concepts": premise_concepts(results),
        "premise_targets": premise_targets(results),
        "premise_weights": premise_weights(results),
        "search": searched(results),
        "svm": means(results, transfer, "SVM_{}"),
        **{f"svm_{column.title}": svm_target(results, column) for column in transfer},
        "svm_fits": svm_fits(results),
        "comparison": means(results, compared),
        "comparison_differences": differences(results, compared),
        "finetune": means(results, tuned),
        "finetune_differences": differences(results, tuned),
        "finetune_plateau": plateau(results),
        "augmented_accuracy": means(results, steps),
        "concept_accuracy": means(results, accuracies),
        "q": means(results, q, digits=3),
        "q0": q0(results),
        "concepts": shares.rename(columns=CONCEPT_TITLES),
        "table1": results.table1.rename(columns={"concept": "Concept", "classes": "Classes", "paper": "Paper"}),
        "h_maxima": maxima(results),
        "suggestions": suggestions(results),
        "smoothness": smoothness(results),
        "q_variance": q_variance(results),
    }
    return {name: table.astype(str) for name, table in named.items() if table.size}


def headline_changes(metrics: dict, before: str, after: str) -> pd.DataFrame:
    """What differs in headline.json between two variants as headlines: what `dvc metrics diff` shows of it."""
    old, new = (pd.json_normalize(summary.headline(metrics, variant)).iloc[0] for variant in (before, after))
    rows = [
        (key, f"{old[key]:.2f}", f"{new[key]:.2f}", f"{new[key] - old[key]:+.2f}")
        for key in old.index.intersection(new.index)
        if old[key] != new[key]
    ]
    return pd.DataFrame(rows, columns=["Metric", before, after, "Change"])


def claim_table(results: Results, decided: list[dict], primary: bool) -> pd.DataFrame:
    """The verdicts in points; those on primary endpoints each beside what the paper says of its own target."""
    rows = [
        {
            "Claim": row["claim"],
            "Source": row["source"],
            "Compared": compared(results, row),
            "Endpoint": " ".join(filter(None, [row["endpoint"].replace("_", " "), row["target"]])),
            "Verdict": row["verdict"],
            "Difference [95% CI]": difference(row),
            "Judged against": against(row),
            "Paper": paper_difference(results, row),
            "Seeds": row["seeds"],
            "Detectable": number(row["detectable"]),
            "p": number(row["p"], ".3f"),
            "p (Holm)": number(row["p_holm"], ".3f"),
        }
        for row in decided
        if row["primary"] == primary
    ]
    return pd.DataFrame(rows).drop(columns=["p"] if primary else ["Paper", "Detectable"], errors="ignore")


def beside_table(results: Results, decided: list[dict]) -> pd.DataFrame:
    """What else changes in a comparison, such as the accuracy on images that are not moved; in points."""
    rows = [
        (row["claim"], compared(results, row), measure.replace("_", " "), difference(found))
        for row in decided
        for measure, found in row["beside"].items()
        if found["difference"] is not None
    ]
    return pd.DataFrame(rows, columns=["Claim", "Compared", "Measure", "Difference [95% CI]"])


def premise_concepts(results: Results) -> pd.DataFrame:
    """How the baseline serves each concept of the benchmark."""
    losses = concept_difficulty.concept_losses(results).dropna(subset=["loss"])
    rows = [(r.concept, f"{r.q0:.4f}", f"{r.loss:.3f}", _yes(r.badly)) for r in losses.itertuples()]
    return pd.DataFrame(rows, columns=["Concept", "q0", "Validation loss", "Served badly"])


def premise_targets(results: Results) -> pd.DataFrame:
    """Whether the targets with other concepts need those that the benchmark serves badly."""
    titles = ["Target", "Differs in", "Distance to q0", "Known concepts", "Loss on its concepts"]
    titles += ["Loss on the benchmark", "Premise"]
    rows = []
    for r in concept_difficulty.target_premise(results).itertuples():
        losses = number(r.loss, ".3f"), number(r.benchmark_loss, ".3f")
        rows.append((r.target, r.shift, number(r.distance), number(r.known), *losses, r.premise or MISSING))
    return pd.DataFrame(rows, columns=titles)


def premise_weights(results: Results) -> pd.DataFrame:
    """Whether a method that moves q did what the premise asks it to."""
    baseline = results.labels[results.baseline]
    titles = ["Target", "Method", "Weight of its mix of concepts"]
    titles += [f"Accuracy on that mix, difference to {baseline} [95% CI]"]
    rows = [
        (r.target, results.labels[r.variant], f"{r.weight:.2f}", signed(r.difference, r.low, r.high))
        for r in concept_difficulty.target_weights(results).itertuples()
    ]
    return pd.DataFrame(rows, columns=titles)


def searched(results: Results) -> pd.DataFrame:
    """Cross-validated accuracy of every point of the search, mean over tuning seeds."""
    titles = ["Method", "Mean over targets (%)", *results.targets, "Benchmark (%)", "Seeds", "Best"]
    numbers = [*(f"accuracy_{target}" for target in results.targets), "benchmark"]
    rows = [
        (p["label"], mean_std(p), *p[numbers].map(number), p["seeds"], _yes(p["chosen"]))
        for _, p in search.points(results).iterrows()
    ]
    return pd.DataFrame(rows, columns=titles)


def svm_target(results: Results, column: Column) -> pd.DataFrame:
    """The table of one target in the form of Tables 2 to 4."""
    target, scores = column.title, column.scores
    papers = {v: text for v in scores if (text := paper(results, target, v))}
    columns = {
        "Accuracy (%)": {v: mean_std(s) for v, s in scores.items()},
        f"Difference to {results.labels[results.baseline]} [95% CI]": {v: interval(s) for v, s in scores.items()},
        "Seeds": {v: s["n"] for v, s in scores.items()},
    }
    return _by_method(results, columns | ({"Paper (%)": papers} if papers else {}), "SVM_{}")


def svm_fits(results: Results) -> pd.DataFrame:
    """What every single fit chose and how it went; nothing that went wrong is averaged away."""
    titles = ["Target", "Method", "Seed", "Draw", "C", "Validation (%)", "Test (%)", "C at the edge", "Converged"]
    rows = []
    for r in results.svm.itertuples():
        chosen = f"{r.C:g}", f"{r.validation:.2f}", f"{r.accuracy:.2f}"
        rows.append((r.target, results.labels[r.variant], r.seed, r.draw, *chosen, _yes(r.edge), _yes(r.converged)))
    return pd.DataFrame(rows, columns=titles)


def means(results: Results, columns: list[Column], form: str = "{}", digits: int = 2) -> pd.DataFrame:
    """Means and standard deviations, one row per method."""
    return _by_method(results, {c.title: {v: mean_std(s, digits) for v, s in c.scores.items()} for c in columns}, form)


def differences(results: Results, columns: list[Column]) -> pd.DataFrame:
    """Paired differences to the baseline with their confidence intervals, one row per other method."""
    compared = {c.title: {v: interval(s) for v, s in c.scores.items() if "difference" in s} for c in columns}
    return _by_method(results, {title: cells for title, cells in compared.items() if cells})


def plateau(results: Results) -> pd.DataFrame:
    """How much fine-tuning still changes in the last third of its steps: test error (%), means over seeds.

    From the first evaluation that has 2/3 of the steps behind it to the last.
    """
    rows = []
    for (target, variant), course in results.finetune.groupby(["target", "variant"], sort=False):
        errors = course.groupby("step").test_error.mean()
        late, last = errors.index[3 * errors.index >= 2 * errors.index[-1]][0], errors.index[-1]
        when = [f"{errors[step]:.2f} (step {step})" for step in (late, last)]
        rows.append((target, results.labels[variant], *when, f"{errors[last] - errors[late]:+.2f}"))
    return pd.DataFrame(rows, columns=["Target", "Method", "After 2/3 of the steps", "At the end", "Change"])


def q0(results: Results) -> pd.DataFrame:
    """What another q0 does to the accuracy on each target: paired differences to the same method without it."""
    changes = summary.q0_changes(results)
    columns = {"Compared with": {variant: results.labels[base] for variant, base in changes.items()}}
    for target in results.targets:
        found = {variant: summary.scores(results, "svm", target, base) for variant, base in changes.items()}
        cells = {variant: interval(scores[variant]) for variant, scores in found.items() if variant in scores}
        columns |= {target: cells} if cells else {}
    return _by_method(results, columns if changes else {})


def maxima(results: Results) -> pd.DataFrame:
    """Where the curves of Fig. 2 have their maximum."""
    rows = [(f"{m.mu:g}", f"{m.s:.0f}", f"{m.h:.2f}", f"{m.c:.2f}") for m in results.maxima.itertuples()]
    return pd.DataFrame(rows, columns=["μ", "s of the maximum", "h(s)", "c"])


def suggestions(results: Results) -> pd.DataFrame:
    """What Theorem 3 suggests for the measured mu, beside what is in use and the mu for which that would be right."""
    rows = [
        {
            "Method": results.labels[row.variant],
            f"μ, first {row.batches} steps": f"{row.mu:.2f}",
            "μ, whole run": f"{row.mu_run:.2f}",
            "Suggested": _slow_start(row.suggested_s, row.suggested_c, "no slow start pays"),
            "In use": _slow_start(row.s, row.c, "no slow start"),
            "μ that it implies": f"{row.implied_mu:.1f}" if row.implied_mu > 0 else MISSING,
        }
        for row in results.suggestions.itertuples()
    ]
    return pd.DataFrame(rows)


def smoothness(results: Results) -> pd.DataFrame:
    """What Theorems 1 and 2 assume: medians over images of all seeds, with the range of the middle 80%."""

    def middle(values: pd.Series) -> str:
        low, median, high = values.quantile([0.1, 0.5, 0.9])
        return f"{median:.2g} [{low:.2g}, {high:.2g}]"

    rows = []
    for variant in results.in_order(results.smoothness.variant):
        images = results.smoothness[results.smoothness.variant == variant]
        tau = (results.variants[variant].get("example") or {}).get("gradient", {}).get("tau")
        own = (images.gradient / (3 * images.L)).dropna()
        measured = middle(images.gradient), middle(images.L), f"{images.L.max():.2g}", middle(own)
        in_use = (f"{tau:g}", f"{100 * (3 * own > tau).mean():.0f}") if tau else (MISSING, MISSING)
        rows.append((results.labels[variant], *measured, *in_use))
    titles = ["Method", "Norm of the gradient", "L_x", "Largest L_x", "τ of Theorem 2", "τ in use", "λ_w > L_x (%)"]
    return pd.DataFrame(rows, columns=titles)


def q_variance(results: Results) -> pd.DataFrame:
    """What the factor N/N_k adds to the variance of q's gradient, means over seeds."""
    found = results.variances.pivot_table(index="concept", columns="variant", values="factor", sort=False)
    share = results.concepts.set_index("concept").q0[found.index]
    columns = {results.labels[v]: found[v].map("{:.1f}".format) for v in results.in_order(found.columns)}
    return pd.DataFrame({"Concept": found.index, "N/N_k": (1 / share).map("{:.1f}".format), **columns})


def _by_method(results: Results, columns: dict[str, dict[str, Any]], form: str = "{}") -> pd.DataFrame:
    """A table with the methods as rows, from column title -> variant -> cell."""
    names = results.in_order({name for cells in columns.values() for name in cells})
    methods = [form.format(results.labels[name]) for name in names]
    cells = {title: [column.get(name, MISSING) for name in names] for title, column in columns.items()}
    return pd.DataFrame({"Method": methods, **cells})
