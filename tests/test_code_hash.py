"""Code counts by what it does: words and layout make nothing outdated, a changed number does."""

import json

from conftest import call, outdated

CODE = """
import json
from stages import code_hash
print(json.dumps(code_hash.code("stages.pretrain", "stages.report")))
"""


def modules(folder):
    return [file for room in ("hrrl", "stages") for file in (folder / room).rglob("*.py")]


def test_comments_docstrings_and_layout_rerun_nothing(restored):
    for file in modules(restored):
        text = (
            file.read_text(encoding="utf-8").replace('"""', '"""Reworded. ', 1).replace("\n\n\n", "\n\n\n\n# why\n\n")
        )
        file.write_text(text, encoding="utf-8")
    call(restored, "dvc", "repro", "-q", "resolve")
    assert outdated(restored) == {}


def test_a_changed_number_is_other_code(restored):
    before = json.loads(call(restored, "python", "-c", CODE))
    for name in before:
        file = restored / name
        file.write_text(file.read_text(encoding="utf-8") + "\nNEW = 1\n", encoding="utf-8")
    after = json.loads(call(restored, "python", "-c", CODE))
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] == after[name]] == []
