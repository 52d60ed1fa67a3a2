"""What surrounds the project stays outside: locales, settings of matplotlib, variables of others' launchers."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hrrl.concepts import ilsvrc12_wnids

ROOT = Path(__file__).parent.parent
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
OURS = ("hrrl", "stages", "scripts", "benchmarks")
DRAW = "import sys; from tests.test_reporting import figures, made; figures(made(), sys.argv[1])"


def python(*arguments, folder=ROOT, ok=True, **environment) -> str:
    """What python prints, run in a folder with more variables in its environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, timeout=600)
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert (done.returncode == 0) == ok, output[-3000:]
    return output


def hashes(folder) -> dict[str, str]:
    return {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in Path(folder).iterdir()}


def test_figures_are_those_of_no_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.dpi: 30\naxes.facecolor: red\n", "utf-8")
    python("-c", DRAW, tmp_path / "plain", MPLBACKEND="", MATPLOTLIBRC="")
    given = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    python("-c", DRAW, tmp_path / "set", **given)
    assert hashes(tmp_path / "set") == hashes(tmp_path / "plain")
    assert len(hashes(tmp_path / "set")) > 10


@pytest.mark.parametrize("environment", [ASCII, {"PYTHONIOENCODING": "latin-1"}], ids=["ascii", "latin-1"])
def test_names_that_the_locale_lacks_are_printed_as_escapes(environment, tmp_path):
    lines = "".join(f"{wnid},τ-things\n" for wnid in ilsvrc12_wnids())
    (tmp_path / "mine.csv").write_text("class,concept\n" + lines, "utf-8")
    printed = python("-m", "hrrl.concepts", "--concepts", "mine.csv", folder=tmp_path, **environment)
    assert "\\u03c4-things" in printed


def test_text_names_its_encoding():
    """Also where ruff's rule cannot tell that an object is a path."""
    silent = []
    for file in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
            given = {keyword.arg for keyword in call.keywords}
            if name in ("read_text", "write_text", "run", "Popen") and ("text" in given or name.endswith("_text")):
                silent += [] if "encoding" in given else [f"{file.relative_to(ROOT)}:{call.lineno}"]
    assert silent == []
