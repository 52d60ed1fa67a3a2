"""The documents show what a run produced, and every file and section that they link to exists."""

import re
import textwrap

import pytest
from pages import PAGES

from scripts.readme import READMES, ROOT, filled


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
