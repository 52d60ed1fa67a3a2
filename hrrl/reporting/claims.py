"""Decides the claims that params name before the run: a difference, its interval, a verdict (docs/evidence.md)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrrl.reporting import statistics
from hrrl.reporting.results import Results
from hrrl.reporting.runs import runs

Interval = tuple[float, float]

SHIFTS = {
    "none": "same images, same concepts",
    "images": "other images, same concepts",
    "concepts": "same kind of images, other concepts",
    "both": "other images, other concepts",
}
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


@dataclass(frozen=True)
class Endpoint:
    """What a claim is decided by, a measure of :func:`hrrl.reporting.runs.runs`; in percent, so differences in points.

    Args:
        sign: 1 where more is better, -1 where less is.
        title: of the measure.
        better, not_worse: how the page says a claim; filled in with the names of the variants and the target.
    """

    sign: int
    title: str
    better: str
    not_worse: str


ENDPOINTS = {
    "svm": Endpoint(
        1,
        "SVM test accuracy",
        "Features of {better} transfer better to {target} ({shift}) than those of {than}.",
        "Features of {better} transfer to {target} ({shift}) no worse than the better of {than}, less the noise.",
    ),
    "finetune": Endpoint(
        -1,
        "Test error after fine-tuning",
        "Fine-tuned on {target} ({shift}), {better} ends below the test error of {than}.",
        "Fine-tuned on {target} ({shift}), {better} ends no worse than the better of {than}, less the noise.",
    ),
    "augmented": Endpoint(
        1,
        "Change of accuracy by augmenting",
        "{better} keeps more of its accuracy on augmented images than {than}.",
        "{better} keeps no less of its accuracy on augmented images than the better of {than}, less the noise.",
    ),
    "concept_gap": Endpoint(
        -1,
        "Accuracy of the best concept minus that of the worst",
        "{better} has a smaller gap between concepts than {than}.",
        "{better} has no larger a gap between concepts than the better of {than}, less the noise.",
    ),
}


def claims(results: Results) -> list[dict]:
    """The content of claims.json: each claim on its primary endpoint, then the same comparisons on other targets.

    ``claim``, ``source``, ``better``, ``than``, ``endpoint``, ``target``, ``primary``: what is claimed.
    ``compared``: the variant that ``better`` is compared with, the best of ``than``. ``difference`` of the endpoint's
    means, ``better`` minus ``compared``. ``margin``: what the difference is judged against, 0 or the noise.
    ``ci95_seeds``: by Student's t over the differences of the ``seeds``; ``ci95_test``: by bootstrap over test images,
    where their hits are known; ``ci95``: the wider. ``p``: of the paired t-test, and ``p_holm`` corrected for all that
    is not primary. ``detectable``: the difference that would be found in 80% of such runs. What one seed does not give
    is None.
    """
    values = runs(results)
    primary = [_judged(results, values, claim, claim.get("target"), True) for claim in results.claims]
    asked, secondary = {_question(row) for row in primary}, []
    for claim in results.claims:
        for target in results.targets if claim.get("target") else ():
            row = _judged(results, values, claim, target, False)
            if _question(row) not in asked:
                asked.add(_question(row))
                secondary.append(row)
    _correct(secondary)
    return primary + secondary


def statement(results: Results, row: dict) -> str:
    """The claim in a sentence."""
    endpoint, than = ENDPOINTS[row["endpoint"]], row["than"]
    several = not isinstance(than, str)
    names = [results.labels[name] for name in (than if several else [than])]
    return (endpoint.not_worse if several else endpoint.better).format(
        better=results.labels[row["better"]],
        than=" and ".join(names),
        target=row["target"],
        shift=SHIFTS.get(results.shifts.get(row["target"], ""), ""),
    )


def _question(row: dict) -> tuple:
    return row["better"], str(row["than"]), row["endpoint"], row["target"]


def _judged(results: Results, values: pd.DataFrame, claim: dict, target: str | None, primary: bool) -> dict:
    rows = values[(values.measure == claim["endpoint"]) & (values.target == (target or ""))]
    sign, than = ENDPOINTS[claim["endpoint"]].sign, claim["than"]
    several = not isinstance(than, str)
    of = {name: rows[rows.variant == name].set_index("seed").value for name in (than if several else [than])}
    compared = max(of, key=lambda name: sign * of[name].mean())
    noise = statistics.spread(of[compared]).get("std", 0.0) if several else 0.0
    differences = (rows[rows.variant == claim["better"]].set_index("seed").value - of[compared]).dropna()
    margin = -sign * noise
    of_seeds = statistics.over_seeds(differences)
    of_test = _over_images(results, claim, compared, target, differences.index)
    interval, seeds = _wider((of_seeds, len(differences)), (of_test, None))
    return {
        "claim": claim["name"],
        "source": claim["source"],
        "better": claim["better"],
        "than": than,
        "endpoint": claim["endpoint"],
        "target": target,
        "primary": primary,
        "compared": compared,
        "difference": float(differences.mean()),
        "margin": margin,
        "ci95": interval,
        "ci95_seeds": of_seeds,
        "ci95_test": of_test,
        "seeds": len(differences),
        "p": statistics.p_value(differences, margin),
        "verdict": _verdict(interval, margin, sign, len(differences)),
        "detectable": statistics.detectable((interval[1] - interval[0]) / 2, seeds) if interval and of_seeds else None,
    }


def _over_images(
    results: Results, claim: dict, compared: str, target: str | None, seeds: Iterable[int]
) -> Interval | None:
    """The interval over test images of the difference in points, each image's averaged over the seeds."""
    pairs = [[results.hits.get((target, name, seed)) for name in (claim["better"], compared)] for seed in seeds]
    known = [better - other for better, other in pairs if better is not None and other is not None]
    if claim["endpoint"] != "svm" or len(known) < len(pairs):
        return None
    return statistics.over_images(100 * np.mean(known, axis=0))


def _wider(*intervals: tuple[Interval | None, int | None]) -> tuple[Interval | None, int | None]:
    """The widest interval of those that there are, with the number of seeds that it came with."""
    there = [(interval, seeds) for interval, seeds in intervals if interval]
    return max(there, key=lambda pair: pair[0][1] - pair[0][0]) if there else (None, None)


def _verdict(interval: Interval | None, margin: float, sign: int, seeds: int) -> str:
    """Whether the whole interval is on the claimed side of the margin, or on the other; else it is undecided."""
    if seeds < statistics.ENOUGH or interval is None:
        return UNDECIDED
    low, high = sorted(sign * (bound - margin) for bound in interval)
    return HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED


def _correct(rows: list[dict]) -> None:
    """Holm's correction over all rows; what its p-value no longer rejects is undecided."""
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, statistics.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
        if p >= 1 - statistics.CONFIDENCE:
            row["verdict"] = UNDECIDED
