"""Few curves, each told apart from the others: what revisions of the project are compared by, in plots made for that.

A frame is a plot of its own, a line one of at most eight in it.
"""

from typing import Any

import pandas as pd

from hrrl.report.results import Results
from hrrl.report.summary import plot_data, q_rows

MOST = 8  # lines in a frame: more hues than that cannot be told apart


def curves(results: Results) -> dict[str, pd.DataFrame]:
    """Name -> means over seeds, one row per point; columns ``frame`` and ``line`` where there are several.

    Those whose names begin with "headline" are of that variant alone, without its name: two revisions with different
    headlines are two variants. The others have a frame or a line for each variant.
    """
    training = _mean(results.history, ["variant", "epoch"], "val_accuracy")
    q = _mean(_all_q(results), ["variant", "concept", "epoch"], "q")
    concepts = _mean(results.concept_accuracy, ["variant", "concept"], "accuracy")
    augmented = _mean(results.robustness, ["variant", "step_size"], "accuracy")
    tuning = _mean(results.finetune, ["variant", "target", "step"], "test_error")
    names = results.labels

    def own(frame: pd.DataFrame, frames: Any) -> pd.DataFrame:
        """The headline's rows, in frames by a column or all in one of that title."""
        rows = frame[frame.variant == results.headline]
        return rows.assign(frame=rows.get(frames, frames)).drop(columns=["variant"])

    def each(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(frame=frame.variant.map(names)).drop(columns=["variant"])

    return {
        "headline_training": _training(results),
        "headline_q": own(q, "concept"),
        "headline_concepts": own(concepts, "accuracy (%)"),
        "headline_augmented": own(augmented, "accuracy (%)"),
        "headline_fine_tuning": own(tuning, "target"),
        "variants_training": each(training),
        "variants_q": _moved(results, q),
        "variants_concepts": each(concepts),
        "variants_augmented": each(augmented),
        "variants_fine_tuning": _first(tuning.assign(frame=tuning.target, line=tuning.variant.map(names))),
        "regret": _regret(results),
        "h": _h(results),
    }


def _mean(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    return frame.groupby(by, sort=False)[value].mean().reset_index()


def _training(results: Results) -> pd.DataFrame:
    """The headline's accuracy on the benchmark, its worst concept's and its training loss, by epoch."""
    rows = results.history[results.history.variant == results.headline]
    columns = [column for name in results.concept_names if (column := f"accuracy_{name}") in rows]
    shown = {"accuracy (%)": rows.val_accuracy, "training loss": rows.train_loss}
    if columns:
        shown["worst concept's accuracy (%)"] = rows[columns].min(axis=1)
    long = [rows[["epoch"]].assign(frame=frame, value=values) for frame, values in shown.items()]
    return _mean(pd.concat(long), ["frame", "epoch"], "value")


def _all_q(results: Results) -> pd.DataFrame:
    """q by epoch; of variants whose q does not move, what it stays at: the concepts' shares of the images."""
    moving = q_rows(results, results.history)
    fixed = results.history[~results.history.variant.isin(moving.variant)][["variant", "seed", "epoch"]]
    shares = [fixed.assign(concept=row.concept, q=row.q0) for row in results.concepts.itertuples()]
    return pd.concat([frame for frame in (moving, *shares) if len(frame)] or [moving])


def _moved(results: Results, q: pd.DataFrame) -> pd.DataFrame:
    """q of the variants that move it, for the concepts that they move furthest from their shares."""
    rows = q[q.variant.isin(results.adaptive())]
    distance = (rows.q - rows.concept.map(results.concepts.set_index("concept").q0)).abs().astype(float)
    furthest = distance.groupby(rows.concept).max().nlargest(MOST).index
    rows = rows[rows.concept.isin(furthest)]
    return rows.assign(frame=rows.variant.map(results.labels), line=rows.concept)


def _regret(results: Results) -> pd.DataFrame:
    """q's mean regret where it is positive, for c in use and for c = 1."""
    rows = _mean(results.regret, ["variant", "c", "steps"], "regret")
    rows = rows[rows.regret > 0]
    return rows.assign(frame=rows.variant.map(results.labels), line=rows.c.map("c = {:g}".format))


def _h(results: Results) -> pd.DataFrame:
    """h(s) where it is positive."""
    empty = pd.DataFrame(columns=["series", "s", "h"])
    rows = plot_data(results).get("h_curves", empty)
    return _first(rows[rows.h > 0].assign(line=lambda frame: frame.series))[["line", "s", "h"]]


def _first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame.line.isin(frame.line.unique()[:MOST])]
