"""dvc.yaml against what stages import and read of params in a run; words and layout of code rerun nothing."""

import ast
import json
import shutil
from pathlib import Path

from stages import code_hash

import pytest
from conftest import ROOT, call
from ruamel.yaml import YAML

# What a stage's code has that a run of the smoke preset does not need: it decides bytes elsewhere.
ELSEWHERE = {
    "hrrl/data/decode.py": ("manifest", "concepts", "preflight"),  # of datasets whose images are files
    **{f"hrrl/data/{name}.py": ("preflight",) for name in ("manifest", "sources", "image_folder", "unpack")},
    # of points with a tau, which the smoke preset's search has none of
    **{f"hrrl/methods/{name}.py": ("search_model",) for name in ("input_gradient", "example/__init__")},
    "hrrl/methods/example/gradient.py": ("search_model",),
    "hrrl/fast/folding.py": ("search_model",),
}
AT_THE_START = {"hrrl/common/names.py"}  # how params.yaml is read: what it says stands in the stage's settings
NO_RESULT_PARAMS = ("name",)  # of checkpoints, speeds and logs
WITH_CODE = ("compute.arithmetic",)  # resolve writes it beside the hashes of each stage's code
NO_RESULT_OF_SVM = ("compute.threads",)  # its sums are in blocks of their own (hrrl/fast/newton.py)

TRACED = """
import json, sys
from pathlib import Path
sys.path.append("tests")
from forked import run
root, folder = str(Path.cwd()) + "/", Path(sys.argv[1])
for cell, module in json.loads(sys.argv[2]).items():
    def note():
        files = {getattr(m, "__file__", None) or "" for m in list(sys.modules.values())}
        files = sorted(f.removeprefix(root) for f in files if f.startswith((root + "hrrl", root + "stages")))
        files.append(module.replace(".", "/") + ".py")
        read = sorted(sys.modules["stages.common"].READ)
        (folder / f"{cell}.json").write_text(json.dumps([files, read]))
    if run(cell, module, note):
        sys.exit(f"{cell} failed")
"""
CELLS = ["resolve", "preflight", "manifest-benchmark", "manifest-target@digits", "concepts", "search-model@lam1-100"]
CELLS += ["search@lam1-100", "select@cl", "given@hrrl", "pretrain@hrrl-0", "card", "features@erm-0", "svm@erm-0"]
CELLS += ["finetune@erm-0", "robustness@erm-0", "theory", "gallery", "report"]


def reached(key: str, keys) -> bool:
    return any(key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in keys)


@pytest.fixture(scope="module")
def stages(clone) -> dict:
    """Cell -> its stage as DVC wrote it to dvc.lock."""
    found = YAML(typ="safe").load(clone / "dvc.lock")["stages"]
    return {cell: found[cell] for cell in CELLS}


@pytest.fixture(scope="module")
def traces(clone, stages, tmp_path_factory):
    """Cell -> the modules of the project that it imports, and the keys of params.yaml that it reads."""
    folder = tmp_path_factory.mktemp("traces")
    modules = {cell: stage["cmd"].removeprefix("exec python -m ") for cell, stage in stages.items()}
    call(clone, "python", "-c", TRACED, str(folder), json.dumps(modules))
    return {cell: json.loads((folder / f"{cell}.json").read_text()) for cell in CELLS}


@pytest.mark.parametrize("cell", CELLS)
def test_a_stage_lists_what_it_imports_and_reads_and_no_more(clone, stages, traces, cell):
    files, read = traces[cell]
    deps = [dep["path"] for dep in stages[cell]["deps"]]
    if cell == "resolve":  # it reads all of params.yaml, and the hash of all code
        assert {"hrrl", "stages"} <= set(deps)
        return
    assert [dep for dep in deps if dep.endswith(".py")] == []  # but by the hash of what it does
    resolved = [dep for dep in deps if dep.startswith("data/resolved")]
    left_out = code_hash.NO_RESULT | AT_THE_START
    needed = {file for file in files if file not in left_out and not through_manifest(file, deps)}
    needed = {file for file in needed if not holds_words_alone(clone / file)}
    assert needed - {file for dep in resolved for file in code_in(clone / dep)} == set()
    stage = stages[cell]["cmd"].rpartition(".")[2]
    [own] = [dep for dep in resolved if dep.startswith("data/resolved/stages")]
    assert own == f"data/resolved/stages/{stage}.json"
    params = {
        *stages[cell].get("params", {}).get("params.yaml", {}),
        *json.loads((clone / own).read_text())["settings"],
    }
    more = {file for file in code_in(clone / own) - set(files) if stage not in ELSEWHERE.get(file, ())}
    assert more == set()
    exempt = NO_RESULT_PARAMS + WITH_CODE + (NO_RESULT_OF_SVM if cell.startswith("svm") else ())
    asked = [key for key in read if not key.startswith(exempt) and not key.startswith("datasets")]
    assert [key for key in asked if not reached(key, params)] == []
    assert [key for key in sorted(params) if not reached(key, read)] == []


def holds_words_alone(file: Path) -> bool:
    """Whether a file is a docstring and nothing else, as a room's __init__.py."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return len(body) == 1 and isinstance(body[0], ast.Expr)


def code_in(path: Path) -> set[str]:
    files = path.rglob("*.json") if path.is_dir() else [path]
    return {name for file in files for name in json.loads(file.read_text()).get("code", {})}


def through_manifest(file: str, deps: list[str]) -> bool:
    """A kind's reader decides pixels through the manifest, which has the hash of what it reads."""
    places = ("readers/", "torchvision.py", "array_dataset.py", "indexed_dataset.py")
    kind = file.startswith(tuple(f"hrrl/data/{place}" for place in places))
    return kind and any(dep.startswith(("data/benchmark", "data/targets")) for dep in deps)


CODE = """
import json
from pathlib import Path
from stages import code_hash
print(json.dumps(code_hash.code(*(f"stages.{file.stem}" for file in Path("stages").glob("*.py")))))
"""


OTHERWISE = [  # what does something else, however little is written otherwise
    *(("x = 0", "x = False"), ("x = 0", "x = ''"), ("x = 'a'", "x = 'A'"), ("x = y + 1", "x = y - 1")),
    *(("def f(a=1): ...", "def f(a=2): ..."), ("def f(*, a=1): ...", "def f(*, a=2): ...")),
    *(("@staticmethod\ndef f(): ...", "def f(): ..."), ("def f():\n    g()\n    h()", "def f():\n    i()\n    h()")),
]
NO_BYTE = {"data/isolated", "train/checkpoint", "train/launch", "train/progress"}  # of the rooms that compute


def test_comments_docstrings_and_layout_are_no_other_code_and_a_number_is(tmp_path):
    for room in ("hrrl", "stages"):
        shutil.copytree(ROOT / room, tmp_path / room)

    def code() -> dict:
        return json.loads(call(tmp_path, "python", "-c", CODE))

    before = code()
    for file in tmp_path.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        text = text.replace('"""', '"""Reworded. ', 1).replace("\n\n\n", "\n\n\n\n# why\n\n")
        file.write_text(text, encoding="utf-8")
    assert code() == before
    for name in before:
        file = tmp_path / name
        file.write_text(file.read_text(encoding="utf-8") + "\nNEW = 1\n", encoding="utf-8")
    after = code()
    assert before.keys() == after.keys()
    two, more = [], dict(zip(before, OTHERWISE, strict=False))
    for i in range(2):
        for name, lines in more.items():
            text = (ROOT / name).read_text(encoding="utf-8")
            (tmp_path / name).write_text(f"{text}\n{lines[i]}\n", encoding="utf-8")
        two.append(code())
    assert [lines for name, lines in more.items() if two[0][name] == two[1][name]] == []
    rooms = "concepts", "data", "fast", "gallery", "methods", "report", "train", "transfer"
    assert {f"hrrl/{name}.py" for name in NO_BYTE} == {
        name for name in code_hash.NO_RESULT if name.split("/")[1] in rooms and "readers" not in name
    }
    assert [name for name in before if before[name] == after[name]] == []
