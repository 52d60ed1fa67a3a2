"""The tables of the report as frames of text: means with deviations, differences with their intervals."""

from typing import Any

import pandas as pd

from hrrl.report import concept_difficulty, search, summary
from hrrl.report.claims import ENDPOINTS, PAPERS_NAMES, STRONGER, of_paper
from hrrl.report.results import CONCEPT_TITLES, Results
from hrrl.report.statistics import TWO
from hrrl.report.summary import Column

MISSING = "–"


# ----------------------------------------------------------------------------------------------------- cells


def mean_std(score: dict | None, digits: int = 2) -> str:
    """ "85.77 ± 0.12", or the mean alone where there is one seed."""
    if not score:
        return MISSING
    std = f" ± {score['std']:.{digits}f}" if "std" in score else ""
    return f"{score['mean']:.{digits}f}{std}"


def interval(score: dict | None) -> str:
    """The paired difference to the baseline and its confidence interval, "+0.85 [+0.50, +1.20]"."""
    difference = (score or {}).get("difference")
    if not difference:
        return MISSING
    shown = bounds((difference["low"], difference["high"])) if "low" in difference else ""
    return f"{difference['mean']:+.2f} {shown}".rstrip()


def clear(score: dict) -> bool:
    """Whether there are enough seeds, and the confidence interval of the difference leaves out 0."""
    difference = score.get("difference", {})
    return score["n"] >= TWO and "low" in difference and difference["low"] * difference["high"] > 0


def bounds(interval: Any, digits: int = 2) -> str:
    """ "[+0.50, +1.20]"."""
    return f"[{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]" if interval else ""


def number(value: float | None, form: str = ".2f") -> str:
    return MISSING if value is None or value != value else format(value, form)


def paper(results: Results, target: str | None, variant: str) -> str:
    numbers = results.paper(target, variant)
    return f"{numbers[0]:.2f} ± {numbers[1]:.2f}" if numbers else MISSING


# ---------------------------------------------------------------------------------------------------- tables


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
        "concepts": concepts(results),
        "table1": results.table1.rename(columns={"concept": "Concept", "classes": "Classes", "paper": "Paper"}),
        "h_maxima": maxima(results),
        "suggestions": suggestions(results),
        "smoothness": smoothness(results),
        "q_variance": q_variance(results),
    }
    return {name: table.astype(str) for name, table in named.items() if table.size}


def headline_changes(metrics: dict, before: str, after: str) -> pd.DataFrame:
    """What differs in headline.json between two variants as headlines: what `dvc metrics diff` shows of it."""
    rows = []
    numbers = [pd.json_normalize(summary.headline(metrics, variant)).iloc[0] for variant in (before, after)]
    for key in numbers[0].index.intersection(numbers[1].index):
        old, new = (found[key] for found in numbers)
        if old != new:
            rows.append({"Metric": key, before: f"{old:.2f}", after: f"{new:.2f}", "Change": f"{new - old:+.2f}"})
    return pd.DataFrame(rows)


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


def beside_table(results: Results, rows: list[dict]) -> pd.DataFrame:
    """What else changes in a comparison, such as the accuracy on images that are not moved; in points."""
    return pd.DataFrame(
        [
            {
                "Claim": row["claim"],
                "Compared": compared(results, row),
                "Measure": measure.replace("_", " "),
                "Difference [95% CI]": f"{found['difference']:+.2f} {bounds(found['ci95'])}".rstrip(),
            }
            for row in rows
            for measure, found in row["beside"].items()
            if found["difference"] is not None
        ]
    )


def compared(results: Results, row: dict) -> str:
    """ "EL (τ=0.1) − ERM", or the doses of a trend."""
    if row["relation"] == "trend":
        return f"{STRONGER[row['trend']]}: " + (" < ".join(row["doses"]) or "no runs")
    return f"{results.labels[row['better']]} − {results.labels[row['compared']]}"


def paper_difference(results: Results, row: dict) -> str:
    """ "+0.85 (CIFAR-10)" """
    found = of_paper(results, row)
    return f"{found[1]:+.2f} ({PAPERS_NAMES[found[0]]})" if found else MISSING


def against(row: dict) -> str:
    """What a difference is judged against."""
    sign = ENDPOINTS[row["endpoint"]].sign
    bound = {"no_worse": f"{-sign * (row['margin'] or 0):+.2f}", "similar": f"±{row['margin'] or 0:.2f}"}
    return {"better": "0", "trend": "chance", **bound}[row["relation"]]


def difference(row: dict) -> str:
    """ "+0.85 [+0.50, +1.20]" """
    return MISSING if row["difference"] is None else f"{row['difference']:+.2f} {bounds(row['ci95'])}".rstrip()


def premise_concepts(results: Results) -> pd.DataFrame:
    """How the baseline serves each concept of the benchmark."""
    losses = concept_difficulty.concept_losses(results).dropna(subset=["loss"])
    return pd.DataFrame(
        {
            "Concept": losses.concept,
            "q0": losses.q0.map("{:.4f}".format),
            "Validation loss": losses.loss.map("{:.3f}".format),
            "Served badly": losses.badly.map(_yes),
        }
    )


def premise_targets(results: Results) -> pd.DataFrame:
    """Whether the targets with other concepts need those that the benchmark serves badly."""
    rows = concept_difficulty.target_premise(results)
    return pd.DataFrame(
        {
            "Target": rows.target,
            "Differs in": rows["shift"],
            "Distance to q0": rows.distance.map(number),
            "Known concepts": rows.known.map(number),
            "Loss on its concepts": rows.loss.map(lambda loss: number(loss, ".3f")),
            "Loss on the benchmark": rows.benchmark_loss.map(lambda loss: number(loss, ".3f")),
            "Premise": rows.premise.replace("", MISSING),
        }
    )


def premise_weights(results: Results) -> pd.DataFrame:
    """Whether a method that moves q did what the premise asks it to."""
    rows = concept_difficulty.target_weights(results)
    differences = [
        interval({"difference": {"mean": r.difference} | ({"low": r.low, "high": r.high} if r.low == r.low else {})})
        for r in rows.itertuples()
    ]
    return pd.DataFrame(
        {
            "Target": rows.target,
            "Method": rows.variant.map(results.labels),
            "Weight of its mix of concepts": rows.weight.map("{:.2f}".format),
            f"Accuracy on that mix, difference to {results.labels[results.baseline]} [95% CI]": differences,
        }
    )


def searched(results: Results) -> pd.DataFrame:
    """Cross-validated accuracy of every point of the search, mean over tuning seeds."""
    points = search.points(results)
    means = [
        mean_std({"mean": p["mean"]} | ({"std": p["std"]} if p["seeds"] > 1 else {})) for _, p in points.iterrows()
    ]
    columns = {"Method": points.label, "Mean over targets (%)": means}
    columns |= {target: points[f"accuracy_{target}"].map(number) for target in results.targets}
    columns |= {"Benchmark (%)": points.benchmark.map(number), "Seeds": points.seeds, "Best": points.chosen.map(_yes)}
    return pd.DataFrame(columns)


def svm_target(results: Results, column: Column) -> pd.DataFrame:
    """The table of one target in the form of Tables 2 to 4."""
    target, scores = column.title, column.scores
    columns = {
        "Accuracy (%)": {v: mean_std(s) for v, s in scores.items()},
        f"Difference to {results.labels[results.baseline]} [95% CI]": {v: interval(s) for v, s in scores.items()},
        "Seeds": {v: s["n"] for v, s in scores.items()},
    }
    if any(results.paper(target, v) for v in scores):
        columns["Paper (%)"] = {v: paper(results, target, v) for v in scores}
    return _by_method(results, columns, "SVM_{}")


def svm_fits(results: Results) -> pd.DataFrame:
    """What every single fit chose and how it went; nothing that went wrong is averaged away."""
    rows = results.svm
    return pd.DataFrame(
        {
            "Target": rows.target,
            "Method": rows.variant.map(results.labels),
            "Seed": rows.seed,
            "Draw": rows.draw,
            "C": rows.C.map("{:g}".format),
            "Validation (%)": rows.validation.map("{:.2f}".format),
            "Test (%)": rows.accuracy.map("{:.2f}".format),
            "C at the edge": rows.edge.map(_yes),
            "Converged": rows.converged.map(_yes),
        }
    )


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
    means = results.finetune.groupby(["target", "variant", "step"], sort=False).test_error.mean()
    rows = []
    for (target, variant), errors in means.groupby(level=[0, 1], sort=False):
        errors = errors.droplevel([0, 1])
        late, last = errors.index[3 * errors.index >= 2 * errors.index[-1]][0], errors.index[-1]
        rows.append(
            {
                "Target": target,
                "Method": results.labels[variant],
                "After 2/3 of the steps": f"{errors[late]:.2f} (step {late})",
                "At the end": f"{errors[last]:.2f} (step {last})",
                "Change": f"{errors[last] - errors[late]:+.2f}",
            }
        )
    return pd.DataFrame(rows)


def q0(results: Results) -> pd.DataFrame:
    """What another q0 does to the accuracy on each target: paired differences to the same method without it."""
    changes = {variant: results.labels[base] for variant, base in summary.q0_changes(results).items()}
    columns = {c.title: {v: interval(score) for v, score in c.scores.items()} for c in summary.q0_columns(results)}
    return _by_method(results, {"Compared with": changes, **columns} if changes else {})


def concepts(results: Results) -> pd.DataFrame:
    """The benchmark's concepts."""
    table = results.concepts.assign(q0=results.concepts.q0.map("{:.4f}".format))
    return table.rename(columns=CONCEPT_TITLES)


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
            "Suggested": _slow_start(row.suggested_s, row.suggested_c) or "no slow start pays",
            "In use": _slow_start(row.s, row.c) or "no slow start",
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
        row = {"Method": results.labels[variant], "Norm of the gradient": middle(images.gradient)}
        row |= {"L_x": middle(images.L), "Largest L_x": f"{images.L.max():.2g}"}
        row |= {"τ of Theorem 2": middle(own), "τ in use": f"{tau:g}" if tau else MISSING}
        row["λ_w > L_x (%)"] = f"{100 * (3 * own > tau).mean():.0f}" if tau else MISSING
        rows.append(row)
    return pd.DataFrame(rows)


def q_variance(results: Results) -> pd.DataFrame:
    """What the factor N/N_k adds to the variance of q's gradient, means over seeds."""
    found = results.variances.pivot_table(index="concept", columns="variant", values="factor", sort=False)
    share = results.concepts.set_index("concept").q0[found.index]
    columns = {results.labels[v]: found[v].map("{:.1f}".format) for v in results.in_order(found.columns)}
    return pd.DataFrame({"Concept": found.index, "N/N_k": (1 / share).map("{:.1f}".format), **columns})


def _slow_start(s: float, c: float) -> str:
    """ "s = 100, c = 10"; nothing where there is none."""
    return f"s = {s:.0f}, c = {c:.3g}" if s > 0 else ""


def _by_method(results: Results, columns: dict[str, dict[str, str]], form: str = "{}") -> pd.DataFrame:
    """A table with the methods as rows, from column title -> variant -> cell."""
    names = results.in_order({name for cells in columns.values() for name in cells})
    methods = [form.format(results.labels[name]) for name in names]
    cells = {title: [column.get(name, MISSING) for name in names] for title, column in columns.items()}
    return pd.DataFrame({"Method": methods, **cells})


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
