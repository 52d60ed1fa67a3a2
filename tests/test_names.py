"""Names that others chose, of classes, concepts and files: no shell, path or page takes them for more than names."""

import csv
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from hrrl import concepts
from hrrl.data.loading import open_split
from hrrl.data.locate import Definition
from hrrl.data.manifest import prepare, read_manifest, relisted
from hrrl.errors import UserError
from hrrl.report import write
from tests.test_reporting import VARIANTS, made

CLASSES = [
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "<script>alert(1)</script>".replace("/", "∕"),
    "x..",
    "-rf",
    "'",
    'a"b,c',
    "ä b",
]


def folders(root, names) -> None:
    for i, name in enumerate(unicodedata.normalize("NFD", name) for name in names):  # as macOS writes accents
        for split in ("train", "val"):
            (root / split / name).mkdir(parents=True)
            Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(root / split / name / "$(touch pwned).png")


def dataset(root, **changes):
    return Definition(kind="imagefolder", root=str(root), **changes)


def test_class_folders_may_have_any_printable_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders(tmp_path / "images", CLASSES)
    found = prepare(dataset(tmp_path / "images"), "mine")
    found.write("manifest")
    again = read_manifest("manifest")
    assert again.classes == found.classes
    assert sorted(again.classes) == sorted(CLASSES)
    assert list(again.paths("train")) == list(found.paths("train"))
    assert relisted(dataset(tmp_path / "images"), "mine", "manifest") is None
    source = open_split("manifest", str(tmp_path / "images"), "train", 8)
    assert len(next(source.eval_batches(100))[0]) == len(CLASSES)
    with open("mine.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("class", "concept"), *((name, "thing") for name in CLASSES)])
    found = concepts.group_classes(source.classes, None, {}, {"csv": "mine.csv"})
    assert set(found.values()) == {"thing"}
    assert sorted(os.listdir()) == ["data", "images", "manifest", "mine.csv"]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", os.fsdecode(b"caf\xe9")])
def test_a_class_folder_that_no_line_can_show_is_named(tmp_path, name):
    folders(tmp_path, ["a", name])
    with pytest.raises(UserError, match="holds a character that no line can show; rename its folder") as error:
        prepare(dataset(tmp_path), "mine")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["<script>", "$x$", "a|b", "`id`", "{{ x }}", "x" * 65, "entropy", "NaN", "a\\b"])
def test_a_concept_of_a_csv_has_a_name(tmp_path, name):
    path = tmp_path / "mine.csv"
    path.write_text(f'class,concept\nBag,"{name}"\n')
    with pytest.raises(UserError, match=r"line 2: .* (is no name of a concept|stands for something else)"):
        concepts.csv_file.sha256({"csv": str(path)})


def test_the_page_shows_names_as_text(tmp_path):
    """Whatever the schema lets through, or a later one would."""
    odd = ["<script>alert(1)</script>", "$(touch pwned)$", 'a"b&c']
    results = made(VARIANTS, concepts=odd, targets=("<b>x", "$y"))
    write(results, tmp_path, "name: <script>alert(2)</script>")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "<b>x" not in html
