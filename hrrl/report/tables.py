"""The tables of the report as frames of text: means with deviations, differences with their intervals."""

from typing import Any

import pandas as pd

from hrrl.report import concept_difficulty, search, summary, words
from hrrl.report.results import CONCEPT_TITLES, Results
from hrrl.report.summary import Column

# Titles of columns -> column:format of what they show.
PREMISE_CONCEPTS = {"Concept": "concept", "q0": "q0:.4f", "Validation loss": "loss:.3f", "Served badly": "badly"}
PREMISE_TARGETS = {
    **{"Target": "target", "Differs in": "shift", "Distance to q0": "distance:.2f", "Known concepts": "known:.2f"},
    **{"Loss on its concepts": "loss:.3f", "Loss on the benchmark": "benchmark_loss:.3f", "Premise": "premise"},
}
SVM_FITS = {  # what every single fit chose and how it went; nothing that went wrong is averaged away
    **{"Target": "target", "Method": "method", "Seed": "seed", "Draw": "draw", "C": "C:g"},
    **{"Validation (%)": "validation:.2f", "Test (%)": "accuracy:.2f", "C at the edge": "edge"},
    **{"Converged": "converged"},
}
MAXIMA = {"μ": "mu:g", "s of the maximum": "s:.0f", "h(s)": "h:.2f", "c": "c:.2f"}  # of the curves of Fig. 2


def tables(results: Results, decided: list[dict]) -> dict[str, pd.DataFrame]:
    """name -> table, in the order of the report; a table without rows is left out.

    ``svm`` is the overview, ``svm_<target>`` has the form of Tables 2 to 4, ``svm_fits`` lists every fit.

    Args:
        decided: what :func:`hrrl.report.claims.claims` gives.
    """
    transfer, finetune = summary.of_targets(results, "svm"), summary.of_targets(results, "finetune")
    compared = summary.comparison_columns(results)
    steps = summary.columns(results, summary.step_measures(results, "step size {:g}"))
    accuracies, q = (summary.columns(results, summary.concept_measures(results, name)) for name in ("accuracy_", "q_"))
    shares = results.concepts.assign(q0=results.concepts.q0.map("{:.4f}".format))
    losses = concept_difficulty.concept_losses(results).dropna()
    fits = results.svm.assign(method=results.svm.variant.map(results.labels))
    frames = {
        "claims": claim_table(results, decided, True),
        "claims_beside": beside_table(results, decided),
        "claims_secondary": claim_table(results, decided, False),
        "premise_concepts": written(losses, PREMISE_CONCEPTS),
        "premise_targets": written(concept_difficulty.target_premise(results), PREMISE_TARGETS),
        "premise_weights": premise_weights(results),
        "search": searched(results),
        "svm": means(results, transfer, "SVM_{}"),
        **{f"svm_{column.title}": svm_target(results, column) for column in transfer},
        "svm_fits": written(fits, SVM_FITS),
        "comparison": means(results, compared),
        "comparison_differences": differences(results, compared),
        "finetune": means(results, finetune),
        "finetune_differences": differences(results, finetune),
        "finetune_plateau": plateau(results),
        "augmented_accuracy": means(results, steps),
        "concept_accuracy": means(results, accuracies),
        "q": means(results, q, digits=3),
        "q0": q0(results),
        "concepts": shares.rename(columns=CONCEPT_TITLES),
        "table1": results.table1.rename(columns={"concept": "Concept", "classes": "Classes", "paper": "Paper"}),
        "h_maxima": written(results.maxima, MAXIMA),
        "suggestions": suggestions(results),
        "smoothness": smoothness(results),
        "q_variance": q_variance(results),
    }
    return {name: table.astype(str) for name, table in frames.items() if table.size}


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
            "Compared": words.compared(results, row),
            "Endpoint": " ".join(filter(None, [row["endpoint"].replace("_", " "), row["target"]])),
            "Verdict": row["verdict"],
            "Difference [95% CI]": words.difference(row),
            "Judged against": words.against(row),
            "Paper": words.paper_difference(results, row),
            "Seeds": row["seeds"],
            "Detectable": words.number(row["detectable"]),
            "p": words.number(row["p"], ".3f"),
            "p (Holm)": words.number(row["p_holm"], ".3f"),
        }
        for row in decided
        if row["primary"] == primary
    ]
    return pd.DataFrame(rows).drop(columns=["p"] if primary else ["Paper", "Detectable"], errors="ignore")


def beside_table(results: Results, decided: list[dict]) -> pd.DataFrame:
    """What else changes in a comparison, such as the accuracy on images that are not moved; in points."""
    rows = [
        (row["claim"], words.compared(results, row), measure.replace("_", " "), words.difference(change))
        for row in decided
        for measure, change in row["beside"].items()
        if change["difference"] is not None
    ]
    return pd.DataFrame(rows, columns=["Claim", "Compared", "Measure", "Difference [95% CI]"])


def premise_weights(results: Results) -> pd.DataFrame:
    """Whether a method that moves q did what the premise asks it to."""
    baseline = results.labels[results.baseline]
    titles = ["Target", "Method", "Weight of its mix of concepts"]
    titles += [f"Accuracy on that mix, difference to {baseline} [95% CI]"]
    rows = [
        (row.target, results.labels[row.variant], f"{row.weight:.2f}", words.signed(row.difference, row.low, row.high))
        for row in concept_difficulty.target_weights(results).itertuples()
    ]
    return pd.DataFrame(rows, columns=titles)


def searched(results: Results) -> pd.DataFrame:
    """Cross-validated accuracy of every point of the search, mean over tuning seeds."""
    points = search.points(results)
    titles = {"Method": "label", "Mean over targets (%)": "score"}
    titles |= {target: f"accuracy_{target}:.2f" for target in results.targets}
    titles |= {"Benchmark (%)": "benchmark:.2f", "Seeds": "seeds", "Best": "chosen"}
    return written(points.assign(score=[words.mean_std(p) for p in points.to_dict("records")]), titles)


def svm_target(results: Results, column: Column) -> pd.DataFrame:
    """The table of one target in the form of Tables 2 to 4."""
    target, scores = column.title, column.scores
    papers = {v: text for v in scores if (text := words.paper(results, target, v))}
    columns = {
        "Accuracy (%)": {v: words.mean_std(s) for v, s in scores.items()},
        f"Difference to {results.labels[results.baseline]} [95% CI]": {v: words.interval(s) for v, s in scores.items()},
        "Seeds": {v: s["n"] for v, s in scores.items()},
    }
    return _by_method(results, columns | ({"Paper (%)": papers} if papers else {}), "SVM_{}")


def means(results: Results, columns: list[Column], form: str = "{}", digits: int = 2) -> pd.DataFrame:
    """Means and standard deviations, one row per method."""
    cells = {c.title: {v: words.mean_std(s, digits) for v, s in c.scores.items()} for c in columns}
    return _by_method(results, cells, form)


def differences(results: Results, columns: list[Column]) -> pd.DataFrame:
    """Paired differences to the baseline with their confidence intervals, one row per other method."""
    compared = {c.title: {v: words.interval(s) for v, s in c.scores.items() if "difference" in s} for c in columns}
    return _by_method(results, {title: cells for title, cells in compared.items() if cells})


def plateau(results: Results) -> pd.DataFrame:
    """How much fine-tuning still changes in the last third of its steps: test error (%), means over seeds.

    From the first evaluation that has 2/3 of the steps behind it to the last.
    """
    rows = []
    for (target, variant), course in results.finetune.groupby(["target", "variant"], sort=False):
        errors = course.groupby("step").test_error.mean()
        late, last = errors.index[3 * errors.index >= 2 * errors.index[-1]][0], errors.index[-1]
        cells = [f"{errors[step]:.2f} (step {step})" for step in (late, last)]
        rows.append((target, results.labels[variant], *cells, f"{errors[last] - errors[late]:+.2f}"))
    return pd.DataFrame(rows, columns=["Target", "Method", "After 2/3 of the steps", "At the end", "Change"])


def q0(results: Results) -> pd.DataFrame:
    """What another q0 does to the accuracy on each target: paired differences to the same method without it."""
    changes = summary.q0_changes(results)
    columns = {"Compared with": {variant: results.labels[base] for variant, base in changes.items()}}
    for target in results.targets:
        to_base = {variant: summary.scores(results, "svm", target, base) for variant, base in changes.items()}
        cells = {variant: words.interval(scores[variant]) for variant, scores in to_base.items() if variant in scores}
        columns |= {target: cells} if cells else {}
    return _by_method(results, columns)


def suggestions(results: Results) -> pd.DataFrame:
    """What Theorem 3 suggests for the measured mu, beside what is in use and the mu for which that would be right."""
    rows = [
        {
            "Method": results.labels[row.variant],
            f"μ, first {row.batches} steps": f"{row.mu:.2f}",
            "μ, whole run": f"{row.mu_run:.2f}",
            "Suggested": _slow_start(row.suggested_s, row.suggested_c, "no slow start pays"),
            "In use": _slow_start(row.s, row.c, "no slow start"),
            "μ that it implies": f"{row.implied_mu:.1f}" if row.implied_mu > 0 else words.MISSING,
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
        best_tau = (images.gradient / (3 * images.L)).dropna()
        measured = middle(images.gradient), middle(images.L), f"{images.L.max():.2g}", middle(best_tau)
        in_use = (f"{tau:g}", f"{100 * (3 * best_tau > tau).mean():.0f}") if tau else (words.MISSING, words.MISSING)
        rows.append((results.labels[variant], *measured, *in_use))
    titles = ["Method", "Norm of the gradient", "L_x", "Largest L_x", "τ of Theorem 2", "τ in use", "λ_w > L_x (%)"]
    return pd.DataFrame(rows, columns=titles)


def q_variance(results: Results) -> pd.DataFrame:
    """What the factor N/N_k adds to the variance of q's gradient, means over seeds."""
    factors = results.variances.pivot_table(index="concept", columns="variant", values="factor", sort=False)
    share = results.concepts.set_index("concept").q0[factors.index]
    columns = {results.labels[v]: factors[v].map("{:.1f}".format) for v in results.in_order(factors.columns)}
    return pd.DataFrame({"Concept": factors.index, "N/N_k": (1 / share).map("{:.1f}".format), **columns})


def _slow_start(s: float, c: float, none: str) -> str:
    return f"s = {s:.0f}, c = {c:.3g}" if s > 0 else none


def written(rows: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    """Some columns of a frame as text, from title -> column:format; nothing and NaN as words.MISSING."""

    def text(value: Any, form: str) -> str:
        return ("no", "yes")[value] if isinstance(value, bool) else words.number(value, form)

    records, columns = rows.to_dict("records"), {title: name.partition(":")[::2] for title, name in titles.items()}
    return pd.DataFrame({title: [text(r[name], form) for r in records] for title, (name, form) in columns.items()})


def _by_method(results: Results, columns: dict[str, dict[str, Any]], form: str = "{}") -> pd.DataFrame:
    """A table with the methods as rows, from column title -> variant -> cell."""
    names = results.in_order({name for cells in columns.values() for name in cells})
    methods = [form.format(results.labels[name]) for name in names]
    cells = {title: [column.get(name, words.MISSING) for name in names] for title, column in columns.items()}
    return pd.DataFrame({"Method": methods, **cells})
