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
    runs, columns = results.search, [f"accuracy_{target}" for target in results.targets]
    if not len(runs):
        return pd.DataFrame(
            columns=[*POINT, "family", "label", "seeds", "mean", "std", "benchmark", *columns, "chosen"]
        )
    groups = runs.assign(mean=runs[columns].mean(axis=1)).groupby(POINT, dropna=False)
    table = groups[["mean", "benchmark", *columns]].mean()
    table = table.assign(std=groups["mean"].std(), seeds=groups.size()).reset_index()
    table["family"] = [FAMILIES[p.tau == p.tau, p.lam == p.lam] for p in table.itertuples()]
    table["label"] = [_label(p.tau, p.lam) for p in table.itertuples()]
    place = {point: i for i, point in enumerate(search.ranking(_cells(results)))}
    table["place"] = [place[_point(p.tau, p.lam)] for p in table.itertuples()]
    table["chosen"] = table.place == table.groupby("family").place.transform("min")
    position = {family: i for i, family in enumerate(FAMILIES.values())}
    return table.sort_values(["family", *POINT], key=lambda c: c.map(position) if c.name == "family" else c)


def _cells(results: Results) -> list[dict]:
    """As :func:`hrrl.transfer.search.ranking` takes them."""
    rows = results.search.to_dict("records")
    points = [dict(zip(POINT, _point(row["tau"], row["lam"]), strict=True)) for row in rows]
    return [
        p | {"targets": {t: row[f"accuracy_{t}"] for t in results.targets}} for p, row in zip(points, rows, strict=True)
    ]


def _label(tau: float, lam: float) -> str:
    return label(search.spec(_point(tau, lam), c=1.0, s=0))  # labels leave the slow start out


def _point(tau: float, lam: float) -> search.Point:
    return None if tau != tau else tau, None if lam != lam else lam


def sweep(frame: pd.DataFrame, over: str, by: str) -> pd.DataFrame:
    """[<over>, series, <by>, accuracy, std]: means over seeds of the points without the other axis, ``over`` ascending.

    ``frame``: ``search_steps`` or ``search_concepts``. ERM, which has neither axis, comes first; where there is nothing
    else, the sweep is empty.
    """
    other = next(axis for axis in POINT if axis != over)
    alone = frame[frame[other].isna()]
    groups = (alone if alone[over].notna().any() else alone[:0]).groupby([over, by], dropna=False, sort=False).accuracy
    table = groups.agg(accuracy="mean", std="std").reset_index()
    values = table.reindex(columns=POINT)  # NaN on the other axis
    table.insert(1, "series", [_label(*value) for value in values.itertuples(index=False)])
    return table.sort_values(over, kind="stable", na_position="first", ignore_index=True)
