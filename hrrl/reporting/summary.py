"""From single runs to means, deviations and paired differences: metrics.json and the data of the plots."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hrrl.reporting.results import Results

CONFIDENCE = 0.95
ESTIMATE = ["mu", "mu_mean", "batches"]  # the same for all variants


# ------------------------------------------------------------------------------------------------ statistics


def spread(values) -> dict:
    """{"mean", "std"} of single runs; std is the sample standard deviation, which a single run has not."""
    values = np.asarray(values, dtype=float)
    std = {"std": float(values.std(ddof=1))} if len(values) > 1 else {}
    return {"mean": float(values.mean()), **std}


def paired(a: pd.Series, b: pd.Series) -> dict:
    """{"mean", "low", "high"} of a - b over the seeds (the index) that both have.

    low and high bound the 95% confidence interval of the mean by Student's t; one seed has none.
    """
    differences = (a - b).dropna()
    score, n = spread(differences), len(differences)
    if n < 2:
        return score
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * score["std"] / np.sqrt(n)
    return {"mean": score["mean"], "low": score["mean"] - half, "high": score["mean"] + half}


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


# ------------------------------------------------------------------------------------------- scores by stage


def final(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last epoch."""
    run = [column for column in ("target", "variant", "seed") if column in frame]
    return frame.sort_values("epoch", kind="stable").groupby(run, sort=False).tail(1).sort_index()


def svm_scores(results: Results) -> dict[str, dict]:
    """target -> variant -> score of the SVM's test accuracy."""
    return {t: compare(results, rows, "accuracy") for t, rows in _by_target(results, results.svm)}


def finetune_scores(results: Results) -> dict[str, dict]:
    """target -> variant -> score of the test error after the last epoch."""
    return {t: compare(results, final(rows), "test_error") for t, rows in _by_target(results, results.finetune)}


def benchmark_scores(results: Results) -> dict[str, dict]:
    """Name ("accuracy", "worst_concept") -> variant -> score on the benchmark's validation images.

    After the last epoch; the worst concept is each run's own.
    """
    last = final(results.history)
    scores = {"accuracy": compare(results, last, "val_accuracy")}
    columns = [column for c in concept_names(results) if (column := f"accuracy_{c}") in last]
    if columns:
        scores["worst_concept"] = compare(results, last.assign(worst=last[columns].min(axis=1)), "worst")
    return scores


def q0_changes(results: Results) -> dict[str, str]:
    """Variants with a q0 of their own -> the variant that is the same but for its q0, which is empirical."""

    def with_q0(spec, q0):
        concept = spec.get("concept") or {}
        return {**spec, "concept": {name: {**settings, "q0": q0} for name, settings in concept.items()}}

    plain = {json.dumps(spec, sort_keys=True): name for name, spec in results.variants.items()}
    twins = {name: json.dumps(with_q0(spec, "empirical"), sort_keys=True) for name, spec in results.variants.items()}
    return {name: plain[twin] for name, twin in twins.items() if plain.get(twin, name) != name}


def q0_columns(results: Results) -> list["Column"]:
    """Per target, SVM accuracy of the variants with a q0 of their own, against the same method with q0 empirical."""
    changes, columns = q0_changes(results), []
    for target, rows in _by_target(results, results.svm):
        scores = {v: compare(results, rows, "accuracy", base).get(v) for v, base in changes.items()}
        columns.append(Column(target, {v: score for v, score in scores.items() if score}))
    return columns


class Column(NamedTuple):
    """A column of a table with one row per variant."""

    title: str
    scores: dict[str, dict]
    sign: int = 1  # -1: less is better
    target: str | None = None  # the target of an SVM's accuracy, by which the paper's numbers are found


def svm_columns(results: Results) -> list[Column]:
    return [Column(target, scores, target=target) for target, scores in svm_scores(results).items()]


def finetune_columns(results: Results) -> list[Column]:
    return [Column(target, scores, -1) for target, scores in finetune_scores(results).items()]


def comparison_columns(results: Results) -> list[Column]:
    """What is gained where: accuracy on the benchmark and its worst concept, transfer."""
    benchmark = [Column(name.replace("_", " "), scores) for name, scores in benchmark_scores(results).items()]
    transfer = [Column(f"SVM {target}", _means(scores)) for target, scores in svm_scores(results).items()]
    return [column for column in (*benchmark, *transfer) if column.scores]


def _means(scores: dict[str, dict]) -> dict[str, dict]:
    return {v: {key: value for key, value in s.items() if key != "difference"} for v, s in scores.items()}


def concept_names(results: Results) -> list[str]:
    return list(results.concepts.concept)


def _by_target(results: Results, frame: pd.DataFrame):
    return [(t, rows) for t in results.targets if len(rows := frame[frame.target == t])]


# ---------------------------------------------------------------------------------------------- metrics.json


def metrics(results: Results) -> dict:
    """The numbers of metrics.json: nested, with stable keys, rounded to 4 decimals.

    ``svm.<target>.<variant>``: mean, std, n, difference to the baseline, validation.mean;
    ``benchmark.<variant>``: accuracy, worst_concept; ``finetune.<target>.<variant>.test_error``;
    ``robustness.<variant>.step_<size>``; ``concepts.<variant>.<concept>`` (accuracy);
    ``q.<variant>.<concept>`` after the last epoch; ``theory``; ``checks``: SVM fits with C at the edge of the
    grid or without convergence. ``headline`` repeats the means of one variant without its name. What a single
    seed does not give (std, low, high) is left out, and so are training speeds, which differ from run to run.
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
    return _clean({"headline": _headline(tree, results.headline), **tree})


def _with_validation(results: Results) -> dict:
    scores = svm_scores(results)
    for target, rows in _by_target(results, results.svm):
        for variant, score in scores[target].items():
            score["validation"] = {"mean": spread(rows.validation[rows.variant == variant])["mean"]}
    return scores


def nested(results: Results, frame, by: str, value: str, form: str = "{}") -> dict:
    """variant -> key of ``by`` -> spread of ``value``, in order of appearance."""
    groups = frame.groupby(["variant", by], sort=False)[value]
    tree = {variant: {} for variant in results.in_order(frame.variant)}
    for (variant, key), values in groups:
        tree[variant][form.format(key)] = spread(values)
    return tree


def final_q(results: Results) -> pd.DataFrame:
    """[variant, seed, concept, q] after the last epoch, of the variants with an adaptive q."""
    return q_rows(results, final(results.history))


def q_rows(results: Results, history: pd.DataFrame) -> pd.DataFrame:
    """[variant, seed, epoch, concept, q] of the variants with an adaptive q."""
    weighted = history[history.variant.isin(results.adaptive())]
    names = [name for name in concept_names(results) if f"q_{name}" in history]
    long = [weighted[["variant", "seed", "epoch"]].assign(concept=n, q=weighted[f"q_{n}"]) for n in names]
    empty = pd.DataFrame(columns=["variant", "seed", "epoch", "concept", "q"])
    return pd.concat(long).dropna(subset=["q"]) if long else empty


def _theory(results: Results) -> dict:
    """mu, what it suggests for each variant beside what is in use, and the maxima of Fig. 2."""
    per_variant = results.suggestions.set_index("variant").to_dict("index")
    mu = next(({key: row[key] for key in ESTIMATE} for row in per_variant.values()), {})
    chosen = {name: {k: v for k, v in row.items() if k not in ESTIMATE} for name, row in per_variant.items()}
    maxima = results.maxima.assign(mu=[f"mu_{mu:g}" for mu in results.maxima.mu]).set_index("mu").to_dict("index")
    return {**mu, "variants": chosen, "maxima": maxima}


def _headline(tree: dict, variant: str) -> dict:
    """The means of one variant, with its name left out of the keys."""
    here = {name: tree[name][variant] for name in ("benchmark", "robustness", "concepts") if variant in tree[name]}
    means = {name: {key: score["mean"] for key, score in scores.items()} for name, scores in here.items()}
    svm = {t: scores[variant]["mean"] for t, scores in tree["svm"].items() if variant in scores}
    finetune = {t: s[variant]["test_error"]["mean"] for t, s in tree["finetune"].items() if variant in s}
    return {"svm": svm, "finetune": finetune, **means}


def _clean(node):
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
        "svm": _over_seeds(results, results.svm, ["target", "variant"], "accuracy"),
        "finetune_error": _over_seeds(results, results.finetune, ["target", "variant", "epoch"], "test_error"),
        "augmented_accuracy": _over_seeds(
            results, _of(results.robustness, results.without("concept")), ["variant", "step_size"], "accuracy"
        ),
        "concept_accuracy": _ranked(results),
        "q": _over_seeds(results, q_rows(results, results.history), ["variant", "concept", "epoch"], "q"),
        "history": _over_seeds(results, results.history, ["variant", "epoch"], *history),
        "h_curves": results.curves.assign(series=[f"μ = {mu:g}" for mu in results.curves.mu]),
    }
    return {name: frame for name, frame in frames.items() if len(frame)}


def write_plot_data(data: dict[str, pd.DataFrame], folder) -> None:
    """<folder>/<name>.csv for each frame; numbers with 6 significant digits."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in data.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")


def _of(frame: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    return frame[frame.variant.isin(variants)]


def _over_seeds(results: Results, frame, by: list[str], *values: str) -> pd.DataFrame:
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


def _ranked(results: Results) -> pd.DataFrame:
    """Accuracy per concept of the variants that do not perturb examples, in ascending order for each."""
    rows = _of(results.concept_accuracy, results.without("example"))
    table = _over_seeds(results, rows, ["variant", "concept"], "accuracy")
    table["series"] = table.variant.map(results.labels)
    table["rank"] = table.groupby("variant", sort=False).accuracy.rank(method="first").astype(int)
    position = {name: i for i, name in enumerate(results.variants)}
    return table.sort_values(["variant", "rank"], key=lambda c: c.map(position) if c.name == "variant" else c)
