"""What code a module is: its own file and those of the project that it imports, by their hashes."""

import ast
import hashlib
import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def code(module: str) -> dict[str, str]:
    """{file: SHA-256} of a module of this package and of all that it imports from the package, however deep.

    Read from the source, so that nothing is imported. A parent package counts where its ``__init__`` is imported by
    name; the registries, which find files by themselves, are no part of what they find.
    """
    found, todo = {}, [module]
    while todo:
        path = _file(todo.pop())
        name = str(path.relative_to(ROOT.parent))
        if name not in found:
            content = path.read_bytes()
            found[name] = hashlib.sha256(content).hexdigest()
            todo += _imported(ast.parse(content))
    return dict(sorted(found.items()))


def _imported(tree: ast.AST) -> list[str]:
    """The modules of this package that a source imports."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in members if name.startswith(f"{ROOT.name}.") and _exists(name)]
            names += submodules if len(submodules) == len(members) else [node.module, *submodules]
    return [name for name in names if name.startswith(f"{ROOT.name}.")]


def _exists(name: str) -> bool:
    base = ROOT.parent.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _file(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no module {name}", name=name)
    return Path(found.origin)
