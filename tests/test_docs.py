"""The examples of docs/ as they stand, in a copy of the package; every command, link, result and version of every page.

A page's commands are run by whichever test asks for them (tests/pages.py), or are marked in the page as too long.
"""

import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import ROOT
from pages import PAGES, blocks
from ruamel.yaml import YAML

import hrrl
from scripts.readme import READMES, filled

EXAMPLES = ("add-a-method.md", "add-a-dataset.md")
PROGRAM = """
import sys, pytest
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare
from hrrl.report import label
from hrrl.settings.schema import Dataset, Variant
spec = Variant.model_validate({"example": {"brightness": {}}, "concept": {"hrrl": {"lam": 1.0}}}).spec()
assert spec["example"] == {"brightness": {"shift": 0.1}}
assert label(spec) == "Brightness (b=0.1) + CL (λ=1)", label(spec)
prepare(Dataset(kind="npz", root="images"), "mine").write("manifest")
assert len(open_split("manifest", "images", "train", 8)) == 20
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_the_examples_work_as_they_stand(tmp_path):
    for folder in ("hrrl", "scripts", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    text = "".join((ROOT / "docs" / page).read_text() for page in EXAMPLES)
    files = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "images").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"images/{split}.npz", images=images, labels=np.arange(20) % 10)
    tests = [name for name in files if name.startswith("tests/")]
    tests.append("tests/test_contract.py::test_a_perturbation_leaves_the_model_as_it_was[brightness]")
    subprocess.run([sys.executable, "-c", PROGRAM, *tests], cwd=tmp_path, check=True)


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


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_included_results_are_those_of_the_committed_report(readme):
    assert filled(readme.read_text()) == readme.read_text()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text, folder = (ROOT / page).read_text(), (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    places = [(link, *link.partition("#")[::2]) for link in links]
    assert [link for link, file, _ in places if not (folder / file).exists()] == []
    files = [(link, folder / file if file else ROOT / page, section) for link, file, section in places if section]
    assert [link for link, file, section in files if section not in sections(file.read_text())] == []


def sections(text: str) -> list[str]:
    """The names by which links reach a page's sections, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_loop_is_the_examples():
    section = (ROOT / "docs/library.md").read_text().partition("## In your own training loop")[2]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert textwrap.indent(snippet, " " * 12) in (ROOT / "examples/plain_pytorch.py").read_text()


def test_the_citation_and_the_changelog_know_the_version():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    version, date = re.search(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).groups()
    assert (citation["version"], str(citation["date-released"])) == (version, date)
    assert version == hrrl.__version__
    assert citation["license"] == (ROOT / "LICENSE").read_text().split()[0]


def test_the_hosted_workflow_calls_what_the_local_one_calls():
    local = re.findall(r"^make \S+$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    workflow = YAML(typ="safe").load((ROOT / ".github/workflows/ci.yaml").read_text())
    hosted = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    assert hosted[: len(local)] == local
    assert local
