"""From single runs to means, deviations and paired differences: the columns of tables and page, and metrics.json."""

import json
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hrrl.report.claims import HOLDS
from hrrl.report.concept_difficulty import concept_losses, target_premise
from hrrl.report.long_form import STEP
from hrrl.report.results import Results
from hrrl.report.statistics import paired, spread


class Column(NamedTuple):
    """A column of a table with one row per variant: variant -> score, as :func:`scores` gives them."""

    title: str
    scores: dict[str, dict]
    sign: int = 1  # -1: less is better
    target: str | None = None  # the target of an SVM's accuracy, by which the paper's numbers are found
    runs: dict[str, dict] | None = None  # variant -> seed -> value, for differences to another baseline


def runs_of(results: Results, measure: str, target: str = "") -> dict[str, pd.Series]:
    """variant -> a measure of :attr:`hrrl.report.results.Results.values` by seed."""
    rows = results.values
    rows = rows[(rows.measure == measure) & (rows.target == target)]
    return {v: rows[rows.variant == v].set_index("seed").value for v in results.in_order(rows.variant)}


def scores(results: Results, measure: str, target: str = "", baseline: str | None = None) -> dict[str, dict]:
    """variant -> spread of a measure over its "n" seeds, and its paired "difference" to a baseline.

    The baseline is the first of the compared variants, where none is named.
    """
    baseline, runs = baseline or results.baseline, runs_of(results, measure, target)
    found = {variant: spread(run) | {"n": len(run)} for variant, run in runs.items()}
    base = runs.get(baseline, pd.Series(dtype=float))
    for variant, run in runs.items():
        if variant != baseline and run.index.isin(base.index).any():
            found[variant]["difference"] = paired(run, base)
    return found


def columns(results: Results, measures: dict[str, str]) -> list[Column]:
    """A column for each title -> measure that has runs; of the measures that have no target."""
    made = [_column(results, title, measure) for title, measure in measures.items()]
    return [column for column in made if column.scores]


def of_targets(results: Results, measure: str, sign: int = 1) -> list[Column]:
    """A column for each target on which there is a measure."""
    made = [_column(results, target, measure, target, sign) for target in results.targets]
    return [column for column in made if column.scores]


def _column(results: Results, title: str, measure: str, target: str = "", sign: int = 1) -> Column:
    runs = {v: run.round(6).to_dict() for v, run in sorted(runs_of(results, measure, target).items())}
    paper = target if measure == "svm" else None
    return Column(title, scores(results, measure, target), sign, paper, runs)


def comparison_columns(results: Results) -> list[Column]:
    """What is gained where: accuracy on the benchmark and its worst concept, transfer."""
    benchmark = columns(results, {"accuracy": "benchmark_accuracy", "worst concept": "worst_concept"})
    transfer = [
        Column(f"SVM {column.title}", {v: {k: s[k] for k in s if k != "difference"} for v, s in column.scores.items()})
        for column in of_targets(results, "svm")
    ]
    return benchmark + transfer


def q0_columns(results: Results) -> list[Column]:
    """Per target, SVM accuracy of the variants with a q0 of their own, against the same method with q0 empirical."""
    changes = q0_changes(results).items()
    found = {t: {v: scores(results, "svm", t, base).get(v) for v, base in changes} for t in results.targets}
    made = [Column(target, {v: s for v, s in by.items() if s}) for target, by in found.items()]
    return [column for column in made if column.scores]


def q0_changes(results: Results) -> dict[str, str]:
    """Variants with a q0 of their own -> the variant that is the same but for its q0, which is empirical."""

    def with_q0(spec: dict[str, Any], q0: Any) -> dict[str, Any]:
        concept = spec.get("concept") or {}
        return {**spec, "concept": {name: {**settings, "q0": q0} for name, settings in concept.items()}}

    plain = {json.dumps(spec, sort_keys=True): name for name, spec in results.variants.items()}
    twins = {name: json.dumps(with_q0(spec, "empirical"), sort_keys=True) for name, spec in results.variants.items()}
    return {name: plain[twin] for name, twin in twins.items() if plain.get(twin, name) != name}


def concept_measures(results: Results, prefix: str) -> dict[str, str]:
    """concept -> the name of a measure that there is of each: "accuracy_", "loss_", "q_"."""
    return {concept: prefix + concept for concept in results.concept_names}


def step_measures(results: Results, form: str) -> dict[str, str]:
    """A step size in words -> the measure of the accuracy after it (Fig. 4)."""
    found = [step for name in results.values.measure.unique() if (step := STEP.fullmatch(name))]
    return {form.format(float(step[1])): step[0] for step in found}


# ---------------------------------------------------------------------------------------------- metrics.json


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
        for variant, run in runs_of(results, "svm_validation", target).items():
            by_variant[variant]["validation"] = spread(run)
    tuned = {c.title: {v: {"test_error": s} for v, s in c.scores.items()} for c in of_targets(results, "finetune", -1)}
    tree = {
        "claims": {row["claim"]: _verdict(row) for row in decided if row["primary"]},
        "premise": _premise(results),
        "svm": svm,
        "benchmark": _by_variant(results, {"accuracy": "benchmark_accuracy", "worst_concept": "worst_concept"}, True),
        "finetune": tuned,
        "robustness": _by_variant(results, step_measures(results, "step_{:g}")),
        "concepts": _by_variant(results, concept_measures(results, "accuracy_")),
        "q": _by_variant(results, concept_measures(results, "q_")),
        "theory": _theory(results),
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
    steps = metrics["robustness"].get(variant, {})
    verdicts = [claim["verdict"] for claim in metrics.get("claims", {}).values()]
    found = {
        "svm": {target: scores[variant]["mean"] for target, scores in metrics["svm"].items() if variant in scores},
        "worst_concept": metrics["benchmark"].get(variant, {}).get("worst_concept", {}).get("mean"),
        "robust": list(steps.values())[-1]["mean"] if steps else None,
        "claims": f"{verdicts.count(HOLDS)}/{len(verdicts)}" if verdicts else None,
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def _by_variant(results: Results, measures: dict[str, str], differences: bool = False) -> dict[str, dict]:
    """variant -> key -> score of the measure with that key; the mean and deviation alone without ``differences``."""
    tree: dict[str, dict] = {variant: {} for variant in results.variants}
    for key, measure in measures.items():
        for variant, score in scores(results, measure).items():
            tree[variant][key] = score if differences else {k: score[k] for k in ("mean", "std") if k in score}
    return tree


def _verdict(row: dict) -> dict:
    """The verdict on the primary endpoint and its evidence."""
    low, high = row["ci95"] or (None, None)
    return {"verdict": row["verdict"], "difference": row["difference"], "low": low, "high": high}


def _premise(results: Results) -> dict:
    targets = target_premise(results).set_index("target")[["premise", "distance", "loss"]]
    losses = concept_losses(results).set_index("concept").loss
    return {"concepts": losses.to_dict(), "targets": targets.replace("", None).to_dict("index")}


def _theory(results: Results) -> dict:
    """mu of each variant, what it suggests beside what is in use, and the maxima of Fig. 2."""
    chosen = results.suggestions.set_index("variant").to_dict("index")
    maxima = results.maxima.assign(mu=[f"mu_{mu:g}" for mu in results.maxima.mu]).set_index("mu").to_dict("index")
    return {"variants": chosen, "maxima": maxima}


def _clean(node: Any) -> Any:
    """Keys without dots (DVC separates by them), 4 decimals, no NaN, no empty branches."""
    if isinstance(node, dict):
        branch = {re.sub(r"\W", "_", str(key)): _clean(value) for key, value in node.items()}
        return {key: value for key, value in branch.items() if value is not None and value != {}}
    if isinstance(node, float | np.floating):
        return round(float(node), 4) + 0.0 if np.isfinite(node) else None  # + 0.0: no -0.0
    return int(node) if isinstance(node, np.integer) else node
