"""How numbers, differences and claims are written, in tables and on the page."""

from collections.abc import Mapping
from typing import Any

from hrrl.report.claims import ENDPOINTS, FAILS, HOLDS, UNDECIDED, others
from hrrl.report.results import PAPER, Results
from hrrl.report.summary import Column

MISSING = "–"
SHIFTS = {
    "none": "same images, same concepts",
    "images": "other images, same concepts",
    "concepts": "same kind of images, other concepts",
    "both": "other images, other concepts",
}
VERDICTS = {  # what the words mean, for the page
    HOLDS: "the whole 95% interval is where the claim says",
    FAILS: "the whole 95% interval is where the claim says it is not",
    UNDECIDED: "the interval reaches over both: this run cannot tell, which is no evidence against the claim",
}
COUNTED = {HOLDS: "hold", FAILS: "fail", UNDECIDED: "are undecided"}
PAPERS_TARGETS = {"images": "cifar10", "concepts": "sop", "both": "svhn"}  # shift -> the paper's target that has it
PAPERS_NAMES = {"cifar10": "CIFAR-10", "sop": "SOP", "svhn": "SVHN"}
RELATIONS = {"better": "better than", "no_worse": "no worse than", "similar": "as well as"}
STRONGER = {"tau": "larger τ", "lam": "smaller λ"}


def number(value: float | None, form: str = ".2f") -> str:
    return MISSING if value is None or value != value else format(value, form)


def mean_std(score: Mapping[Any, Any], digits: int = 2) -> str:
    """ "85.77 ± 0.12", or the mean alone where there is one seed."""
    std = score.get("std")
    return f"{score['mean']:.{digits}f}" + ("" if std is None or std != std else f" ± {std:.{digits}f}")


def signed(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    """ "+0.85 [+0.50, +1.20]", a difference with its interval where there is one."""
    if mean is None:
        return MISSING
    return f"{mean:+.2f}" + ("" if low is None or low != low else f" [{low:+.2f}, {high:+.2f}]")


def interval(score: dict) -> str:
    """The paired difference to the baseline."""
    return signed(**score["difference"]) if "difference" in score else MISSING


def difference(row: dict) -> str:
    """Of a row of claims.json, of one of its pairs, or of what stands beside it."""
    return signed(row["difference"], *(row["ci95"] or ()))


def compared(results: Results, row: dict) -> str:
    """ "EL (τ=0.1) − ERM", or the doses of a trend."""
    if row["relation"] == "trend":
        return f"{STRONGER[row['trend']]}: " + (" < ".join(row["doses"]) or "no runs")
    return f"{results.labels[row['better']]} − {results.labels[row['compared']]}"


def against(row: dict) -> str:
    """What a difference is judged against."""
    sign, margin = ENDPOINTS[row["endpoint"]].sign, row["margin"] or 0
    bounds = {"better": "0", "trend": "chance", "no_worse": f"{-sign * margin:+.2f}", "similar": f"±{margin:.2f}"}
    return bounds[row["relation"]]


def paper(results: Results, target: str | None, variant: str) -> str:
    """The paper's mean and deviation; nothing where it has none."""
    numbers = results.paper(target, variant)
    return f"{numbers[0]:.2f} ± {numbers[1]:.2f}" if numbers else ""


def paper_difference(results: Results, row: dict) -> str:
    """ "+0.85 (CIFAR-10)" """
    printed = of_paper(results, row)
    return f"{printed[1]:+.2f} ({PAPERS_NAMES[printed[0]]})" if printed else MISSING


def clearly(column: Column, score: dict) -> str:
    """Whether a variant is "better" or "worse" than the baseline, where the interval of the difference leaves out 0."""
    change = score.get("difference", {})
    if change.get("low", 0) * change.get("high", 0) <= 0:
        return ""
    return "better" if column.sign * change["mean"] > 0 else "worse"


def statement(results: Results, row: dict) -> str:
    """The claim in a sentence."""
    endpoint = ENDPOINTS[row["endpoint"]]
    if row["relation"] == "trend":
        return f"{endpoint.title} rises with a {STRONGER[row['trend']]} in the search."
    names = [results.labels[name] for name in others(row["than"])]
    return endpoint.sentence.format(
        better=results.labels[row["better"]],
        than=" and ".join(names),
        how=RELATIONS[row["relation"]],
        within=f", within {row['margin']:g} points" if row["margin"] else "",
        target=row["target"],
        shift=SHIFTS.get(results.shifts.get(row["target"] or "", ""), ""),
    )


def of_paper(results: Results, row: dict) -> tuple[str, float, tuple[float, float]] | None:
    """The paper's target with the same shift, its difference of a claim about SVMs, and the two means of that.

    None where it prints none.
    """
    target = PAPERS_TARGETS.get(results.shifts.get(row["target"] or "", ""), "")
    numbers = PAPER.get(target, {})
    if row["endpoint"] != "svm" or not {row["better"], row["compared"]} <= set(numbers):
        return None
    means = numbers[row["better"]][0], numbers[row["compared"]][0]
    return target, means[0] - means[1], means
