"""What code decides a result: a module's own file and those of the project that it imports, by their hashes.

A file's hash is that of its syntax tree without comments, docstrings and positions: wording and layout do not count.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = ("hrrl.", "stages.")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# How a stage starts, checks, finds, writes, fails, resumes and reports its progress: they change no result.
NO_RESULT = {
    "hrrl/arithmetic.py",  # what it sets is recorded beside the code
    *("hrrl/__init__.py", "hrrl/errors.py", "hrrl/common/files.py", "hrrl/common/registry.py"),
    *("hrrl/data/isolated.py", "hrrl/data/readers/__init__.py"),
    *("hrrl/settings/gpus.py", "hrrl/settings/machine.py", "hrrl/settings/params_file.py", "hrrl/settings/schema.py"),
    *("hrrl/train/checkpoint.py", "hrrl/train/launch.py", "hrrl/train/progress.py"),
    *("stages/__init__.py", "stages/checkpoints.py", "stages/code_hash.py", "stages/common.py"),
    *("stages/paths.py", "stages/place.py", "stages/slurm.py"),
}


def code(*modules: str) -> dict[str, str]:
    """{file: SHA-256} of modules of the project and of all that they import from it, however deep, but NO_RESULT.

    Read from the source: nothing is imported. Modules that a registry finds by file name do not count as imports.
    """
    hashes, todo = {}, [name for module in modules for name in _with_parents(module)]
    while todo:
        path = _file(todo.pop())
        name = str(path.relative_to(ROOT))
        if name not in hashes and name not in NO_RESULT:
            hashes[name], imported = _read(path)
            todo += imported
    return dict(sorted(hashes.items()))


def edited(code: dict[str, str], since: float) -> list[str]:
    """The files that were written after a time and have another hash now."""
    recent = (name for name in code if (ROOT / name).stat().st_mtime > since)
    return [name for name in recent if _read(ROOT / name)[0] != code[name]]


@cache
def _read(path: Path) -> tuple[str, list[str]]:
    """The hash of a file, and the modules of the project that it imports."""
    tree = ast.parse(path.read_bytes())
    return hashlib.sha256(json.dumps(_plain(tree)).encode()).hexdigest(), _imported(tree)


def _plain(node: Any) -> Any:
    """A syntax tree as lists and texts, without positions, docstrings and empty fields.

    ``ast.dump`` differs between versions of Python: empty fields come and go.
    """
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            fields["body"] = node.body[1:]
        return [type(node).__name__, {name: _plain(value) for name, value in sorted(fields.items())}]
    if isinstance(node, list):
        return [_plain(part) for part in node]
    return f"{type(node).__name__} {node!r}"


def _imported(tree: ast.AST) -> list[str]:
    """The modules of the project that a source imports."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            members = (f"{node.module}.{alias.name}" for alias in node.names)
            names += [node.module, *(name for name in members if _file(name).is_file())]
    return [parent for name in names if name.startswith(OURS) for parent in _with_parents(name)]


def _with_parents(name: str) -> list[str]:
    """The packages that Python imports with a module, and the module."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _file(name: str) -> Path:
    base = ROOT.joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
