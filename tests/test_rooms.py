"""The rooms of hrrl/: a room imports those below it alone, and none knows of stages, scripts or DVC."""

import ast

from conftest import ROOT

# from the ground up; above them stand the public names: hrrl.objective, hrrl.params, hrrl.simplex, hrrl.theory
ROOMS = ["common", "fast", "methods", "concepts", "data", "train", "transfer", "settings", "gallery", "report"]
GROUND = {"errors", "arithmetic"}  # modules that every room may use


def imported(file) -> set[str]:
    """The modules that a file imports, at whatever depth."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_a_room_imports_those_below_it_alone():
    wrong = []
    for height, room in enumerate(ROOMS):
        allowed = GROUND | set(ROOMS[: height + 1])
        for file in (ROOT / "hrrl" / room).rglob("*.py"):
            used = {name.split(".")[1] for name in imported(file) if name.startswith("hrrl.")}
            wrong += [f"{file.relative_to(ROOT)} imports hrrl.{name}" for name in sorted(used - allowed)]
    assert wrong == []


def test_the_library_knows_nothing_of_the_pipeline():
    assert {file.parent.name for file in (ROOT / "hrrl").glob("*/*.py")} <= {*ROOMS}
    imports = [(file, name.split(".")[0]) for file in (ROOT / "hrrl").rglob("*.py") for name in imported(file)]
    assert [one for one in imports if one[1] in ("stages", "scripts", "dvc")] == []
