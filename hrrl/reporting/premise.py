"""The paper's premise about concepts: the targets with other concepts need those that the benchmark serves badly."""

import pandas as pd

from hrrl.reporting.results import Results
from hrrl.reporting.runs import runs

HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"


def concept_losses(results: Results) -> pd.DataFrame:
    """[concept, q0, loss, badly]: the baseline's own validation loss, mean over seeds.

    ``badly``: whether it is above the benchmark's loss, that is the mean of the concepts' losses weighted by q0.
    """
    values = runs(results)
    losses = values[values.variant == results.baseline].groupby("measure").value.mean()
    table = results.concepts[["concept", "q0"]].assign(
        loss=[losses.get(f"loss_{concept}", float("nan")) for concept in results.concepts.concept]
    )
    return table.assign(badly=table.loss > _mean_loss(table.set_index("concept").q0, table))


def target_premise(results: Results) -> pd.DataFrame:
    """[target, shift, distance, known, loss, benchmark_loss, premise], one row per target.

    distance: of the target's distribution over concepts to q0, in total variation: the share of images that would have
    to change their concept. known: the share of images with a concept that has a loss. loss: the mean of the concepts'
    losses weighted by the target's shares of those; benchmark_loss: by q0. premise, of a target with other concepts:
    whether its loss is above the benchmark's; "unknown" where less than half of its images are of known concepts.
    """
    losses = concept_losses(results)
    q0 = losses.set_index("concept").q0
    shares = {target: rows.set_index("concept").share for target, rows in results.target_concepts.groupby("target")}
    benchmark = _mean_loss(q0, losses)
    rows = []
    for target in (target for target in results.targets if target in shares):
        known = shares[target][shares[target].index.isin(losses.concept[losses.loss.notna()])]
        loss = _mean_loss(known, losses)
        row = {"target": target, "shift": results.shifts.get(target, ""), "distance": _distance(shares[target], q0)}
        row |= {"known": float(known.sum()), "loss": loss, "benchmark_loss": benchmark}
        rows.append(row | {"premise": _premise(row)})
    columns = ["target", "shift", "distance", "known", "loss", "benchmark_loss", "premise"]
    return pd.DataFrame(rows, columns=columns)


def _mean_loss(shares: pd.Series, losses: pd.DataFrame) -> float:
    """Weighted by shares, over the concepts that have a loss; NaN where there is none."""
    table = losses.dropna(subset=["loss"]).set_index("concept").loss
    weights = shares.reindex(table.index).fillna(0)
    return float((weights * table).sum() / weights.sum()) if weights.sum() > 0 else float("nan")


def _distance(shares: pd.Series, q0: pd.Series) -> float:
    return float(shares.sub(q0, fill_value=0).abs().sum() / 2)


def _premise(row: dict) -> str:
    if row["shift"] not in ("concepts", "both"):
        return ""
    if row["known"] < 0.5 or row["benchmark_loss"] != row["benchmark_loss"]:
        return UNKNOWN
    return HOLDS if row["loss"] > row["benchmark_loss"] else FAILS
