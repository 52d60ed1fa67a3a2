"""The search for tau and lam ("searched in {10^i}", section 4): its points, and the choice among them.

A point says which axes are on, and how strongly: "erm", "tau0.1" (EL), "lam1" (CL), "tau0.1_lam1" (HRRL). Points are
ranked by accuracy that is cross-validated on the training parts of the targets; test parts and the seeds of the results
play no part.
"""

import re
from collections import defaultdict
from statistics import fmean

from hrrl.errors import UserError

SEARCHED = "searched"  # in params.yaml, what stands for a number
SETTINGS = {"example": ("gradient", "tau"), "concept": ("hrrl", "lam")}  # what is searched on each axis
NUMBER = r"([0-9]{1,20}(?:\.[0-9]{1,20})?)"
PER_LAM = re.compile(rf"{NUMBER}/lam")  # in the place of the slow start's c
POINT = re.compile(rf"erm|tau{NUMBER}|lam{NUMBER}|tau{NUMBER}_lam{NUMBER}")

Point = tuple[float | None, float | None]  # tau, lam; None where the axis is off


def parse(name: str) -> Point:
    """The point that a name of ``search.points`` stands for.

    Raises:
        ValueError: it stands for none.
    """
    match = POINT.fullmatch(name)
    tau, lam = (match[1] or match[3], match[2] or match[4]) if match else (None, None)
    point = float(tau) if tau else None, float(lam) if lam else None
    if match is None or 0 in point:
        raise ValueError(f"takes erm, tau0.1, lam1, tau0.1_lam1 and the like, with numbers above 0, got {name!r}")
    return point


def spec(point: Point, c: float | str, s: int) -> dict:
    """The axes of a point as a variant's, with the slow start ``c``, ``s`` of Algorithm 1; q0 is empirical."""
    tau, lam = point
    return {
        "example": None if tau is None else {"gradient": {"tau": tau}},
        "concept": None if lam is None else {"hrrl": {"lam": lam, "c": slow_start(c, lam), "s": s}},
    }


def slow_start(c: float | str, lam: float) -> float:
    """The c of Algorithm 1 at ``lam``: a number, or "10/lam", as it goes with lam in Theorem 3."""
    match = PER_LAM.fullmatch(str(c))
    return float(match[1]) / lam if match else float(c)


def wanted(spec: dict) -> tuple | None:
    """What a variant leaves to the search: a number, None (off) or "searched" for tau and lam. None: nothing.

    Raises:
        UserError: another method stands on the other axis, with which nothing was searched.
    """
    values = []
    for axis, (method, setting) in SETTINGS.items():
        methods = spec[axis] or {}
        values.append(methods[method][setting] if method in methods else "other" if methods else None)
    if SEARCHED not in values:
        return None
    if "other" in values:
        raise UserError(f"{SEARCHED}: takes a variant with no other methods than gradient and hrrl; give a number")
    return tuple(values)


def fits(asked: tuple, point: Point) -> bool:
    """Whether a point has the numbers that a variant gives, and is on where it leaves one to the search."""
    return all(p is not None if a == SEARCHED else p == a for a, p in zip(asked, point, strict=True))


def candidates(asked: tuple, points: list[Point]) -> list[list[Point]]:
    """The points to choose from: those that fit, or else, where none has both axes, those of each axis alone.

    Raises:
        UserError: there are none.
    """
    each_axis = [tuple(a if i == j else None for j, a in enumerate(asked)) for i in range(2) if asked[i] == SEARCHED]
    for requests in ([asked], each_axis):
        matching = [[point for point in points if fits(request, point)] for request in requests]
        if all(matching):
            return matching
    raise UserError(f"{SEARCHED}: search.points has none with tau = {asked[0]} and lam = {asked[1]}")


def ranking(cells: list[dict]) -> dict[Point, float]:
    """Point -> mean of its cross-validated accuracy (%) over targets and seeds, the best first.

    Of equally good ones, the nearest to ERM: the smallest tau, then the largest lam.

    Args:
        cells: dictionaries with tau, lam, seed and targets (accuracy by target).
    """
    scores = defaultdict(list)
    for cell in cells:
        scores[cell["tau"], cell["lam"]].append(fmean(cell["targets"].values()))
    means = {point: fmean(accuracies) for point, accuracies in scores.items()}

    def order(point: Point) -> tuple[float, float, float]:
        tau, lam = point
        return -means[point], tau or 0, -(lam or float("inf"))

    return {point: means[point] for point in sorted(means, key=order)}


def filled(spec: dict, cells: list[dict]) -> dict:
    """A variant's axes, with the best of what was searched in the place of "searched"."""
    asked = wanted(spec)
    if asked is None:
        return spec
    ranked = list(ranking(cells))
    chosen: dict[str, float] = {}
    for points in candidates(asked, ranked):
        best = next(point for point in ranked if point in points)
        chosen |= {axis: value for axis, value in zip(SETTINGS, best, strict=True) if value is not None}
    out = dict(spec)
    for axis, (method, setting) in SETTINGS.items():
        if axis in chosen:
            settings = spec[axis][method] | {setting: chosen[axis]}
            out[axis] = {method: settings | ({"c": slow_start(settings["c"], chosen[axis])} if "c" in settings else {})}
    return out
