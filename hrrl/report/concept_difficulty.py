"""The paper's premise about concepts: the targets with other concepts need those that the benchmark serves badly."""

import pandas as pd

from hrrl import concepts
from hrrl.report import statistics
from hrrl.report.claims import FAILS, HOLDS
from hrrl.report.results import Results

UNKNOWN = "unknown"  # beside what a claim may be
ALIKE = 0.01  # distance below which a target's concepts are the benchmark's


def concept_losses(results: Results) -> pd.DataFrame:
    """[concept, q0, loss, badly]: the baseline's own validation loss, mean over seeds.

    ``badly``: whether it is above the benchmark's loss, that is the mean of the concepts' losses weighted by q0.
    """
    losses = [results.runs(f"loss_{name}").get(results.baseline, pd.Series()).mean() for name in results.concept_names]
    table = results.concepts[["concept", "q0"]].assign(loss=losses)
    return table.assign(badly=table.loss > _mean(table.q0, table.loss))


def target_premise(results: Results) -> pd.DataFrame:
    """[target, shift, distance, known, loss, benchmark_loss, premise], one row per target.

    distance: of the target's distribution over concepts to q0, in total variation: the share of images that would have
    to change their concept. known: the share of images with a concept that has a loss. loss: the mean of the concepts'
    losses weighted by the target's shares of those; benchmark_loss: by q0. premise, of a target with other concepts:
    whether its loss is above the benchmark's; "unknown" where less than half of its images are of known concepts; None
    of others. Where the concept of any image is unknown, there is neither distance nor loss.
    """
    losses, rows = concept_losses(results).set_index("concept"), []
    benchmark = _mean(losses.q0, losses.loss)
    for target, shares in _shares(results).items():
        shift, known = results.shifts.get(target, ""), shares[shares.index.isin(losses.index[losses.loss.notna()])]
        distance, loss, premise = float("nan"), float("nan"), None
        if concepts.UNKNOWN not in shares:
            distance, loss = _distance(shares, losses.q0), _mean(known, losses.loss)
        if shift in ("concepts", "both"):
            premise = HOLDS if loss > benchmark else FAILS
            premise = premise if known.sum() >= 0.5 and loss == loss else UNKNOWN
        rows.append((target, shift, distance, float(known.sum()), loss, benchmark, premise))
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
    measures, rows = results.values.measure, []
    moving = results.in_order(results.values.variant[measures.str.startswith("q_")])
    q0 = results.concepts.set_index("concept").q0
    for target, shares in _shares(results).items():
        if not moving or concepts.UNKNOWN in shares or _distance(shares, q0) < ALIKE:
            continue
        weights, accuracies = _on_mix(results, "q_", shares, 1 / q0), _on_mix(results, "accuracy_", shares, q0**0)
        for variant in moving:
            differences = (accuracies[variant] - accuracies[results.baseline]).dropna()
            if weights[variant].notna().any() and len(differences):
                low, high = statistics.over_seeds(differences) or (float("nan"), float("nan"))
                rows.append((target, variant, weights[variant].mean(), differences.mean(), low, high))
    return pd.DataFrame(rows, columns=["target", "variant", "weight", "difference", "low", "high"])


def _shares(results: Results) -> dict[str, pd.Series]:
    """target -> share of its training images by concept."""
    shares = {target: rows.set_index("concept").share for target, rows in results.target_concepts.groupby("target")}
    return {target: shares[target] for target in results.targets if target in shares}


def _on_mix(results: Results, prefix: str, shares: pd.Series, factors: pd.Series) -> pd.DataFrame:
    """(seeds, variants): the mean over a target's mix of concepts of each concept's measure times its factor."""
    runs = {name: table for name in shares.index if len(table := results.runs(prefix + name))}
    parts = [shares[name] / shares[[*runs]].sum() * factors[name] * table for name, table in runs.items()]
    mix = pd.concat(parts).groupby(level=0).sum(min_count=1) if parts else pd.DataFrame()
    return mix.reindex(columns=list(results.variants))


def _mean(shares: pd.Series, values: pd.Series) -> float:
    """Weighted by shares, over the concepts that have a value; NaN where there is none."""
    values = values.dropna()
    weights = shares.reindex(values.index).fillna(0)
    return float((weights * values).sum() / weights.sum()) if weights.sum() > 0 else float("nan")


def _distance(shares: pd.Series, q0: pd.Series) -> float:
    return float(shares.sub(q0, fill_value=0).abs().sum() / 2)
