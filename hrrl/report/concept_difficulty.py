"""The paper's premise about concepts: the targets with other concepts need those that the benchmark serves badly."""

import pandas as pd

from hrrl import concepts
from hrrl.report import statistics
from hrrl.report.results import Results

HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"
ALIKE = 0.01  # distance below which a target's concepts are the benchmark's


def concept_losses(results: Results) -> pd.DataFrame:
    """[concept, q0, loss, badly]: the baseline's own validation loss, mean over seeds.

    ``badly``: whether it is above the benchmark's loss, that is the mean of the concepts' losses weighted by q0.
    """
    values = results.values
    losses = values[values.variant == results.baseline].groupby("measure").value.mean()
    table = results.concepts[["concept", "q0"]].assign(
        loss=[losses.get(f"loss_{concept}", float("nan")) for concept in results.concepts.concept]
    )
    by_name = table.set_index("concept")
    return table.assign(badly=table.loss > _mean(by_name.q0, by_name.loss))


def target_premise(results: Results) -> pd.DataFrame:
    """[target, shift, distance, known, loss, benchmark_loss, premise], one row per target.

    distance: of the target's distribution over concepts to q0, in total variation: the share of images that would have
    to change their concept. known: the share of images with a concept that has a loss. loss: the mean of the concepts'
    losses weighted by the target's shares of those; benchmark_loss: by q0. premise, of a target with other concepts:
    whether its loss is above the benchmark's; "unknown" where less than half of its images are of known concepts. Where
    the concept of any image is unknown, there is neither distance nor loss.
    """
    losses = concept_losses(results)
    q0 = losses.set_index("concept").q0
    benchmark = _mean(q0, losses.set_index("concept").loss)
    rows = []
    for target, shares in _shares(results).items():
        known = shares[shares.index.isin(losses.concept[losses.loss.notna()])]
        row = {"target": target, "shift": results.shifts.get(target, ""), "known": float(known.sum())}
        whole = concepts.UNKNOWN not in shares
        row["distance"] = _distance(shares, q0) if whole else float("nan")
        row["loss"] = _mean(known, losses.set_index("concept").loss) if whole else float("nan")
        row["benchmark_loss"] = benchmark
        rows.append(row | {"premise": _premise(row)})
    columns = ["target", "shift", "distance", "known", "loss", "benchmark_loss", "premise"]
    return pd.DataFrame(rows, columns=columns)


def target_weights(results: Results) -> pd.DataFrame:
    """[target, variant, weight, difference, low, high]: how far a method served the concepts of a target's images.

    Of the targets whose images' concepts are all known, and other than the benchmark's; of the variants with a q that
    moves. weight: of an image of the target's mix of concepts in the loss after the last epoch, sum_k p_k q_k / q0_k,
    mean over seeds; 1 without the method. difference: of the accuracy on that mix, sum_k p_k a_k with a_k the accuracy
    on the benchmark's validation images of the concept, to the baseline's, in points; low and high bound its 95%
    interval over seeds, where there are several.
    """
    values, rows = results.values, []
    moving = results.in_order(values.variant[values.measure.str.startswith("q_")])
    q0 = results.concepts.set_index("concept").q0
    for target, shares in _shares(results).items():
        if concepts.UNKNOWN in shares or _distance(shares, q0) < ALIKE:
            continue
        base = _on_mix(values, results.baseline, "accuracy_", shares)
        for variant in moving:
            weight = _on_mix(values, variant, "q_", shares, 1 / q0)
            difference = _on_mix(values, variant, "accuracy_", shares) - base
            if len(weight) and len(difference.dropna()):
                found = {"low": float("nan"), "high": float("nan")} | statistics.paired(difference, 0 * difference)
                row = {"target": target, "variant": variant, "weight": weight.mean(), "difference": found.pop("mean")}
                rows.append(row | found)
    return pd.DataFrame(rows, columns=["target", "variant", "weight", "difference", "low", "high"])


def _shares(results: Results) -> dict[str, pd.Series]:
    """target -> share of its training images by concept."""
    there = {target: rows.set_index("concept").share for target, rows in results.target_concepts.groupby("target")}
    return {target: there[target] for target in results.targets if target in there}


def _on_mix(
    values: pd.DataFrame, variant: str, measure: str, shares: pd.Series, factors: pd.Series | float = 1.0
) -> pd.Series:
    """Per seed a variant's measure of each concept of the benchmark, in the mean by a target's shares of them."""
    named = values[(values.variant == variant) & values.measure.isin([measure + name for name in shares.index])]
    table = named.pivot(index="seed", columns="measure", values="value")
    table.columns = [name.removeprefix(measure) for name in table.columns]
    weights = shares.reindex(table.columns)
    return (table * factors).reindex(columns=table.columns).mul(weights / weights.sum()).sum(axis=1)


def _mean(shares: pd.Series, values: pd.Series) -> float:
    """Weighted by shares, over the concepts that have a value; NaN where there is none."""
    values = values.dropna()
    weights = shares.reindex(values.index).fillna(0)
    return float((weights * values).sum() / weights.sum()) if weights.sum() > 0 else float("nan")


def _distance(shares: pd.Series, q0: pd.Series) -> float:
    return float(shares.sub(q0, fill_value=0).abs().sum() / 2)


def _premise(row: dict) -> str:
    if row["shift"] not in ("concepts", "both"):
        return ""
    if row["known"] < 0.5 or row["loss"] != row["loss"]:
        return UNKNOWN
    return HOLDS if row["loss"] > row["benchmark_loss"] else FAILS
