"""Concepts by image: the CSV as people write it, and training, measuring and showing by it."""

import json
import shutil
import unicodedata

from stages import report
from stages.common import Settings
from stages.concepts import main

import numpy as np
import pytest
import torch
from conftest import COMPUTE, digits_task, fit, method, refused
from test_gallery import tiles
from test_training import equal

from hrrl import concepts
from hrrl.concepts import csv_file
from hrrl.data.manifest import read_manifest
from hrrl.errors import UserError
from hrrl.gallery import panels
from hrrl.methods.example.gradient import Gradient
from hrrl.train import runtime
from hrrl.train.evaluation import GroupedData, evaluate
from scripts import relist

CAFE = unicodedata.normalize("NFD", "train/café/1.jpg")  # as macOS names a file
IMAGES = {"train": ["train/a/1.jpg", "train/b/2.jpg", CAFE], "test": ["val/a/3.jpg"]}
CONCEPTS = ["land", "water", "land", "water"]
NO_NAMES, TAKEN = (
    ["<script>", "$x$", "a|b", "`id`", "{{ x }}", "x" * 65, "l@nd", "a\\b"],
    ["entropy", "NaN", "step_0.5"],
)
LINES = "train/a/1.jpg,land\ntrain/b/2.jpg,water\ntrain/café/1.jpg,land\nval/a/3.jpg,water\n"


def group(tmp_path, content, **options):
    file = tmp_path / "groups.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    names, found = csv_file.of_images(file, IMAGES, **options)
    assert {*found["train"]} == {*range(len(names))}  # every concept has training images
    return [names[k] for split in IMAGES for k in found[split]]


@pytest.mark.parametrize(
    "content",
    [
        "image,concept\n" + LINES,
        "path,concept\n" + LINES,
        "\ufeffimage,concept\n" + LINES.replace("\n", "\r\n"),
        " Image ;Concept\n" + LINES.replace(",", ";"),
        "image\tconcept\n" + LINES.replace(",", "\t"),
        "image,concept\n\n" + LINES + "\n,\n",
        "image,concept\n" + unicodedata.normalize("NFD", LINES),
        "image,concept\n" + LINES.replace("/", "\\"),
        "image,concept\n" + "".join(f"./{line}\n" for line in LINES.splitlines()),
        "image,concept\n" + "".join(f"/data/birds/{line}\n" for line in LINES.splitlines()),
        "image,concept\n" + "".join(f"C:\\birds\\{line}\n" for line in LINES.replace("/", "\\").splitlines()),
        "img_id,concept,class,path\n" + "".join(f"7,{c},x,{p}\n" for p, c in (s.split(",") for s in LINES.split())),
        'image,concept\n"train/a/1.jpg", "land"\n' + LINES.partition("\n")[2],
    ],
)
def test_the_file_as_people_and_spreadsheets_write_it(tmp_path, content):
    assert group(tmp_path, content) == CONCEPTS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"image,concept\n{LINES}".encode("latin-1"), r"cannot be read \('utf-8'.*save it as CSV in UTF-8"),
        (f"image,concept\n{LINES}\0,\0\n", r"line 6: '.x00' is no name of a concept"),
        ("", "first line is ''; it takes class,concept or image,concept"),
        ("image,group\n" + LINES, "first line is 'image,group'; it takes"),
        ("image,concept,concept\n" + LINES, "first line is 'image,concept,concept'; it takes"),
        ("path,path,concept\n" + LINES, "first line is 'path,path,concept'; it takes"),
        ("image,concept\ntrain/a/1.jpg,\n", "line 2: 'train/a/1.jpg,'; a line takes an image and its concept$"),
        ("image,concept\n,land\n", "line 2: ',land'; a line takes an image"),
        ("image,concept\ntrain/a,b/1.jpg,land\n", "line 2: .* in quotes where it has a comma"),
        *((f"image,concept\ntrain/a/1.jpg,{name}\n", "line 2: .* is no name of a concept") for name in NO_NAMES),
        *((f"image,concept\ntrain/a/1.jpg,{name}\n", "line 2: .* stands for something else") for name in TAKEN),
        ("image,concept\n" + LINES + "train\\a\\1.jpg,land\n", r"line 6: image .* has a line already, 2$"),
        ("image,concept\n" + LINES + "train/a/9.jpg,land\n", "line 6: .* no image 'train/a/9.jpg'; .* 'train/a/1.jpg'"),
        ("image,concept\n1.jpg,land\n", "line 2: .* has no image '1.jpg'; takes paths as its manifest.csv has them"),
        ("image,concept\n", "no concept for image 'train/a/1.jpg', 'train/b/2.jpg' and 2 more"),
        ("image,concept\n" + LINES[:-6] + "air\n", "no training image has the concept 'air'"),
        ("class,concept\na,land\n", "gives the concepts of classes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_the_file(tmp_path, content, message):
    with refused(message) as error:
        group(tmp_path, content)
    assert str(error.value).startswith(str(tmp_path / "groups.csv"))


def test_lines_of_images_that_the_dataset_leaves_out(tmp_path):
    more = "image,concept\ntrain/a/0.jpg,air\n" + LINES
    assert group(tmp_path, more, beside=["train/a/0.jpg"]) == CONCEPTS
    assert group(tmp_path, more, partial=True) == CONCEPTS
    assert group(tmp_path, "image,concept\n" + LINES + "val/a/9.jpg,others\n", partial=True) == CONCEPTS
    with pytest.raises(UserError, match="gives the concepts of images"):
        concepts.group_classes(["a", "b"], concepts={"csv": tmp_path / "groups.csv"})


def strokes(task: GroupedData) -> GroupedData:
    """The digits of a task in four concepts: even or odd, of thin or of thick strokes."""
    found = []
    for source in (task.train, task.test):
        ink = torch.cat([x.float().mean((1, 2, 3)) for x, _ in source.eval_batches(100)])
        found.append(2 * (source.labels % 2) + (ink > 75).long())
    return GroupedData(task.train, task.test, *found, ["even thin", "even thick", "odd thin", "odd thick"])


@pytest.mark.parametrize("concept", [None, {"hrrl": {"lam": 0.5, "s": 2}}])
def test_equal_concepts_by_image_and_by_class_train_the_same_bits(task, tmp_path, concept):
    ids = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    by_image = GroupedData(task.train, task.test, *(ids[s.labels] for s in (task.train, task.test)), task.names)
    one, two = (fit(data, tmp_path / str(i), method(data, None, concept)) for i, data in enumerate((task, by_image)))
    assert one.history == two.history
    assert equal(one.model.state_dict(), two.model.state_dict())
    assert torch.equal(one.axes.concept.q, two.axes.concept.q)


def test_a_class_may_be_in_several_concepts(task, tmp_path):
    """q follows the images' own concepts; accuracy by concept is theirs; the pictures show the classes in each."""
    mine = strokes(task)
    run = fit(mine, tmp_path, method(mine, None, {"hrrl": {"lam": 0.05, "c": 1.0, "s": 0}}))
    assert mine.counts.tolist() == [int((mine.train_concepts == k).sum()) for k in range(4)]
    assert min(mine.counts) > 0
    assert run.axes.concept.t == run.history[-1]["step"]
    moved = torch.tensor([run.history[-1][f"q_{name}"] for name in mine.names], dtype=torch.float64)
    assert not torch.allclose(moved, mine.counts.double() / mine.counts.sum())
    x, y = (torch.cat(part) for part in zip(*mine.test.eval_batches(100), strict=True))
    with runtime.start(COMPUTE) as here, torch.no_grad():
        found = evaluate(run.model, mine, here, 16)
        hits = (run.model(here.images(x)).argmax(1) == y).double()
        for k, name in enumerate(mine.names):
            assert found[f"accuracy_{name}"] == pytest.approx(100 * float(hits[mine.test_concepts == k].mean()))
        shown = panels.concepts(tmp_path, mine, seed=0)
        assert [row["name"] for row in shown] == mine.names
        assert shown[0]["classes"] == ["0", "2", "4", "6", "8"]
        for k, row in enumerate(shown):
            assert {*row["picture"]["alt"].rpartition(": ")[2].split(", ")} <= {*row["classes"]}
            own = {image.numpy().tobytes() for image in x[mine.test_concepts == k].permute(0, 2, 3, 1).contiguous()}
            assert {image.tobytes() for image in tiles(tmp_path / row["picture"]["file"])} <= own
        q = dict(zip(mine.names, moved.tolist(), strict=True))
        found = panels.weights(tmp_path, run.model, mine, here, q, 0)
        weights = {name: q[name] * int(mine.counts.sum()) / int(mine.counts[k]) for k, name in enumerate(mine.names)}
        order = sorted(weights, key=weights.__getitem__, reverse=True)
        assert [(row["name"], row["weight"]) for row in found["concepts"]] == [
            (n, pytest.approx(weights[n])) for n in order
        ]
        losses = torch.nn.functional.cross_entropy(run.model(here.images(x)), y, reduction="none")
        for shown, name in ((found["most"], order[0]), (found["least"], order[-1])):
            of = (mine.test_concepts == mine.names.index(name)).nonzero().flatten()  # fewer than are looked at
            largest = y[of[losses[of].argsort(descending=True)][:8]].tolist()
            assert shown["picture"]["alt"] == f"Images of the concept {name}: {', '.join(map(str, largest))}"
        moves = panels.moves(tmp_path, run.model, mine, here, [({"gradient": {"tau": 0.1}}, Gradient(0.1))], 0)
        assert len(moves) == 4


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A pipeline's data/ with digits as benchmark and target, before the stage ``concepts``."""
    (tmp_path / "data/targets").mkdir(parents=True)
    for folder in ("benchmark", "targets/digits"):
        digits_task(tmp_path / "data" / folder)
    definition = {"kind": "digits", "synsets": {}, "classes": None, "train": "train[:10]", "test": "test[:7]"}
    points = {"cl": {"concept": {"hrrl": {"lam": 1.0, "q0": "empirical"}}}, "erm": {"concept": None}}
    for name, content in [("datasets/digits", definition), *((f"variants/{v}", p) for v, p in points.items())]:
        file = tmp_path / "data/resolved" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    params = {"benchmark": "digits", "targets": ["digits"], "concepts": {"csv": "groups.csv"}}
    runs = {"pretrain": list(points), "svm": list(points)}
    return Settings(params | {"runs": runs, "svm": {"folds": 5, "shots": {}}})


def test_the_stage_writes_what_cells_train_on_and_reports_show(project, tmp_path):
    manifest = read_manifest("data/benchmark")
    lines = [
        (path, f"{'1e' if y % 2 else '0'}{2 if i % 3 else 1}")  # as groups are numbered, and text all the same
        for split in ("test", "train")
        for i, (path, y) in enumerate(zip(manifest.splits[split].paths, manifest.labels(split), strict=True))
    ]
    (tmp_path / "groups.csv").write_text("image,concept\n" + "".join(f"{p},{c}\n" for p, c in lines))
    for svm, message in (
        ({"folds": 11, "shots": {}}, r"targets: digits: svm.folds: 11 folds of 100 training images, 10 of .* \(0\)"),
        ({"folds": 5, "shots": {"digits": 20}}, "digits: svm.shots: 20 images of each class, but class 0 has 10"),
    ):
        with pytest.raises(UserError, match=message):  # before anything is trained
            main(Settings(project | {"svm": svm}))
    main(project)
    written = json.loads((tmp_path / "data/concepts/benchmark.json").read_text())
    expected = dict(lines)
    assert written["names"] == list(dict.fromkeys(expected.values()))
    for split, ids in written["images"].items():
        assert [written["names"][k] for k in ids] == [expected[path] for path in manifest.splits[split].paths]
    table = np.genfromtxt("data/concepts/concepts.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    counts = np.bincount(written["images"]["train"])
    assert table["images"].tolist() == counts.tolist()
    assert (table["classes"].tolist(), set(table["of"].tolist())) == ([5] * 4, {10})
    assert json.loads((tmp_path / "data/concepts/q0/cl.json").read_text()) == pytest.approx(counts / counts.sum())
    assert (tmp_path / "data/concepts/targets.csv").read_text() == "target,concept,share\ndigits,unknown,1.0\n"
    assert report.named("concepts.csv").concept.tolist() == written["names"]
    assert "benchmark,01,0; 2; 4; 6; 8,0,\n" in (tmp_path / "data/concepts/members.csv").read_text()
    assert relist.changed(project, set()) == {}
    with open(tmp_path / "groups.csv", "a", encoding="utf-8") as groups:
        groups.write("\n")
    assert relist.changed(project, set()) == {"concepts": "concepts: groups.csv changed"}
    assert relist.changed(project, {"concepts"}) == {}
    file = tmp_path / "data/resolved/datasets/digits.json"
    point = {"concept": {"hrrl": {"lam": 1.0, "q0": "target:digits"}}}
    (tmp_path / "data/resolved/variants/cl.json").write_text(json.dumps(point))
    with pytest.raises(UserError, match=r"variants.cl.concept.hrrl.q0: target:digits takes concepts of classes"):
        main(project)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"synsets": {"0": "zero.n.02", "I": "one.n.01"}}))
    with pytest.raises(UserError, match=r"^datasets.digits.synsets: 'I' is none of its classes: '0', '1', .*, '9'$"):
        main(project)


def test_the_stage_takes_the_synsets_of_each_dataset_for_its_own(project, tmp_path):
    shutil.copytree(tmp_path / "data/targets/digits", tmp_path / "data/targets/other")
    folder = tmp_path / "data/resolved"
    definition = json.loads((folder / "datasets/digits.json").read_text())
    for name, dogs in (("digits", 5), ("other", 2)):
        synsets = {str(i): "dog.n.01" if i < dogs else "cup.n.01" for i in range(10)}
        (folder / f"datasets/{name}.json").write_text(json.dumps(definition | {"synsets": synsets}))
    point = {"concept": {"hrrl": {"lam": 1.0, "q0": "target:other"}}}
    (folder / "variants/cl.json").write_text(json.dumps(point))
    setting = [{"name": "animal", "synset": "animal.n.01"}]
    main(Settings(project | {"targets": ["digits", "other"], "concepts": setting}))
    rows = (tmp_path / "data/concepts/targets.csv").read_text().split()[1:]
    assert rows == ["digits,animal,0.5", "digits,others,0.5", "other,others,0.8", "other,animal,0.2"]
    assert json.loads((tmp_path / "data/concepts/q0/cl.json").read_text()) == [21 / 102, 81 / 102]
