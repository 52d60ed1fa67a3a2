"""What code decides a result: a module's own file and those of the project that it imports, by their hashes."""

import ast
import hashlib
import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hrrl", "stages")

# How a stage starts, checks, finds, writes, fails, goes on and says where it is: they change no result.
NO_RESULT = {
    *("hrrl/__init__.py", "stages/__init__.py"),
    *("hrrl/apart.py", "hrrl/checkpoint.py", "hrrl/errors.py", "hrrl/files.py", "hrrl/launch.py", "hrrl/progress.py"),
    *("hrrl/params.py", "hrrl/params_file.py", "hrrl/registry.py", "hrrl/datasets/kinds/__init__.py"),
    *("stages/checkpoints.py", "stages/common.py", "stages/paths.py"),
}


def code(*modules: str) -> dict[str, str]:
    """{file: SHA-256} of modules of the project and of all that they import from it, however deep, but NO_RESULT.

    Read from the source, so that nothing is imported. What a registry finds by its file is no import.
    """
    found, todo = {}, [name for module in modules for name in _with_parents(module)]
    while todo:
        path = _file(todo.pop())
        name = str(path.relative_to(ROOT))
        if name not in found and name not in NO_RESULT:
            content = path.read_bytes()
            found[name] = hashlib.sha256(content).hexdigest()
            todo += _imported(ast.parse(content))
    return dict(sorted(found.items()))


def _imported(tree: ast.AST) -> list[str]:
    """The modules of the project that a source imports."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in members if _is_ours(name) and _exists(name)]
            names += submodules if len(submodules) == len(members) else [node.module, *submodules]
    return [parent for name in names if _is_ours(name) for parent in _with_parents(name)]


def _with_parents(name: str) -> list[str]:
    """The packages that Python imports with a module, and the module."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _is_ours(name: str) -> bool:
    return name.startswith(tuple(f"{package}." for package in PACKAGES))


def _exists(name: str) -> bool:
    base = ROOT.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _file(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no module {name}", name=name)
    return Path(found.origin)
