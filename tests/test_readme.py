"""The READMEs show what a run produced, and every file that they link to exists."""

import re
import textwrap

import pytest

from scripts.readme import READMES, ROOT, filled


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_included_results_are_those_of_the_committed_report(readme):
    assert filled(readme.read_text()) == readme.read_text()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_links_lead_somewhere(readme):
    links = re.findall(r"\]\(([^)#]+)\)", readme.read_text())
    assert links
    assert [link for link in links if not link.startswith("http") and not (readme.parent / link).exists()] == []


def test_the_loop_is_the_examples():
    section = (ROOT / "README.md").read_text().partition("## In your own training loop")[2]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert textwrap.indent(snippet, " " * 12) in (ROOT / "examples/plain_pytorch.py").read_text()
