"""The search over tau and lam: what each point of the grid scored on the targets' training parts, and which is best."""

import pandas as pd

from hrrl.report.results import Results, label
from hrrl.transfer import search

POINT = ["tau", "lam"]
FAMILIES = {(False, False): "erm", (True, False): "el", (False, True): "cl", (True, True): "hrrl"}


def points(results: Results) -> pd.DataFrame:
    """One row per point, in ascending order of family, tau and lam; NaN where it lacks the axis.

    Columns tau, lam, family (erm, el, cl, hrrl), label, seeds, mean and std (of the cross-validated accuracy over the
    targets, over tuning seeds), benchmark, ``accuracy_<target>`` (means over seeds), place in the ranking, chosen: the
    best of its family.
    """
    columns = [f"accuracy_{target}" for target in results.targets]
    if not len(results.search):
        header = [*POINT, "family", "label", "seeds", "mean", "std", "benchmark", *columns, "chosen"]
        return pd.DataFrame(columns=header)
    groups = results.search.assign(mean=results.search[columns].mean(axis=1)).groupby(POINT, dropna=False)
    table = groups[["mean", "benchmark", *columns]].mean()
    table = table.assign(std=groups["mean"].std(), seeds=groups.size()).reset_index()
    grid = [_point(row.tau, row.lam) for row in table.itertuples()]
    table["family"] = [FAMILIES[tau is not None, lam is not None] for tau, lam in grid]
    table["label"] = [_label(point) for point in grid]
    ranking = list(search.ranking(_cells(results)))
    table["place"] = [ranking.index(point) for point in grid]
    table["chosen"] = table.place == table.groupby("family").place.transform("min")
    return table.sort_values("family", key=lambda family: family.map([*FAMILIES.values()].index), kind="stable")


def _cells(results: Results) -> list[dict]:
    """As :func:`hrrl.transfer.search.ranking` takes them."""
    return [
        dict(zip(POINT, _point(row["tau"], row["lam"]), strict=True))
        | {"targets": {target: row[f"accuracy_{target}"] for target in results.targets}}
        for row in results.search.to_dict("records")
    ]


def _label(point: search.Point) -> str:
    return label(search.spec(point, c=1.0, s=0))  # labels leave the slow start out


def _point(tau: float, lam: float) -> search.Point:
    return None if tau != tau else tau, None if lam != lam else lam


def sweep(frame: pd.DataFrame, over: str, by: str) -> pd.DataFrame:
    """[<over>, series, <by>, accuracy, std]: means over seeds of the points without the other axis, ``over`` ascending.

    ``frame``: ``search_steps`` or ``search_concepts``. ERM, which has neither axis, comes first; where there is nothing
    else, the sweep is empty.
    """
    other_axis = next(axis for axis in POINT if axis != over)
    without_other = frame[frame[other_axis].isna()]
    rows = without_other if without_other[over].notna().any() else without_other[:0]
    groups = rows.groupby([over, by], dropna=False, sort=False).accuracy
    table = groups.agg(accuracy="mean", std="std").reset_index()
    values = table.reindex(columns=POINT)  # NaN on the other axis
    table.insert(1, "series", [_label(_point(*value)) for value in values.itertuples(index=False)])
    return table.sort_values(over, kind="stable", na_position="first", ignore_index=True)
