"""The examples of docs/ as they stand: each file of theirs, in a copy of the package; and every command of every page.

A page's commands are run by whichever test asks for them (tests/pages.py), or are marked in the page as too long.
"""

import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import PAGES, blocks

ROOT = Path(__file__).parent.parent
PROGRAM = {
    "add-a-method.md": """
from hrrl.settings.schema import Variant
from hrrl.report import label
spec = Variant.model_validate({"example": {"brightness": {}}, "concept": {"hrrl": {"lam": 1.0}}}).spec()
assert spec["example"] == {"brightness": {"shift": 0.1}}
assert label(spec) == "Brightness (b=0.1) + CL (λ=1)", label(spec)
""",
    "add-a-dataset.md": """
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare
from hrrl.settings.schema import Dataset
prepare(Dataset(kind="npz", root="images"), "mine").write("manifest")
assert len(open_split("manifest", "images", "train", 8)) == 20
""",
}


@pytest.mark.parametrize("page", PROGRAM)
def test_an_example_works_as_it_stands(tmp_path, page):
    for folder in ("hrrl", "scripts", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    text = (ROOT / "docs" / page).read_text()
    files = re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL)
    for name, content in files:
        (tmp_path / name).write_text(content)
    (tmp_path / "images").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"images/{split}.npz", images=images, labels=np.arange(20) % 10)
    tests = [name for name, _ in files if name.startswith("tests/")]
    tests += ["tests/test_contract.py::test_a_perturbation_leaves_the_model_as_it_was[brightness]"] if tests else []
    run = f"import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *{tests}]))" if tests else ""
    subprocess.run([sys.executable, "-c", PROGRAM[page] + run], cwd=tmp_path, check=True)


def test_every_block_of_commands_is_run_by_a_test_or_marked():
    tests = "".join(file.read_text() for file in (ROOT / "tests").glob("test_*.py"))
    asked = re.findall(r'commands\("([^"]+)", "([^"]+)"\)', tests)
    left = [(page, block.lines[0]) for page in PAGES for block in blocks(page) if not block.exempt]
    assert left
    assert [one for one in left if not any(one[0] == page and one[1].startswith(start) for page, start in asked)] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_targets_and_modules_that_exist(page):
    text = (ROOT / page).read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE) if name not in targets] == []
    modules = re.findall(r"python -m ((?:hrrl|scripts|stages|benchmarks)[.\w]*)", text)
    places = [ROOT / name.replace(".", "/") for name in modules]
    assert [p for p in places if not (p.with_suffix(".py").is_file() or (p / "__main__.py").is_file())] == []


@pytest.mark.parametrize("page", PAGES)
def test_code_that_a_page_names_exists(page):
    text = (ROOT / page).read_text()
    own = re.findall(r"^# (\S+\.py)$", text, re.MULTILINE)  # what the page itself shows how to write
    named = re.findall(r"\b(?:hrrl|stages|scripts|tests|benchmarks|examples|presets)/(?:[\w.-]+/)*[\w.-]+\.\w+", text)
    assert [name for name in named if name not in own and not (ROOT / name).is_file()] == []
    names = set(re.findall(r"(?<![/\w.-])hrrl(?:\.[A-Za-z_]\w*)+", text))
    names -= {name.removesuffix(".py").replace("/", ".") for name in own}
    for name in names:
        pkgutil.resolve_name(name)  # raises where there is none
