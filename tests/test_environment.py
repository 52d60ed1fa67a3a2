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


# Of schedulers and of a torchrun around everything; where they count, nobody answers there.
RANKS = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
RANKS |= {"MASTER_PORT": "29513", "PET_NNODES": "2", "PET_NODE_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}
PLACE = """
from conftest import COMPUTE
from hrrl import launch, runtime
from hrrl.distributed import all_reduce
import torch

with runtime.start(COMPUTE) as here:
    sum_ = all_reduce(torch.ones(1)).item()
    print(f"<{here.rank} of {here.world_size}, writes {here.writes}, sum {sum_:g}>", flush=True)
    if here.rank == here.world_size - 1:
        launch.fail("the reason")
"""


@pytest.mark.parametrize("name", ["", "node17.cluster.invalid"])
@pytest.mark.parametrize("processes", [1, 2])
def test_ranks_count_only_where_our_launcher_set_them(processes, name, tmp_path):
    (tmp_path / "place.py").write_text(PLACE, "utf-8")
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", tmp_path)))
    started = ["hrrl.launch", "--standalone", "--nproc-per-node=2", "--module"] if processes == 2 else []
    command = [sys.executable, "-m", *started, "place"]
    if name:  # a host name that nothing resolves
        command = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name, *command]
        if subprocess.run([*command[:5], "true", "true"], capture_output=True).returncode:
            pytest.skip("only root may have a host name of its own")
    given = os.environ | RANKS | {"PYTHONPATH": paths, "TORCHELASTIC_ERROR_FILE": str(tmp_path / "not-ours")}
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, encoding="utf-8", timeout=120)
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("<"))
    assert lines == [f"<{i} of {processes}, writes {i == 0}, sum {processes}>" for i in range(processes)]
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, "the reason")
    assert not (tmp_path / "not-ours").exists()
