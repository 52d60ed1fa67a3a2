"""Puts files into the documents: what stands between `<!-- include FILE -->` and `<!-- end -->` becomes FILE's text."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("README.md", "benchmarks/README.md", "docs/evidence.md", "docs/tutorial.md", "docs/usage.md")
READMES = [ROOT / name for name in NAMES]
BLOCK = re.compile(r"(<!-- include (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The README's text with every included file as it is now."""
    return BLOCK.sub(
        lambda match: match[1] + (ROOT / match[2]).read_text(encoding="utf-8").strip() + "\n" + match[3], text
    )


if __name__ == "__main__":
    for readme in READMES:
        readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
