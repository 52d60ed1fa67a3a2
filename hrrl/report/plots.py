"""The data of all plots, one row per point: of the figures, and of `dvc plots`, which compares revisions by them.

DVC draws the column ``frame`` as plots of their own and ``line`` as lines in them (.dvc/plots).
"""

import pandas as pd

from hrrl.report import search
from hrrl.report.results import Results

MOST = 8  # lines in a frame of DVC's: more hues than that cannot be told apart


def plots(results: Results) -> dict[str, pd.DataFrame]:
    """Name -> means over seeds, and of a single value its deviation, ``std``.

    Those whose names begin with "headline" are of that variant alone, without its name: two revisions with different
    headlines are two variants. The others have a frame or a line for each variant.
    """
    data = {
        "svm": _means(results, results.scores, ["target", "variant"], "accuracy"),
        "training": _means(results, results.history, ["variant", "epoch"], "train_loss", "val_accuracy"),
        "q": _means(results, _q(results), ["variant", "concept", "epoch"], "q"),
        "concepts": _ranked(_means(results, results.concept_accuracy, ["variant", "concept"], "accuracy"), "variant"),
        "concepts_search": _ranked(search.sweep(results.search_concepts, "lam", "concept"), "series"),
        "augmented": _means(results, results.robustness, ["variant", "step_size"], "accuracy"),
        "augmented_search": search.sweep(results.search_steps, "tau", "step_size"),
        "fine_tuning": _means(results, results.finetune, ["variant", "target", "step"], "test_error"),
        "search": search.points(results),
        "regret": _regret(results),
        "h": _h(results),
    }
    return data | _headlines(results, data) | _fewer(results, data)


def _headlines(results: Results, data: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The headline's rows, in a frame for each value of a column, or all in one frame of that title."""
    frame_by = {"q": "concept", "concepts": "accuracy (%)", "augmented": "accuracy (%)", "fine_tuning": "target"}
    headlines = {"headline_training": _training(results)}
    for name, by in frame_by.items():
        rows = data[name][data[name].variant == results.headline]
        headlines[f"headline_{name}"] = rows.assign(frame=rows.get(by, by)).drop(columns="variant")
    return headlines


def _training(results: Results) -> pd.DataFrame:
    """The headline's accuracy on the benchmark, its worst concept's and its training loss, by epoch."""
    rows = results.history[results.history.variant == results.headline]
    columns = [column for name in results.concept_names if (column := f"accuracy_{name}") in rows]
    series = {"accuracy (%)": rows.val_accuracy, "training loss": rows.train_loss}
    if columns:
        series["worst concept's accuracy (%)"] = rows[columns].min(axis=1)
    long = [rows[["epoch"]].assign(frame=frame, value=values) for frame, values in series.items()]
    return pd.concat(long).groupby(["frame", "epoch"], sort=False).value.mean().reset_index()


def _fewer(results: Results, data: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The plots with more lines than can be told apart, cut to MOST; of q those that move furthest from q0."""
    rows = data["q"][data["q"].variant.isin(results.adaptive())]
    q0 = rows.concept.map(results.concepts.set_index("concept").q0).astype(float)  # else text, where there are no rows
    distance = (rows.q - q0).abs().astype(float)
    furthest = distance.groupby(rows.concept).max().nlargest(MOST).index
    positive, fine_tuning = data["h"][data["h"].h > 0], data["fine_tuning"]
    return {
        "variants_q": rows[rows.concept.isin(furthest)].assign(line=rows.concept),
        "variants_fine_tuning": _first_lines(fine_tuning.assign(line=fine_tuning.frame, frame=fine_tuning.target)),
        "h_positive": _first_lines(positive.assign(line=positive.series)),  # what a logarithmic axis can show
    }


def _first_lines(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame.line.isin(frame.line.unique()[:MOST])]


def _means(results: Results, frame: pd.DataFrame, by: list[str], *values: str) -> pd.DataFrame:
    """Means of ``values`` over seeds, and of a single one its deviation; a frame per variant, in params' order."""
    groups = frame.groupby(by, sort=False)
    table = groups[list(values)].mean()
    if len(values) == 1:
        table["std"] = groups[values[0]].std()
    table = table.reset_index()
    table.insert(len(by), "frame", table.variant.map(results.labels))
    order = {"target": results.targets, "variant": [*results.variants]}
    keys = [key for key in order if key in by]
    return table.sort_values(
        keys, key=lambda names: names.map(order[names.name].index), kind="stable", ignore_index=True
    )


def _q(results: Results) -> pd.DataFrame:
    """q by epoch; of variants whose q does not move, what it stays at: the concepts' shares of the images."""
    run, q0 = ["variant", "seed", "epoch"], results.concepts.set_index("concept").q0
    wide = results.history.reindex(columns=[*run, *(f"q_{name}" for name in q0.index)])
    long = wide.melt(run, var_name="concept", value_name="q")
    long["concept"] = long.concept.astype(str).str.removeprefix("q_")
    moves = long.variant.isin(results.adaptive())
    return long.assign(q=long.q.where(moves, long.concept.map(q0)).astype(float)).dropna(subset=["q"])


def _regret(results: Results) -> pd.DataFrame:
    """q's mean regret and its bound; c = 1 has no slow start."""
    table = _means(results, results.regret, ["variant", "c", "s", "steps"], "regret", "bound")
    return table.assign(line=table.c.map("c = {:g}".format))


def _h(results: Results) -> pd.DataFrame:
    """h(s) of the given mu, and of those that were measured, which have the name of their variant."""
    frame = results.curves
    names = frame.variant.map(results.labels).add(": ").fillna("")
    return frame.assign(series=names + frame.mu.map("μ = {:.3g}".format))


def _ranked(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of each value of ``by`` in ascending order of their accuracy, which ``rank`` counts."""
    table["rank"] = table.groupby(by, sort=False).accuracy.rank(method="first").astype(int)
    position = {name: i for i, name in enumerate(table[by].unique())}
    return table.sort_values([by, "rank"], key=lambda c: c.map(position) if c.name == by else c)
