"""The kinds of datasets: a file for each, named as ``kind`` in params.yaml, with one class that finds and lists it.

``torchvision/<Name>`` is any of torchvision's classification datasets (:mod:`hrrl.data.torchvision`).
docs/add-a-dataset.md shows how to add a kind.
"""

import re
from importlib import import_module
from typing import TYPE_CHECKING, cast

from hrrl.common import registry
from hrrl.errors import UserError

if TYPE_CHECKING:
    from hrrl.data.image_folder import DatasetReader

LIBRARY = "torchvision/"


def names() -> list[str]:
    """The kinds that have a file here. Imports none of them."""
    return registry.names(__name__)


def known(kind: str) -> str:
    """The kind itself.

    Raises:
        UserError: there is no such kind.
    """
    if kind not in names() and not re.fullmatch(rf"{LIBRARY}[A-Za-z]\w*(/\w+)?", kind):
        raise UserError(f"{kind!r} is no kind of dataset; known: {', '.join(names())}, {LIBRARY}<Name>")
    return kind


def load(kind: str) -> "type[DatasetReader]":
    """The class of a kind, called with (root, train); imports no other kind's file.

    Raises:
        UserError: there is no such kind.
    """
    if known(kind).startswith(LIBRARY):
        return cast("type[DatasetReader]", import_module("hrrl.data.torchvision").of(kind.removeprefix(LIBRARY)))
    return cast("type[DatasetReader]", registry.find(__name__, kind))


def module(kind: str) -> str:
    """The name of the module that holds a kind."""
    return "hrrl.data.torchvision" if kind.startswith(LIBRARY) else f"{__name__}.{kind}"
