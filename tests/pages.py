"""The commands that the documents show, for the tests that run them."""

import re
from typing import NamedTuple

from conftest import ROOT

PAGES = sorted({"README.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("*/*.md"))})
BLOCK = re.compile(r"(<!-- not run by a test: [^>]+ -->\n)?```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """A block of shell commands; ``exempt`` says why no test runs it."""

    exempt: str
    lines: list[str]


def blocks(page: str) -> list[Block]:
    """The blocks of shell commands of a page, without comments."""
    found = BLOCK.findall((ROOT / page).read_text())
    return [Block(exempt, [re.sub(r"\s+#.*", "", line) for line in text.splitlines()]) for exempt, text in found]


def commands(page: str, start: str) -> list[str]:
    """The lines of the block of a page that begins so."""
    [found] = [block.lines for block in blocks(page) if block.lines[0].startswith(start)]
    return found
