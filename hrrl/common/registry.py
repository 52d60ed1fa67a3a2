"""Classes found by their files: a package with one file for each name, and one public class in each file."""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def names(package: str) -> list[str]:
    """The files of a package, in alphabetical order. Imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules([str(ROOT.joinpath(*package.split(".")))]))


def find(package: str, name: str) -> type:
    """The class of a file; imports that file and no other of its package."""
    module = import_module(f"{package}.{name}")
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    public = [c for c in classes if c.__module__ == module.__name__ and not c.__name__.startswith("_")]
    if len(public) != 1:
        raise TypeError(f"{module.__file__}: holds {len(public)} public classes, expected one")
    return public[0]
