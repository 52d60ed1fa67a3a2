"""From single runs to means, deviations and paired differences: metrics.json and the data of the plots."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hrrl.report import search
from hrrl.report.claims import HOLDS, claims
from hrrl.report.concept_difficulty import concept_losses, target_premise
from hrrl.report.results import Results, final
from hrrl.report.statistics import paired, spread

# ------------------------------------------------------------------------------------------- scores by stage


def compare(results: Results, frame: pd.DataFrame, value: str, baseline: str | None = None) -> dict[str, dict]:
    """variant -> spread of ``value`` over its "n" seeds, and its paired "difference" to a baseline.

    The baseline is the first of the compared variants, where none is named.
    """
    baseline = baseline or results.baseline
    runs = {v: frame[frame.variant == v].set_index("seed")[value] for v in results.in_order(frame.variant)}
    scores = {variant: spread(run) | {"n": len(run)} for variant, run in runs.items()}
    base = runs.get(baseline, pd.Series(dtype=float))
    for variant, run in runs.items():
        if variant != baseline and run.index.isin(base.index).any():
            scores[variant]["difference"] = paired(run, base)
    return scores


def svm_scores(results: Results) -> dict[str, dict]:
    """target -> variant -> score of the SVM's test accuracy."""
    return {t: compare(results, rows, "accuracy") for t, rows in _by_target(results, results.scores)}


def finetune_scores(results: Results) -> dict[str, dict]:
    """target -> variant -> score of the test error after the last step."""
    return {t: compare(results, final(rows), "test_error") for t, rows in _by_target(results, results.finetune)}


def plateaus(results: Results) -> pd.DataFrame:
    """[target, variant, step, test_error, last_step, last_test_error]: fine-tuning late in the run and at its end.

    Means over seeds; late is the first evaluation that has 2/3 of the steps behind it.
    """
    frame, run = results.finetune, ["target", "variant"]
    means = frame.groupby([*run, "step"], sort=False)[["test_error"]].mean().reset_index()
    last = means.groupby(run, sort=False).tail(1).rename(columns={"step": "last_step", "test_error": "last_test_error"})
    late = means.merge(last, on=run)
    return late[3 * late.step >= 2 * late.last_step].groupby(run, sort=False).head(1)


def benchmark_scores(results: Results) -> dict[str, dict]:
    """Name ("accuracy", "worst_concept") -> variant -> score on the benchmark's validation images."""
    return {name: compare(results, rows, "score") for name, rows in _on_benchmark(results).items()}


def _on_benchmark(results: Results) -> dict[str, pd.DataFrame]:
    """Name -> the runs with their ``score`` after the last epoch; the worst concept is each run's own."""
    last = final(results.history)
    runs = {"accuracy": last.assign(score=last.val_accuracy)}
    columns = [column for c in results.concept_names if (column := f"accuracy_{c}") in last]
    if columns:
        runs["worst_concept"] = last.assign(score=last[columns].min(axis=1))
    return runs


def q0_changes(results: Results) -> dict[str, str]:
    """Variants with a q0 of their own -> the variant that is the same but for its q0, which is empirical."""

    def with_q0(spec: dict[str, Any], q0: Any) -> dict[str, Any]:
        concept = spec.get("concept") or {}
        return {**spec, "concept": {name: {**settings, "q0": q0} for name, settings in concept.items()}}

    plain = {json.dumps(spec, sort_keys=True): name for name, spec in results.variants.items()}
    twins = {name: json.dumps(with_q0(spec, "empirical"), sort_keys=True) for name, spec in results.variants.items()}
    return {name: plain[twin] for name, twin in twins.items() if plain.get(twin, name) != name}


def q0_columns(results: Results) -> list["Column"]:
    """Per target, SVM accuracy of the variants with a q0 of their own, against the same method with q0 empirical."""
    changes, columns = q0_changes(results), []
    for target, rows in _by_target(results, results.scores):
        scores = {v: compare(results, rows, "accuracy", base).get(v) for v, base in changes.items()}
        columns.append(Column(target, {v: score for v, score in scores.items() if score}))
    return columns


class Column(NamedTuple):
    """A column of a table with one row per variant."""

    title: str
    scores: dict[str, dict]
    sign: int = 1  # -1: less is better
    target: str | None = None  # the target of an SVM's accuracy, by which the paper's numbers are found
    runs: dict[str, dict] | None = None  # variant -> seed -> value, for differences to another baseline


def svm_columns(results: Results) -> list[Column]:
    return [
        Column(target, compare(results, rows, "accuracy"), target=target, runs=_runs(rows, "accuracy"))
        for target, rows in _by_target(results, results.scores)
    ]


def finetune_columns(results: Results) -> list[Column]:
    last = {target: final(rows) for target, rows in _by_target(results, results.finetune)}
    return [
        Column(target, compare(results, rows, "test_error"), sign=-1, runs=_runs(rows, "test_error"))
        for target, rows in last.items()
    ]


def _runs(frame: pd.DataFrame, value: str) -> dict[str, dict]:
    return {v: dict(zip(rows.seed, rows[value].round(6), strict=True)) for v, rows in frame.groupby("variant")}


def comparison_columns(results: Results) -> list[Column]:
    """What is gained where: accuracy on the benchmark and its worst concept, transfer."""
    benchmark = [
        Column(name.replace("_", " "), compare(results, rows, "score"), runs=_runs(rows, "score"))
        for name, rows in _on_benchmark(results).items()
    ]
    transfer = [Column(f"SVM {target}", _means(scores)) for target, scores in svm_scores(results).items()]
    return [column for column in (*benchmark, *transfer) if column.scores]


def _means(scores: dict[str, dict]) -> dict[str, dict]:
    return {v: {key: value for key, value in s.items() if key != "difference"} for v, s in scores.items()}


def _by_target(results: Results, frame: pd.DataFrame) -> Any:
    return [(t, rows) for t in results.targets if len(rows := frame[frame.target == t])]


# ---------------------------------------------------------------------------------------------- metrics.json


def metrics(results: Results) -> dict:
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
    benchmark = benchmark_scores(results)
    tree = {
        "svm": _with_validation(results),
        "benchmark": {v: {k: s[v] for k, s in benchmark.items()} for v in benchmark["accuracy"]},
        "finetune": {t: {v: {"test_error": s} for v, s in by.items()} for t, by in finetune_scores(results).items()},
        "robustness": nested(results, results.robustness, "step_size", "accuracy", "step_{:g}"),
        "concepts": nested(results, results.concept_accuracy, "concept", "accuracy"),
        "q": nested(results, final_q(results), "concept", "q"),
        "theory": _theory(results),
        "checks": {
            "svm_fits": len(results.svm),
            "svm_edge": int(results.svm.edge.sum()),
            "svm_not_converged": int((~results.svm.converged.astype(bool)).sum()),
        },
    }
    first = {"claims": _claims(results), "premise": _premise(results)}
    return _clean({**first, **tree})


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


def _claims(results: Results) -> dict:
    """name -> the verdict on the primary endpoint and its evidence."""
    named = {}
    for row in [row for row in claims(results) if row["primary"]]:
        low, high = row["ci95"] or (None, None)
        named[row["claim"]] = {"verdict": row["verdict"], "difference": row["difference"], "low": low, "high": high}
    return named


def _premise(results: Results) -> dict:
    targets = target_premise(results).set_index("target")
    shown = targets[["premise", "distance", "loss"]].replace("", None)
    return {
        "concepts": concept_losses(results).set_index("concept").loss.to_dict(),
        "targets": shown.to_dict("index"),
    }


def _with_validation(results: Results) -> dict:
    scores = svm_scores(results)
    for target, rows in _by_target(results, results.scores):
        for variant, score in scores[target].items():
            score["validation"] = spread(rows.validation[rows.variant == variant])
    return scores


def nested(results: Results, frame: pd.DataFrame, by: str, value: str, form: str = "{}") -> dict:
    """variant -> key of ``by`` -> spread of ``value``, in order of appearance."""
    groups = frame.groupby(["variant", by], sort=False)[value]
    tree: dict[str, dict[str, Any]] = {variant: {} for variant in results.in_order(frame.variant)}
    for (variant, key), values in groups:
        tree[variant][form.format(key)] = spread(values)
    return tree


def final_q(results: Results) -> pd.DataFrame:
    """[variant, seed, concept, q] after the last epoch, of the variants with an adaptive q."""
    return q_rows(results, final(results.history))


def q_rows(results: Results, history: pd.DataFrame) -> pd.DataFrame:
    """[variant, seed, epoch, concept, q] of the variants with an adaptive q."""
    weighted = history[history.variant.isin(results.adaptive())]
    names = [name for name in results.concept_names if f"q_{name}" in history]
    long = [weighted[["variant", "seed", "epoch"]].assign(concept=n, q=weighted[f"q_{n}"]) for n in names]
    empty = pd.DataFrame(columns=["variant", "seed", "epoch", "concept", "q"])
    return pd.concat(long).dropna(subset=["q"]) if long else empty


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


# ----------------------------------------------------------------------------------------- data of the plots


def plot_data(results: Results) -> dict[str, pd.DataFrame]:
    """name -> means over seeds (``std`` beside them), one row per point; ``series`` names its line."""
    history = [c for c in ("train_loss", "val_accuracy", "q_entropy") if c in results.history]
    frames = {
        "svm": _over_seeds(results, results.scores, ["target", "variant"], "accuracy"),
        "finetune_error": _over_seeds(results, results.finetune, ["target", "variant", "step"], "test_error"),
        "augmented_accuracy": _over_seeds(
            results, _of(results.robustness, _with_headline(results, "concept")), ["variant", "step_size"], "accuracy"
        ),
        "augmented_accuracy_search": search.sweep(results.search_steps, "tau", "step_size"),
        "concept_accuracy": _ranked(results),
        "concept_accuracy_search": _with_ranks(search.sweep(results.search_concepts, "lam", "concept"), "series"),
        "search": search.points(results),
        "q": _over_seeds(results, q_rows(results, results.history), ["variant", "concept", "epoch"], "q"),
        "history": _over_seeds(results, results.history, ["variant", "epoch"], *history),
        "h_curves": _h_curves(results),
        "regret": _regret(results),
    }
    return {name: frame for name, frame in frames.items() if len(frame)}


def write_plot_data(data: dict[str, pd.DataFrame], folder: str | Path) -> None:
    """<folder>/<name>.csv for each frame; numbers with 6 significant digits."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in data.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")


def _with_headline(results: Results, axis: str) -> list[str]:
    """The variants that have no point on an axis, and the headline."""
    return [*results.without(axis), results.headline]


def _of(frame: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    return frame[frame.variant.isin(variants)]


def _over_seeds(results: Results, frame: pd.DataFrame, by: list[str], *values: str) -> pd.DataFrame:
    """Means of ``values`` over seeds, and of a single one its deviation; variants in params' order."""
    groups = frame.groupby(by, sort=False)
    table = groups[list(values)].mean()
    if len(values) == 1:
        table["std"] = groups[values[0]].std()
    table = table.reset_index()
    series = table.variant.map(results.labels)
    for part in ("target", "concept"):
        if part in by:
            series = series + ": " + table[part]
    table.insert(len(by), "series", series)
    order = {name: i for i, name in enumerate([*results.targets, *results.variants])}
    keys = [key for key in ("target", "variant") if key in by]
    return table.sort_values(keys, key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _h_curves(results: Results) -> pd.DataFrame:
    """h(s) of the given mu, and of those that were measured, which have the name of their variant."""
    frame = results.curves
    names = frame.variant.map(results.labels).add(": ").fillna("")
    return frame.assign(series=names + frame.mu.map("μ = {:.3g}".format))


def _regret(results: Results) -> pd.DataFrame:
    """Means over seeds of q's mean regret and of its bound; c = 1 has no slow start."""
    table = _over_seeds(results, results.regret, ["variant", "c", "s", "steps"], "regret", "bound")
    return table.assign(series=table.series + table.c.map(", c = {:g}".format))


def _ranked(results: Results) -> pd.DataFrame:
    """Accuracy per concept of the headline and of the variants that do not perturb examples, ascending for each."""
    rows = _of(results.concept_accuracy, _with_headline(results, "example"))
    table = _over_seeds(results, rows, ["variant", "concept"], "accuracy")
    table["series"] = table.variant.map(results.labels)
    return _with_ranks(table, "variant")


def _with_ranks(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of each value of ``by`` in ascending order of their accuracy, which ``rank`` counts."""
    table["rank"] = table.groupby(by, sort=False).accuracy.rank(method="first").astype(int)
    position = {name: i for i, name in enumerate(table[by].unique())}
    return table.sort_values([by, "rank"], key=lambda c: c.map(position) if c.name == by else c)
