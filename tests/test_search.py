"""The search for tau and lam: its points, and what is chosen among them."""

import pytest

from hrrl.errors import UserError
from hrrl.transfer import search

HRRL = {"example": {"gradient": {"tau": "searched"}}, "concept": {"hrrl": {"lam": "searched", "c": 5.0, "s": 3}}}


def cells(scores: dict[str, list[float]]) -> list[dict]:
    """Results of points, one for each seed, on two targets that are ten points apart."""
    return [
        {"tau": tau, "lam": lam, "seed": seed, "targets": {"a": score - 5, "b": score + 5}}
        for name, several in scores.items()
        for tau, lam in [search.parse(name)]
        for seed, score in enumerate(several)
    ]


def test_names_of_points():
    names = ["erm", "tau0.1", "lam10", "tau0.001_lam2.5"]
    assert [search.parse(name) for name in names] == [(None, None), (0.1, None), (None, 10.0), (0.001, 2.5)]
    for name in ("", "tau", "tau0", "lam-1", "tau1e-3", "tau0.1lam1", "lam1_tau1", "tau0.1;touch x"):
        with pytest.raises(ValueError, match=r"takes erm, tau0\.1"):
            search.parse(name)
    assert search.spec((0.1, None), c=10, s=5) == {"example": {"gradient": {"tau": 0.1}}, "concept": None}
    assert search.spec((None, 2.0), c=10, s=5)["concept"] == {"hrrl": {"lam": 2.0, "c": 10, "s": 5}}
    assert search.spec((None, 2.0), c="10/lam", s=5)["concept"] == {"hrrl": {"lam": 2.0, "c": 5.0, "s": 5}}


def test_the_best_mean_over_targets_and_seeds_is_chosen():
    found = cells({"erm": [90, 90], "tau0.1": [70, 80], "tau1": [76, 76], "lam1": [80, 80], "tau1_lam1": [60, 60]})
    el = {"example": {"gradient": {"tau": "searched"}}, "concept": None}
    assert search.filled(el, found) == {"example": {"gradient": {"tau": 1.0}}, "concept": None}
    assert search.filled(HRRL, found)["concept"] == {"hrrl": {"lam": 1.0, "c": 5.0, "s": 3}}
    per_lam = HRRL | {"concept": {"hrrl": HRRL["concept"]["hrrl"] | {"c": "5/lam"}}}
    assert search.filled(per_lam, cells({"tau1_lam0.1": [1]}))["concept"]["hrrl"] == {"lam": 0.1, "c": 50.0, "s": 3}
    given = {"example": {"gradient": {"tau": 0.5}}, "concept": None}
    assert search.filled(given, found) == given


def test_of_equals_the_nearest_to_erm():
    found = cells({"tau1_lam1": [70], "tau0.1_lam1": [70], "tau0.1_lam10": [70]})
    assert list(search.ranking(found)) == [(0.1, 10.0), (0.1, 1.0), (1.0, 1.0)]
    found = cells({name: [70] for name in ("tau0.1_lam10", "tau0.1", "lam1", "tau1", "lam10", "erm")})
    expected = [(None, None), (None, 10.0), (None, 1.0), (0.1, None), (0.1, 10.0), (1.0, None)]
    assert list(search.ranking(found)) == expected


def test_axes_that_were_searched_alone_are_put_together():
    found = cells({"tau0.1": [70], "tau1": [60], "lam1": [50], "lam10": [55]})
    filled = search.filled(HRRL, found)
    assert (filled["example"]["gradient"]["tau"], filled["concept"]["hrrl"]["lam"]) == (0.1, 10.0)


def test_one_axis_given_and_one_searched():
    half = {"example": {"gradient": {"tau": 0.1}}, "concept": {"hrrl": {"lam": "searched"}}}
    found = cells({"tau0.1_lam1": [50], "tau0.1_lam10": [60], "tau1_lam1": [99]})
    assert search.filled(half, found)["concept"]["hrrl"]["lam"] == 10.0
    with pytest.raises(UserError, match=r"has none with tau = 0\.1"):
        search.filled(half, cells({"tau1_lam1": [99]}))
    with pytest.raises(UserError, match="no other methods"):
        search.filled(half | {"example": {"noise": {"tau": 0.1}}}, found)
