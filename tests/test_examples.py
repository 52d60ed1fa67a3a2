"""The wheel in a fresh environment, and examples/ run from there on real photographs of clothes (Fashion-MNIST)."""

import json
import re
import sysconfig
import venv
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SCHEDULE, call, fit, method
from PIL import Image

from hrrl import group_wnids
from hrrl.concepts import class_concepts, csv_file
from hrrl.concepts.wordnet import open_wordnet
from hrrl.data.augment import Augment
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare
from hrrl.data.synsets import SHIPPED
from hrrl.settings.schema import Dataset
from hrrl.train import models
from hrrl.train.evaluation import GroupedData

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Bag", "Ankle boot"]
SYNSETS = {name: SHIPPED["fashion_mnist"][name] for name in CLASSES} | {"Bag": "bag.n.01"}
NOUNS = [synset.partition(".")[0] for synset in SYNSETS.values() if synset.endswith(".01")]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Eight classes of 100 training images and as many for validation."""
    folder = tmp_path_factory.mktemp("clothes") / "manifest"
    definition = Dataset(kind="fashion_mnist", classes=CLASSES, train="train[:100]", test="test[:100]")
    prepare(definition, "clothes").write(folder)
    return folder


@pytest.fixture(scope="module")
def wnids():
    return [f"n{open_wordnet().synset(name).offset():08d}" for name in SYNSETS.values()]


@pytest.fixture(scope="module")
def images(manifest, wnids):
    """The same as folders of PNG files, named by wnids; and beside it by nouns, in a folder ``nouns``."""
    root = manifest.parent / "images"
    for part, split in {"train": "train", "val": "test"}.items():
        batches = open_split(manifest, None, split, 28).eval_batches(800)
        for i, (image, label) in enumerate(zip(*next(iter(batches)), strict=True)):
            file = root / part / wnids[label] / f"{i:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
        for wnid, synset in zip(wnids, SYNSETS.values(), strict=True):
            if (noun := synset.partition(".")[0]) in NOUNS:
                link = manifest.parent / "nouns" / part / noun
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(root / part / wnid)
    return root


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call(ROOT, "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    [file] = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of a new environment with the wheel, and the requirements from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python, site = folder / "bin/python", sysconfig.get_path("purelib", vars={"base": folder})
    options = ["--python", "bin/python", "install", "--quiet", "--no-deps", "--no-index"]
    call(folder, "python", "-m", "pip", *options, wheel)
    Path(site, "requirements.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


# One process for all: most of an example's time here would be its imports.
DRIVER = """
import contextlib, io, json, runpy, sys
printed = {}
for sys.argv in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(sys.argv[0], run_name="__main__")
    printed[sys.argv[0]] = out.getvalue()
json.dump(printed, open("printed.json", "w", encoding="utf-8"))
"""


INSTALLED = """
import hrrl, sys
from importlib.resources import files
from importlib.metadata import version
from hrrl import params, methods
assert hrrl.__file__.startswith(sys.prefix), hrrl.__file__
assert version("hrrl") == hrrl.__version__
for preset in (files("hrrl") / "presets").iterdir():
    assert params.load(preset).variants
assert "hrrl" in methods.names("concept")
print("as it should be")
"""


@pytest.fixture(scope="module")
def printed(python, images, tmp_path_factory):
    """What each example prints, run outside of the repository, by its file's name."""
    vit = ["vit_tiny_patch16_224", "model.pt", '{"img_size": 32, "patch_size": 8, "depth": 2}']
    calls = [
        ["plain_pytorch.py", images],
        ["timm_vit.py", images, "model.pt"],
        ["concepts_and_score.py", images.parent / "nouns", *vit],
        ["groups_by_image.py", images.parent / "strokes"],
        *([["lightning_module.py", images]] if find_spec("pytorch_lightning") else []),
    ]
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "installed.py").write_text(INSTALLED, encoding="utf-8")
    calls = [["installed.py"], *([str(ROOT / "examples" / name), *map(str, arguments)] for name, *arguments in calls)]
    call(folder, python, "-c", DRIVER, json.dumps(calls))
    found = json.loads((folder / "printed.json").read_text(encoding="utf-8"))
    return {Path(file).name: text for file, text in found.items()}


def test_the_wheel_has_what_the_package_reads(wheel, printed):
    names = zipfile.ZipFile(wheel).namelist()
    tracked = call(ROOT, "git", "ls-files", "hrrl", "presets").split()
    files = [name.replace("presets/", "hrrl/presets/") for name in tracked]
    assert [name for name in files if name not in names] == []
    assert printed["installed.py"] == "as it should be\n"


def test_the_plain_loop_reaches_the_pipelines_accuracy(printed, manifest, wnids, tmp_path):
    example = float(re.search(r"accuracy (\S+),", printed["plain_pytorch.py"])[1])
    mapping = group_wnids(wnids)
    names, concepts = class_concepts(mapping, wnids, sorted(set(mapping.values())))
    train, test = (open_split(manifest, None, split, 28) for split in ("train", "test"))
    task = GroupedData.by_class(train, test, torch.tensor(concepts), names)
    augment = Augment(crop="none", flip=False)
    changes = {"epochs": 6, "batch_size": 50, "milestones": [4, 5], "weight_decay": 5e-4, "augment": augment}
    variant = method(task, {"gradient": {"tau": 0.5}}, {"hrrl": {"lam": 1.0, "s": 50}})
    torch.manual_seed(0)
    model = models.build("timm/resnet18", 8, {"channels": [16, 32, 64, 128]})
    pipeline = fit(task, tmp_path, variant, model, replace(SCHEDULE, **changes))
    assert example == pytest.approx(pipeline.history[-1]["val_accuracy"], abs=3)


def test_timms_factories_and_the_score_of_its_model(printed):
    losses = [float(loss) for loss in re.findall(r"loss (\S+),", printed["timm_vit.py"])]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    score = printed["concepts_and_score.py"]
    assert "'sandal': 'footwear'" in score
    assert float(re.search(r"accuracy (\S+),", score)[1]) > 50


def test_groups_by_image_raise_the_worst_one_and_are_what_the_pipeline_reads(printed, images):
    rows = [line.split(", ") for line in printed["groups_by_image.py"].splitlines()]
    worst = {method: min(float(group.split()[-1]) for group in groups) for method, *groups in rows}
    assert worst["CL"] > worst["ERM"] > 50
    folder = images.parent / "strokes"
    manifest = prepare(Dataset(kind="imagefolder", root=str(folder)), "strokes")
    paths = {split: list(rows.paths) for split, rows in manifest.splits.items()}
    names, ids = csv_file.of_images(folder / "groups.csv", paths)
    assert sorted(names) == [" ".join(group.split()[:2]) for group in rows[0][1:]]
    for split, found in ids.items():
        assert [names[k].split()[0] for k in found] == [manifest.classes[y] for y in manifest.labels(split)]


@pytest.mark.skipif(not find_spec("pytorch_lightning"), reason="pip install 'hrrl[dev]' brings pytorch-lightning")
def test_a_lightning_module(printed):
    assert printed["lightning_module.py"].splitlines()[-1].startswith("8 steps")
