"""The search over tau and lam: what each point of the grid scored on the targets' training parts, and which is best."""

import pandas as pd

from hrrl.reporting.results import Results, label

POINT = ["tau", "lam"]
FAMILIES = {(False, False): "erm", (True, False): "el", (False, True): "cl", (True, True): "hrrl"}


def points(results: Results) -> pd.DataFrame:
    """One row per point, in ascending order of family, tau and lam; NaN where it lacks the axis.

    Columns tau, lam, family (erm, el, cl, hrrl), label, seeds, mean and std (of the cross-validated accuracy over the
    targets, over tuning seeds), benchmark, ``accuracy_<target>`` (means over seeds), chosen: the best of its family.
    """
    runs, columns = results.search, [f"accuracy_{target}" for target in results.targets]
    if not len(runs):
        return pd.DataFrame(
            columns=[*POINT, "family", "label", "seeds", "mean", "std", "benchmark", *columns, "chosen"]
        )
    groups = runs.assign(mean=runs[columns].mean(axis=1)).groupby(POINT, dropna=False)
    table = groups[["mean", "benchmark", *columns]].mean()
    table = table.assign(std=groups["mean"].std(), seeds=groups.size()).reset_index()
    table["family"] = [FAMILIES[bool(p.tau == p.tau), bool(p.lam == p.lam)] for p in table.itertuples()]
    table["label"] = [label(spec(p.tau, p.lam)) for p in table.itertuples()]
    table["chosen"] = table.index.isin(table.groupby("family")["mean"].idxmax())
    position = {family: i for i, family in enumerate(FAMILIES.values())}
    return table.sort_values(["family", *POINT], key=lambda c: c.map(position) if c.name == "family" else c)


def spec(tau: float, lam: float) -> dict:
    """The variant at a point of the grid; NaN: without that axis."""
    return {
        "example": {"gradient": {"tau": tau}} if tau == tau else None,
        "concept": {"hrrl": {"lam": lam}} if lam == lam else None,
    }


def sweep(frame: pd.DataFrame, over: str, by: str) -> pd.DataFrame:
    """[<over>, series, <by>, accuracy, std]: means over seeds of the points without the other axis, ``over`` ascending.

    ``frame``: ``search_steps`` or ``search_concepts``. ERM, which has neither axis, comes first.
    """
    other = next(axis for axis in POINT if axis != over)
    groups = frame[frame[other].isna()].groupby([over, by], dropna=False, sort=False).accuracy
    table = groups.agg(accuracy="mean", std="std").reset_index()
    missing = float("nan")
    series = [label(spec(*((value, missing) if over == "tau" else (missing, value)))) for value in table[over]]
    table.insert(1, "series", series)
    return table.sort_values(over, kind="stable", na_position="first", ignore_index=True)
