"""The README shows what a run produced, and every file that it links to exists."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from readme import filled  # noqa: E402

TEXT = (ROOT / "README.md").read_text()


def test_included_results_are_those_of_the_committed_report():
    assert filled(TEXT) == TEXT


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
