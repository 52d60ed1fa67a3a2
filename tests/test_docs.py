"""The examples of docs/ as they stand: each file of theirs, in a copy of the package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = {
    "add-a-method.md": """
from hrrl.params import Variant
from hrrl.reporting import label
spec = Variant.model_validate({"example": {"brightness": {}}, "concept": {"hrrl": {"lam": 1.0}}}).spec()
assert spec["example"] == {"brightness": {"shift": 0.1}}
assert label(spec) == "Brightness (b=0.1) + CL (λ=1)", label(spec)
""",
    "add-a-dataset.md": """
from hrrl.data import open_split
from hrrl.datasets.manifest import prepare
from hrrl.params import Dataset
prepare(Dataset(kind="npz", root="images"), "mine").write("manifest")
assert len(open_split("manifest", "images", "train", 8)) == 20
""",
}


@pytest.mark.parametrize("page", PROGRAM)
def test_an_example_works_as_it_stands(tmp_path, page):
    for folder in ("hrrl", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "docs" / page).read_text()
    files = re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL)
    for name, content in files:
        (tmp_path / name).write_text(content)
    (tmp_path / "images").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"images/{split}.npz", images=images, labels=np.arange(20) % 10)
    subprocess.run([sys.executable, "-c", PROGRAM[page]], cwd=tmp_path, check=True)
    tests = [name for name, _ in files if name.startswith("tests/")]
    tests += ["tests/test_contract.py::test_a_perturbation_leaves_the_model_as_it_was[brightness]"] if tests else []
    if tests:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=tmp_path, check=True
        )
