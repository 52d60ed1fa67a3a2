"""The points of both axes, found by their files: hrrl/methods/<axis>/<name>.py holds one class.

The class is a Perturbation (axis ``example``) or a GroupWeighting (axis ``concept``) of hrrl.methods.interfaces.
The annotated arguments of its constructor are its settings, with their defaults; its docstring names its source.
docs/add-a-method.md shows how to add one.
"""

import inspect
from typing import Any

from hrrl.common import registry
from hrrl.methods.interfaces import Counts, GroupWeighting, Perturbation

AXES = ("example", "concept")


def names(axis: str) -> list[str]:
    """The points of an axis, in alphabetical order. Imports none of them."""
    return registry.names(f"{__name__}.{axis}")


def find(axis: str, name: str) -> type[Any]:
    """The class of a point; imports its file and no other's."""
    return registry.find(f"{__name__}.{axis}", name)


def arguments(axis: str, name: str) -> list[inspect.Parameter]:
    """The settings of a point, as its constructor takes them; ``counts`` is no setting."""
    parameters = inspect.signature(find(axis, name)).parameters.values()
    return [argument for argument in parameters if argument.name != "counts"]


def example_axis(point: dict[str, Any] | None) -> Perturbation:
    """The point of the example axis that params name, e.g. ``{"gradient": {"tau": 0.5}}``; None: no perturbation."""
    if point is None:
        return Perturbation()
    [(name, settings)] = point.items()
    return find("example", name)(**settings)


def concept_axis(point: dict[str, Any] | None, counts: Counts) -> GroupWeighting:
    """The point of the concept axis that params name, e.g. ``{"hrrl": {"lam": 1.0}}``; None: no weighting."""
    if point is None:
        return GroupWeighting(counts)
    [(name, settings)] = point.items()
    return find("concept", name)(counts, **settings)
