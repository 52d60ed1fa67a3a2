"""The READMEs show what a run produced, and every file that they link to exists."""

import re

import pytest

from scripts.readme import READMES, filled


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_included_results_are_those_of_the_committed_report(readme):
    assert filled(readme.read_text()) == readme.read_text()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_links_lead_somewhere(readme):
    links = re.findall(r"\]\(([^)#]+)\)", readme.read_text())
    assert links
    assert [link for link in links if not link.startswith("http") and not (readme.parent / link).exists()] == []
