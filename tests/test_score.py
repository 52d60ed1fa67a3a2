"""hrrl score and hrrl push: on images and weights that the test makes, against plain loops and timm's own reading."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import timm
import torch
from conftest import digits_task, refused
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from hrrl.__main__ import main
from hrrl.errors import UserError
from hrrl.push import config, package
from hrrl.score import SvmHead, _grouped
from hrrl.train import models, weights
from hrrl.transfer import svm
from hrrl.transfer.extraction import extract_features

CLASSES = ["cup", "dog", "hammer", "zzz"]  # the first four digits; WordNet knows three of these nouns
ARGS = {"channels": [8, 8, 16, 16]}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root, digits = tmp_path_factory.mktemp("images"), load_digits()
    for label, name in enumerate(CLASSES):
        found = digits.images[digits.target == label]
        for split, part in (("train", found[:20]), ("val", found[20:30])):
            (root / split / name).mkdir(parents=True)
            for i, pixels in enumerate(part):
                image = Image.fromarray((pixels * 15).astype(np.uint8)).convert("RGB").resize((32, 32))
                image.save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder whose head knows the classes, in another order."""
    torch.manual_seed(1)
    model = models.build("timm/resnet18", 4, ARGS, [0.4] * 3, [0.3] * 3)
    path = tmp_path_factory.mktemp("models") / "erm-0"
    told = {"backbone": "timm/resnet18", "backbone_args": ARGS, "image_size": 32, "classes": CLASSES[::-1]}
    models.save(model, path, told)
    return path


@pytest.fixture
def hrrl(monkeypatch, capsys):
    """The command, in this process: what it prints, or the line that it ends with."""

    def call(*arguments, ok=True):
        monkeypatch.setattr("sys.argv", ["hrrl", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            assert not ok
            return str(end.code)
        assert ok
        return capsys.readouterr().out

    return call


def read(folder, classes, number=10) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Pixels, places in the list of classes and numbers of the first images of each class."""
    files = [file for name in classes for file in sorted((folder / name).glob("*.png"))[:number]]
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255 for file in files])
    return pixels, np.repeat(range(len(classes)), number), np.array([int(file.stem) for file in files])


def shown(said: str, line: str) -> float:
    """The percentage behind the beginning of a line."""
    return float(re.search(rf"^{line} +([\d.]+)%", said, re.MULTILINE)[1])


def test_a_model_that_knows_the_classes_is_judged_by_its_own_head(images, folder, hrrl):
    said = hrrl("score", folder, "--data", images, "--steps", 2)
    model, _ = models.load(folder)
    pixels, y, _ = read(images / "val", CLASSES[::-1])
    right = model(pixels).argmax(1).numpy() == y
    accuracy = {name: 100 * right[y == label].mean() for label, name in enumerate(CLASSES[::-1])}
    assert "judged: its own head" in said
    assert shown(said, "all") == pytest.approx(100 * right.mean(), abs=0.01)
    for concept, name in (("container", "cup"), ("dog", "dog"), ("(device|tool|instrumentality)", "hammer")):
        found = re.search(rf"^{concept} .*?([\d.]+)% of 10$", said, re.MULTILINE)
        assert float(found[found.lastindex]) == pytest.approx(accuracy[name], abs=0.01)
    assert shown(said, "unknown") == pytest.approx(accuracy["zzz"], abs=0.01)
    order = [float(found) for found in re.findall(r"^\w+ +([\d.]+)% of 10$", said, re.MULTILINE)]
    assert order == pytest.approx(sorted(accuracy.values()), abs=0.01)
    assert shown(said, r"worst concept: \w+,") == pytest.approx(min(accuracy.values()), abs=0.01)
    moved = model(reference.moved(model, pixels, torch.tensor(y), 2.0)).argmax(1).numpy() == y
    assert shown(said, "moved by 2") == pytest.approx(100 * moved.mean(), abs=0.01)


def test_a_wnid_or_name_that_wordnet_lacks_is_of_unknown_concept():
    manifest = SimpleNamespace(classes=["dog", "zzz", "n99999999", "n03417042"], wnids=[None, None, "n99999999", None])
    manifest.wnids[3] = manifest.classes[3]
    found = {"dog": "dog", "zzz": "unknown", "n99999999": "unknown", "n03417042": "vehicle"}
    assert _grouped(manifest, "table1") == found


def test_a_file_gives_the_concepts_of_images(images, folder, hrrl, tmp_path, monkeypatch):
    files = sorted(images.glob("*/*/*.png"))
    pixels, y, numbers = read(images / "val", CLASSES[::-1])
    right = models.load(folder)[0](pixels).argmax(1).numpy() == y
    of = {str(file.relative_to(images)): "odd" if int(file.stem) % 2 else "even" for file in files}
    judged = [f"val/{CLASSES[::-1][label]}/{number}.png" for label, number in zip(y, numbers, strict=True)]
    best = [judged[i] for i in np.flatnonzero(right)[:2]]  # few images, and not the worst
    of |= dict.fromkeys([*best, "train/cup/0.png"], "best")  # a concept has one to train on
    lines = [f"{path},{concept}" for path, concept in of.items()]
    (tmp_path / "groups.csv").write_text("\n".join(["image,concept", *lines]))
    monkeypatch.chdir(tmp_path)
    said = hrrl("score", folder, "--data", images, "--steps", "--concepts", "groups.csv")
    named = np.array([of[path] for path in judged])
    accuracy = {name: 100 * right[named == name].mean() for name in ("even", "odd", "best")}
    for name, share in accuracy.items():
        assert shown(said, name) == pytest.approx(share, abs=0.01)
    assert shown(said, r"worst concept: \w+,") == pytest.approx(min(accuracy.values()), abs=0.01)
    (tmp_path / "groups.csv").write_text("\n".join(["image,concept", *lines[1:]]))
    said = hrrl("score", folder, "--data", images, "--concepts", "groups.csv", ok=False)
    assert "groups.csv: no concept for image 'train/cup/0.png'" in said


def test_any_other_is_judged_by_an_svm_in_the_place_of_its_head(images, tmp_path, hrrl):
    """Also one that knows some of the classes; by the order of its tensors, which have other names."""
    torch.manual_seed(2)
    net = reference.Net(timm.create_model("resnet18", num_classes=7, **ARGS)).eval()
    state = [value for value in net.net.state_dict().values() if value.is_floating_point()]
    torch.save({f"tensor {i}": value for i, value in enumerate(state)}, tmp_path / "net.pth")
    (tmp_path / "names.txt").write_text("cup\ndog\n" + "\n".join("abcde"))
    fewer = shutil.copytree(images, tmp_path / images.name)
    for split in ("train", "val"):
        shutil.rmtree(fewer / split / "zzz")
    arguments = ["score", "timm/resnet18", "--weights", tmp_path / "net.pth", "--args", json.dumps(ARGS), "--size", 32]
    arguments += ["--remap", "--classes", tmp_path / "names.txt", "--concepts", 2]
    said = hrrl(*arguments, "--data", images, "--targets", fewer, "--images", 6)
    assert "judged: a linear SVM in the place of its head" in said
    assert len(re.findall(r"^\w+ +[\d.]+% of \d+$", said, re.MULTILINE)) == 3  # one cut, others, unknown
    found = re.findall(r"^(\S+) +([\d.]+)% +([\d.]+)%$", said, re.MULTILINE)
    assert [folder for folder, *_ in found] == [str(images), str(fewer)]  # whose names are the same
    assert f"{shown(said, 'all'):.2f}" == found[0][1]  # the SVM as a layer decides as the SVM does
    assert "of 24 images" in said
    assert 25 < float(found[0][2]) <= 100
    for (folder, by_svm, by_neighbours), classes in zip(found, (CLASSES, CLASSES[:-1]), strict=True):
        (x, y, _), (test_x, test_y, _) = (read(Path(folder, split), classes, 6) for split in ("train", "val"))
        x, test_x = (net.features(pixels).detach().numpy() for pixels in (x, test_x))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        svms = [make_pipeline(StandardScaler(), LinearSVC(C=C, dual=False, max_iter=10_000)) for C in svm.GRID]
        right = [(cross_val_predict(model, x, y, cv=folds) == y).mean() for model in svms]
        near_best = max(right) - 1.5 / len(y)  # rounding decides between equals
        best = [model.fit(x, y) for model, of in zip(svms, right, strict=True) if of > near_best]
        near = KNeighborsClassifier(min(20, len(y)), weights="distance", metric="cosine").fit(x.astype(float), y)
        assert any(float(by_svm) == pytest.approx(100 * model.score(test_x, test_y), abs=0.01) for model in best)
        assert float(by_neighbours) == pytest.approx(100 * near.score(test_x.astype(float), test_y), abs=0.01)


def test_folders_without_splits_or_with_other_names_for_them(images, folder, tmp_path, hrrl):
    """Class folders alone: every fifth image is judged. And weights in a folder, as hubs have them."""
    shutil.copytree(images / "train", tmp_path / "alone")
    shutil.copytree(images / "train", tmp_path / "named/Training-1")
    shutil.copytree(images / "val", tmp_path / "named/held out")
    said = hrrl("score", folder, "--data", tmp_path / "alone", "--steps", "--kind", "torchvision/ImageFolder")
    assert re.search(r"^all +[\d.]+% of 16 images$", said, re.MULTILINE)
    net = ["timm/resnet18", "--weights", folder, "--args", json.dumps(ARGS)]
    given = ["--steps", "--images", 6, "--data"]
    named = hrrl("score", *net, *given, tmp_path / "named", "--train", "Training-1", "--test", "held out")
    found, expected = (re.findall(r"[\d.]+%.*", text) for text in (named, hrrl("score", folder, *given, images)))
    assert "judged: its own head" in named
    assert found == expected


def test_what_is_wrong_is_said_before_the_first_image_is_judged(images, folder, tmp_path, hrrl, capsys):
    shutil.copytree(images, tmp_path / "lone")
    for file in sorted((tmp_path / "lone/train/dog").iterdir())[1:]:
        file.unlink()
    vit = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=4, **vit).state_dict(), tmp_path / "vit.pth")
    (tmp_path / "bad.txt").write_bytes(b"cup\ndog\nh\xe4mmer\nzzz\n")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/model.json").write_text((folder / "model.json").read_text()[:40])
    net = ["timm/resnet18", "--weights", folder / "model.safetensors"]
    of_48 = ["--weights", tmp_path / "vit.pth", "--args", json.dumps(vit), "--size", 48]
    wrong = [
        (["resnet19"], "cannot build 'resnet19'"),
        ([tmp_path / "erm-1"], "model: .*/erm-1 does not exist; expected a folder of models/"),
        ([tmp_path / "lone"], "model: .*/lone/model.json does not exist; expected a folder of models/"),
        ([folder, "--weights", "net.pth"], "its own --weights, --classes and --args; leave them out"),
        (["timm/resnet18", "--weights", "none"], "none"),
        ([folder, "--targets", tmp_path / "typo"], "typo does not exist"),
        ([folder, "--targets", tmp_path / "lone"], r"lone: .* 1 of the rarest class \(dog\)"),
        ([folder, "--concepts", "table2"], "table2: cannot be read"),
        ([folder, "--concepts", "1"], "--concepts: an automatic cut takes two concepts or more, got 1"),
        ([tmp_path / "cut"], "model.json: is no JSON object with backbone, backbone_args"),
        ([*net, "--classes", tmp_path / "bad.txt"], "bad.txt: .*save it as text in UTF-8"),
        ([*net, "--classes", "none.txt"], "there is no 'none.txt'"),
        ([*net, "--args", json.dumps(ARGS | {"in_chans": 1})], "does not fit|takes no images"),
        (["timm/resnet18", "--weights", tmp_path / "none.pth"], "none.pth does not exist"),
        (["timm/vit_tiny_patch16_224", *of_48], "takes no images of 48 x 48 pixels .*doesn't match model"),
    ]
    for arguments, message in wrong:
        said = hrrl("score", *arguments, "--data", images, ok=False)
        assert re.search(message, said), said
        assert len(said.splitlines()) == 1
        assert "judged" not in capsys.readouterr().out
    for option in ("--size=0", "--images=-3", "--steps=-1", "--steps=nan", "--args=[1]"):
        assert hrrl("score", folder, "--data", images, option, ok=False) == "2"
        assert f"argument {option.partition('=')[0]}: takes a" in capsys.readouterr().err


def test_names_as_people_write_them(images, folder, tmp_path, hrrl, monkeypatch):
    """A split named validation, groups in tabs beside it, classes with a mark and an empty line; a rare class."""
    shutil.copytree(images, tmp_path / "mine")
    (tmp_path / "mine/val").rename(tmp_path / "mine/validation")
    for file in sorted((tmp_path / "mine/train/cup").iterdir())[3:]:
        file.unlink()
    groups = "".join(f"{name}\t{'z' if name == 'zzz' else 'known'}\n" for name in CLASSES)
    (tmp_path / "groups.tsv").write_text(f"class\tconcept\n{groups}")
    (tmp_path / "names.txt").write_bytes("\r\n".join(["\ufeffzzz", *CLASSES[-2::-1], "", ""]).encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(folder / "model.safetensors", tmp_path)
    net = ["timm/resnet18", "--weights", "~/model.safetensors", "--args", json.dumps(ARGS), "--size", 32]
    rest = ["--data", "mine", "--images", 4, "--steps", "--concepts", "groups.tsv"]
    said = hrrl("score", *net, "--classes", "~/names.txt", *rest)
    assert "judged: its own head" in said
    for line in (r"^all +[\d.]+% of 16 images$", r"^z +[\d.]+% of 4$", r"^known +[\d.]+% of 12$"):
        assert re.search(line, said, re.MULTILINE), said


HEADS = {
    "two": ("timm/deit_tiny_distilled_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1}),
    "without bias": ("timm/resnet18", ARGS),
    "a convolution": ("timm/resnetv2_50", {"layers": [1] * 4, "channels": [8, 8, 16, 32], "stem_chs": 8}),
}


@pytest.mark.parametrize("name", HEADS)
def test_an_svm_decides_on_features_whatever_the_head(name):
    """Of a network with two heads the SVM took the place of one of them."""
    torch.manual_seed(0)
    backbone, args = HEADS[name]
    model = models.build(backbone, 3, args).eval()
    if name == "without bias":
        model.backbone.fc = torch.nn.Linear(16, 3, bias=False)
    x, y = torch.rand(30, 3, 32, 32), torch.arange(30) % 3
    found, _ = extract_features(model, [(x, y)])  # of which test_library.py says what they are
    (classifier,) = svm.fit(found, y.numpy(), [1.0])
    assert (SvmHead(model, classifier)(x).argmax(1).numpy() == classifier.predict(found)).all()


def test_what_is_pushed_is_what_timm_loads(folder, tmp_path, hrrl, capsys):
    card = tmp_path / "README.md"
    card.write_text("---\nlibrary_name: pytorch\n---\n")
    said = hrrl("push", folder, "me/erm", "--card", card, "--to", tmp_path / "sent")
    assert "README.md, config.json, model.json, model.safetensors" in said
    assert said.rstrip().endswith("not sent")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'sent'}", pretrained=True).eval()
    ours, _ = models.load(tmp_path / "sent")
    x = torch.rand(2, 3, 32, 32)
    config = theirs.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(theirs((x - mean) / std), ours(x), atol=1e-5)
    assert config["label_names"] == CLASSES[::-1]
    (tmp_path / "sent/model.json").unlink()  # as timm's own models are
    sent = weights.Init(model=str(tmp_path / "sent"))
    capsys.readouterr()
    found = weights.find(sent, "timm/resnet18", ARGS, "init")
    assert not capsys.readouterr().err
    weights.find(sent, "timm/resnetblur18", ARGS, "init")  # whose tensors are the same, and its poolings others
    assert "is of resnet18; where its tensors fit resnetblur18, that may compute" in capsys.readouterr().err
    assert (found.classes, found.size) == (CLASSES[::-1], 32)
    assert (found.mean, found.std) == (pytest.approx([0.4] * 3), pytest.approx([0.3] * 3))
    with pytest.raises(UserError, match=r"holds no model\.json"):
        package(tmp_path, card, tmp_path / "none")
    texts = {name: (folder / name).read_bytes() for name in ("model.json", "model.safetensors")}
    for name, content, message in [
        ("model.json", texts["model.json"][:40], "is no JSON object with backbone"),
        ("model.json", texts["model.json"].replace(b'"cup"', b'"cup", "mug"'), "has other tensors than its model.json"),
        ("model.safetensors", texts["model.safetensors"][:-40], "model.safetensors: is not whole"),
    ]:
        wrong = shutil.copytree(folder, tmp_path / "wrong", dirs_exist_ok=True)
        (wrong / name).write_bytes(content)
        with refused(message):
            package(wrong, card, tmp_path / "none")
    assert "not sent" in hrrl("push", folder, "me/erm", "--card", card, ok=False)
    assert hrrl("push", folder, "no name", "--card", card, ok=False).startswith("no name: ")


def test_timm_builds_a_pushed_network_as_large_as_it_was(tmp_path):
    """Of one whose size is its own by default, its positions were those of 224 pixels."""
    model = models.build("timm/test_vit", 4).eval()
    told = {"backbone": "timm/test_vit", "backbone_args": {}, "image_size": 160, "classes": CLASSES}
    models.save(model, tmp_path / "vit", told)
    (tmp_path / "README.md").touch()
    package(tmp_path / "vit", tmp_path / "README.md", tmp_path / "sent")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'sent'}", pretrained=True)
    assert torch.equal(theirs.pos_embed, model.backbone.pos_embed)


@pytest.mark.parametrize("size", [32, 112])
def test_timm_sees_the_images_of_a_pushed_model_as_the_pipeline_does(size, tmp_path):
    told = {"backbone": "timm/resnet18", "backbone_args": ARGS, "image_size": size, "classes": CLASSES}
    seen = timm.data.resolve_data_config(
        pretrained_cfg=config(told | {"mean": [0.0] * 3, "std": [1.0] * 3})["pretrained_cfg"]
    )
    source = digits_task(tmp_path / "manifest", 1, size).test
    batch, _ = next(iter(source.eval_batches(10)))
    for i, expected in enumerate(batch.numpy()):
        image = Image.fromarray(source.pixels.read(i)[0].numpy()).convert("RGB")
        found = timm.data.create_transform(**seen)(image).numpy() * 255
        assert np.abs(found - expected).max() <= 2
