"""From single runs to means, deviations and paired differences: the columns of tables and page, and metrics.json."""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from hrrl.report.claims import ENDPOINTS, HOLDS
from hrrl.report.concept_difficulty import concept_losses, target_premise
from hrrl.report.long_form import STEP
from hrrl.report.results import Results
from hrrl.report.statistics import paired, spread

BENCHMARK = {"accuracy": "benchmark_accuracy", "worst concept": "worst_concept"}


class Column(NamedTuple):
    """A column of a table with one row per variant: variant -> score, as :func:`scores` gives them."""

    title: str
    scores: dict[str, dict]
    sign: int = 1  # -1: less is better
    target: str | None = None  # the target of an SVM's accuracy, by which the paper's numbers are found
    runs: dict[str, dict] | None = None  # variant -> seed -> value, for differences to another baseline


def scores(results: Results, measure: str, target: str = "", baseline: str | None = None) -> dict[str, dict]:
    """variant -> spread of a measure over its "n" seeds, and its paired "difference" to a baseline.

    The baseline is the first of the compared variants, where none is named.
    """
    runs, baseline, by_variant = results.runs(measure, target), baseline or results.baseline, {}
    for variant in results.in_order(runs):
        values = runs[variant].dropna()
        by_variant[variant] = spread(values) | {"n": len(values)}
        if variant != baseline and baseline in runs and runs[baseline][values.index].notna().any():
            by_variant[variant]["difference"] = paired(values, runs[baseline])
    return by_variant


def columns(results: Results, measures: dict[str, str], target: str = "") -> list[Column]:
    """A column for each title -> measure that has runs."""
    measured = []
    for title, measure in measures.items():
        runs, by_variant = results.runs(measure, target), scores(results, measure, target)
        by_seed = {variant: runs[variant].dropna().round(6).to_dict() for variant in sorted(by_variant)}
        sign = ENDPOINTS[measure].sign if measure in ENDPOINTS else 1
        if by_variant:
            measured.append(Column(title, by_variant, sign, target if measure == "svm" else None, by_seed))
    return measured


def of_targets(results: Results, measure: str) -> list[Column]:
    """A column for each target on which there is a measure."""
    return [column for target in results.targets for column in columns(results, {target: measure}, target)]


def comparison_columns(results: Results) -> list[Column]:
    """What is gained where: accuracy on the benchmark and its worst concept, transfer."""
    transfer = [
        Column(f"SVM {column.title}", {v: {k: s[k] for k in s if k != "difference"} for v, s in column.scores.items()})
        for column in of_targets(results, "svm")
    ]
    return columns(results, BENCHMARK) + transfer


def q0_changes(results: Results) -> dict[str, str]:
    """Variants with a q0 of their own -> the variant that is the same but for its q0, which is empirical."""
    changes = {}
    for name, spec in results.variants.items():
        points = {point: {**settings, "q0": "empirical"} for point, settings in (spec.get("concept") or {}).items()}
        twins = [other for other, other_spec in results.variants.items() if other_spec == {**spec, "concept": points}]
        if twins and twins[-1] != name:
            changes[name] = twins[-1]
    return changes


def concept_measures(results: Results, prefix: str) -> dict[str, str]:
    """concept -> the name of a measure that there is of each: "accuracy_", "loss_", "q_"."""
    return {concept: prefix + concept for concept in results.concept_names}


def step_measures(results: Results, form: str) -> dict[str, str]:
    """A step size in words, the smallest first -> the measure of the accuracy after it (Fig. 4)."""
    matches = (STEP.fullmatch(name) for name in results.values.measure.unique())
    measures = {float(match[1]): match[0] for match in matches if match}
    return {form.format(size): measures[size] for size in sorted(measures)}


def scored(results: Results, columns: list[Column]) -> list[str]:
    """The variants that have a score in any of the columns."""
    return results.in_order({variant for column in columns for variant in column.scores})


def pair_means(results: Results, row: dict) -> list[float]:
    """The means of a claim's pair over the seeds that both have; empty where there are none."""
    runs = results.runs(row["endpoint"], row["target"]).reindex(columns=[row["better"], row["compared"]])
    return runs.dropna().mean().dropna().tolist()


def metrics(results: Results, decided: list[dict]) -> dict:
    """The numbers of metrics.json: nested, with stable keys, rounded to 4 decimals.

    ``claims.<name>``: verdict, difference, low, high on the primary endpoint; ``premise.concepts.<concept>`` (the
    baseline's loss) and ``premise.targets.<target>``;
    ``svm.<target>.<variant>``: mean, std, n, difference to the baseline, validation (mean, std);
    ``benchmark.<variant>``: accuracy, worst_concept; ``finetune.<target>.<variant>.test_error``;
    ``robustness.<variant>.step_<size>``; ``concepts.<variant>.<concept>`` (accuracy);
    ``q.<variant>.<concept>`` after the last epoch; ``theory``; ``checks``: SVM fits with C at the edge of the
    grid or without convergence. What a single seed does not give (std, low, high) is left out, and so are training
    speeds, which differ from run to run.
    """
    svm = {column.title: column.scores for column in of_targets(results, "svm")}
    for target, by_variant in svm.items():
        for variant, validation in results.runs("svm_validation", target).items():
            by_variant[variant]["validation"] = spread(validation.dropna())
    finetune = {c.title: {v: {"test_error": s} for v, s in c.scores.items()} for c in of_targets(results, "finetune")}
    targets = target_premise(results).set_index("target")[["premise", "distance", "loss"]]
    maxima = results.maxima.set_index(results.maxima.mu.map("mu_{:g}".format)).drop(columns="mu")
    tree = {
        "claims": {
            row["claim"]: {key: row[key] for key in ("verdict", "difference")}
            | dict(zip(("low", "high"), row["ci95"] or (), strict=False))
            for row in decided
            if row["primary"]
        },
        "premise": {
            "concepts": concept_losses(results).set_index("concept").loss.to_dict(),
            "targets": targets.to_dict("index"),
        },
        "svm": svm,
        "benchmark": _by_variant(results, BENCHMARK, {"mean", "std", "n", "difference"}),
        "finetune": finetune,
        "robustness": _by_variant(results, step_measures(results, "step_{:g}")),
        "concepts": _by_variant(results, concept_measures(results, "accuracy_")),
        "q": _by_variant(results, concept_measures(results, "q_")),
        "theory": {
            "variants": results.suggestions.set_index("variant").to_dict("index"),
            "maxima": maxima.to_dict("index"),
        },
        "checks": {
            "svm_fits": len(results.svm),
            "svm_edge": int(results.svm.edge.sum()),
            "svm_not_converged": int((~results.svm.converged.astype(bool)).sum()),
        },
    }
    return _clean(tree)


def headline(metrics: dict, variant: str) -> dict:
    """The numbers of headline.json, few enough to compare revisions by: those of one variant, without its name.

    ``svm.<target>``: accuracy; ``worst_concept``: accuracy of the benchmark's worst concept; ``robust``: accuracy on
    the benchmark's images after the largest step of Fig. 4; all are means over seeds. ``claims``: "2/6" where two of
    six claims hold.
    """
    svm, benchmark, steps = (metrics.get(part, {}) for part in ("svm", "benchmark", "robustness"))
    verdicts = [claim["verdict"] for claim in metrics.get("claims", {}).values()]
    numbers = {
        "svm": {target: scores[variant]["mean"] for target, scores in svm.items() if variant in scores},
        "worst_concept": benchmark.get(variant, {}).get("worst_concept", {}).get("mean"),
        "robust": [*steps[variant].values()][-1]["mean"] if variant in steps else None,
        "claims": f"{verdicts.count(HOLDS)}/{len(verdicts)}" if verdicts else None,
    }
    return {key: value for key, value in numbers.items() if value not in (None, {})}


def _by_variant(results: Results, measures: dict[str, str], kept: Collection[str] = ("mean", "std")) -> dict:
    """variant -> key -> what is kept of the score of the measure with that key."""
    tree: dict[str, dict] = {variant: {} for variant in results.variants}
    for key, measure in measures.items():
        for variant, score in scores(results, measure).items():
            tree[variant][key] = {name: score[name] for name in score if name in kept}
    return tree


def _clean(node: Any) -> Any:
    """Keys without dots (DVC separates by them), 4 decimals, no NaN, no empty branches."""
    if isinstance(node, dict):
        branch: dict[str, Any] = {}
        for key, value in node.items():
            name = re.sub(r"\W", "_", str(key))
            while name in branch:  # "+1" beside "-1"
                name += "_"
            branch[name] = _clean(value)
        return {key: value for key, value in branch.items() if value is not None and value != {}}
    if isinstance(node, float | np.floating):
        return round(float(node), 4) + 0.0 if np.isfinite(node) else None  # + 0.0: no -0.0
    return int(node) if isinstance(node, np.integer) else node
