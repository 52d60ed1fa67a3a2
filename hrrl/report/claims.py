"""Decides the claims that params name before the run: a difference, its interval, a verdict (docs/evidence.md)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrrl.report import statistics
from hrrl.report.long_form import POINT, steps_above_floor
from hrrl.report.results import Results
from hrrl.report.statistics import Interval
from hrrl.transfer import search

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
LEVEL = (1 - statistics.CONFIDENCE) / 2  # one-sided, as the intervals are on each side
GIVEN = {"than": None, "relation": "better", "margin": None, "target": None}  # a claim's defaults


@dataclass(frozen=True)
class Endpoint:
    """What a claim is decided by, a measure of :mod:`hrrl.report.long_form`; in percent, so differences in points.

    Args:
        sign: 1 where more is better, -1 where less is.
        title: of the measure.
        sentence: how the page says a claim; filled in with variants, target, and how they compare.
        beside: measures that a reader must see with it.
    """

    sign: int
    title: str
    sentence: str
    beside: tuple[str, ...] = ()


ENDPOINTS = {
    "svm": Endpoint(1, "SVM test accuracy", "{better} transfers to {target} ({shift}) {how} {than}{within}."),
    "finetune": Endpoint(
        -1, "Test error after fine-tuning", "Fine-tuned on {target} ({shift}), {better} does {how} {than}{within}."
    ),
    "augmented": Endpoint(
        1, "Accuracy on moved images", "On moved images, {better} does {how} {than}{within}.", ("benchmark_accuracy",)
    ),
    "worst_concept": Endpoint(
        1,
        "Accuracy of the worst concept",
        "On the concept that it serves worst, {better} does {how} {than} on its own{within}.",
        ("mean_concept", "best_concept", "concept_gap"),
    ),
}


def claims(results: Results) -> list[dict]:
    """The content of claims.json: each claim on its primary endpoint, then the same comparisons on other targets.

    ``claim``, ``source``, ``better``, ``than``, ``relation``, ``margin``, ``endpoint``, ``target``, ``primary``: what
    is claimed. ``pairs``: ``better`` against each of ``than``; the least favourable one decides, and its numbers are
    repeated in the row: ``compared``, ``difference`` of the endpoint's means, ``ci95_seeds``,
    ``ci95_test`` (over test images, where it is known which are right), ``ci95`` of both together, ``p``,
    ``detectable``, the difference that would be found in 80% of such runs, ``verdict``. ``beside``: differences of
    other measures of the same pair, with intervals over seeds. ``p_holm``: corrected over the primary rows, and over
    the others. A claim about the search has ``trend`` and its ``doses`` instead. What one seed does not give is None.
    """
    specs = [GIVEN | claim for claim in results.claims]
    primary = [(_trend if "trend" in claim else _claim)(results, claim) for claim in specs]
    compared = {comparison for row in primary for comparison in _comparisons(row)}
    secondary = []
    for claim in specs:
        repeats = claim["relation"] == "better" and isinstance(claim["than"], str) and claim["target"]
        for repeat in [claim | {"target": target} for target in results.targets] if repeats else ():
            [comparison] = _comparisons(repeat)
            if comparison not in compared:  # also not the other way round: it has the same p-value
                compared.add(comparison)
                secondary.append(_claim(results, repeat, primary=False))
    _correct(primary)
    _correct(secondary)
    for row in secondary:
        if row["p_holm"] is None or row["p_holm"] >= 1 - statistics.CONFIDENCE:
            row["verdict"] = UNDECIDED
    return primary + secondary


def others(than: str | list[str]) -> list[str]:
    """The variants that ``than`` of a claim names."""
    return [than] if isinstance(than, str) else list(than)


def _comparisons(claim: dict) -> list[tuple]:
    """(pair, endpoint, target) of each comparison; the pair is unordered, whichever side is claimed to be better."""
    pairs = [frozenset([claim["better"], other]) for other in others(claim["than"] or [])]
    return [(pair, claim["endpoint"], claim["target"]) for pair in pairs]


def _claim(results: Results, claim: dict, primary: bool = True) -> dict:
    """A row of claims.json."""
    endpoint = ENDPOINTS[claim["endpoint"]]
    pairs = [_pair(results, claim, other) for other in others(claim["than"])]
    weakest = min(pairs, key=lambda pair: _support(pair, endpoint.sign))
    copied = ("source", "better", "than", "relation", "margin", "endpoint", "target")
    row = {"claim": claim["name"]} | {key: claim[key] for key in copied} | {"primary": primary} | weakest
    row["verdict"] = _all_hold([pair["verdict"] for pair in pairs])
    row["p"] = None if weakest["p"] is None else max(pair["p"] for pair in pairs)
    beside = {name: _differences(results, name, None, row["better"], row["compared"]) for name in endpoint.beside}
    row["beside"] = {
        name: {"difference": _mean(differences), "ci95": statistics.over_seeds(differences)}
        for name, differences in beside.items()
    }
    return row | {"pairs": pairs if len(pairs) > 1 else []}


def _pair(results: Results, claim: dict, other: str) -> dict:
    """The variant claimed to be better against one other: difference, intervals, p-value and verdict."""
    sign, relation, margin = ENDPOINTS[claim["endpoint"]].sign, claim["relation"], claim["margin"] or 0.0
    differences = _differences(results, claim["endpoint"], claim["target"], claim["better"], other)
    image_error = _image_error(results, claim, other, differences.index)
    mean, seed_error, error = _mean(differences), statistics.seed_error(differences), image_error or 0.0
    interval = statistics.over_seeds(differences, error)
    p, p_opposite = (statistics.p_value(differences, bound, error) for bound in (-sign * margin, sign * margin))
    if relation == "similar" and mean is not None and p is not None and p_opposite is not None:
        p = max(p, p_opposite) if abs(mean) < margin else 1.0  # both bounds must be rejected
    return {
        "compared": other,
        "difference": mean,
        "ci95": interval,
        "ci95_seeds": statistics.over_seeds(differences),
        "ci95_test": None if image_error is None or mean is None else statistics.over_images(mean, image_error),
        "seeds": len(differences),
        "p": p,
        "verdict": _verdict(interval, relation, margin, sign),
        "detectable": None if seed_error is None else statistics.detectable(seed_error, len(differences), error),
    }


def _differences(results: Results, measure: str, target: str | None, better: str, other: str) -> pd.Series:
    """``better`` minus ``other``, by seed, of the seeds that both have."""
    runs, no_runs = results.runs(measure, target), pd.Series()
    return (runs.get(better, no_runs) - runs.get(other, no_runs)).dropna()


def _mean(differences: pd.Series) -> float | None:
    return float(differences.mean()) if len(differences) else None


def _trend(results: Results, claim: dict) -> dict:
    """A row of claims.json about the points of the search along one axis, the weakest first."""
    runs = results.runs(claim["endpoint"])
    points = {name: search.parse(name.removeprefix(POINT)) for name in runs if name.startswith(POINT)}
    if claim["trend"] == "tau":
        strength = {name: tau or 0.0 for name, (tau, lam) in points.items() if lam is None}
    else:
        strength = {name: 1 / lam if lam else 0.0 for name, (tau, lam) in points.items() if tau is None}
    doses = sorted(strength, key=strength.__getitem__)
    table = runs[doses].dropna()
    p_rise, p_fall = statistics.trend(table), statistics.trend(-table)
    rises, falls = (p is not None and p < LEVEL for p in (p_rise, p_fall))
    means = table.mean().dropna()  # empty where no seed has all doses
    return {
        **{"claim": claim["name"], "source": claim["source"], "relation": "trend", "trend": claim["trend"]},
        **{"endpoint": claim["endpoint"], "target": None, "primary": True, "better": None, "than": None},
        "doses": {name.removeprefix(POINT): float(value) for name, value in means.items()},
        "difference": float(means.iloc[-1] - means.iloc[0]) if len(means) else None,
        "seeds": len(table),
        "p": None if p_rise is None or p_fall is None else min(1.0, 2 * min(p_rise, p_fall)),
        "least_p": 2 * statistics.least_p_of_a_trend(len(table), len(doses)) if len(means) else None,
        "verdict": HOLDS if rises else FAILS if falls else UNDECIDED,
        **dict.fromkeys(("compared", "margin", "ci95", "ci95_seeds", "ci95_test", "detectable")),
        **{"beside": {}, "pairs": []},
    }


def _support(pair: dict, sign: int) -> tuple[float, float]:
    """What the pairs of a claim are ordered by: the interval's unfavourable bound, then the difference."""
    unknown = float("-inf")
    low = min(sign * bound for bound in pair["ci95"]) if pair["ci95"] else unknown
    return low, unknown if pair["difference"] is None else sign * pair["difference"]


def _image_error(results: Results, claim: dict, other: str, seeds: Iterable) -> float | None:
    """The standard error over test images of the mean difference in points; None where it is not known which are right.

    Each image's part in the endpoint is averaged over the seeds; the worst concept is each run's own.
    """
    endpoint, target, better = claim["endpoint"], claim["target"], claim["better"]
    pairs = [[_parts(results, endpoint, target, name, seed) for name in (better, other)] for seed in seeds]
    differences = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    if not pairs or len(differences) < len(pairs):
        return results.image_errors.get((endpoint, target, better, other))
    strata = results.validation_concepts if endpoint == "worst_concept" else None
    return statistics.image_error(100 * np.mean(differences, axis=0), strata)


def _parts(results: Results, endpoint: str, target: str | None, variant: str, seed: int) -> np.ndarray | None:
    """(n,): what each test image adds to a run's endpoint, whose sum is the endpoint / 100."""
    if endpoint in ("svm", "finetune"):
        hits = (results.correct if endpoint == "svm" else results.finetune_correct).get((target, variant, seed))
        return None if hits is None else ENDPOINTS[endpoint].sign * hits / len(hits)
    hits_by_step, concepts = results.moved_correct.get((variant, seed)), results.validation_concepts
    if hits_by_step is None or concepts is None:
        return None
    if endpoint == "augmented":
        sizes = steps_above_floor(results.values, results)
        return np.mean([hits_by_step[size] for size in sizes], axis=0) / len(concepts)
    hits = hits_by_step[0.0]
    worst = min(np.unique(concepts), key=lambda concept: hits[concepts == concept].mean())
    return np.where(concepts == worst, hits, 0) / np.sum(concepts == worst)


def _verdict(interval: Interval | None, relation: str, margin: float, sign: int) -> str:
    """Whether the whole interval is where the relation claims it to be, or nowhere there; else it is undecided."""
    if interval is None:
        return UNDECIDED
    low, high = sorted(sign * bound for bound in interval)
    upper = margin if relation == "similar" else float("inf")
    inside, outside = -margin < low and high < upper, high < -margin or low > upper
    return HOLDS if inside else FAILS if outside else UNDECIDED


def _all_hold(verdicts: list[str]) -> str:
    """The verdict of a claim about several comparisons: each must hold."""
    return FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS


def _correct(rows: list[dict]) -> None:
    """Holm's correction over all rows with a p-value, as ``p_holm``."""
    corrected = iter(statistics.holm([row["p"] for row in rows if row["p"] is not None]))
    for row in rows:
        row["p_holm"] = None if row["p"] is None else next(corrected)
