"""Datasets in their official layouts, written here from real photographs, and the batches that come out of them."""

import gzip
import io
import multiprocessing
import os
import pickle
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from conftest import PATIENCE, ROOT, refused
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_sample_images

from hrrl.common.names import packed_name
from hrrl.data.augment import Augment
from hrrl.data.decode import decode, decode_part
from hrrl.data.loading import open_split
from hrrl.data.locate import Definition
from hrrl.data.manifest import prepare, read_manifest, relisted
from hrrl.data.pack import pack
from hrrl.errors import UserError
from scripts.pack import main as pack_script

PHOTOS = load_sample_images().images  # china.jpg, flower.jpg: (427, 640, 3) uint8
WNIDS = ["n01440764", "n01443537", "n02084071"]
PADDED = Augment(crop="padded", padding=4, flip=True)
RESIZED = Augment(crop="random_resized", scale=(0.08, 1.0), flip=True)


pytestmark = pytest.mark.usefixtures("elsewhere")


def definition(kind, root=None, **settings):
    return Definition(kind=kind, root=root and str(root), **settings)


def crops(n, height, width):
    """n different pieces of the two photographs, (n, height, width, 3)."""
    rng = np.random.default_rng(n)
    places = [(PHOTOS[i % 2], rng.integers(427 - height), rng.integers(640 - width)) for i in range(n)]
    return np.array([photo[y : y + height, x : x + width] for photo, y, x in places])


def save(path, image, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).convert(mode).save(path, "PNG" if path.suffix == ".png" else "JPEG")


def write_tree(root, classes=WNIDS, train=7, val=3, held_out="val", size=(90, 120)):
    for split, n in (("train", train), (held_out, val)):
        for i, image in enumerate(crops(n * len(classes), *size)):
            name = classes[i % len(classes)]
            save(root / split / name / f"{name}_{i}.JPEG", image)
    return root


def zip_of(tree, path, method=zipfile.ZIP_STORED, what="*.JPEG", inside=""):
    """A zip of a tree's images."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(tree.rglob(what)):
            archive.write(file, inside / file.relative_to(tree))
    return path


def tar(folder, path):
    """In the place of a folder a tar.gz of it."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    shutil.rmtree(folder)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def write_fashion(folder, n, suffix=".gz"):
    """Grey images in the idx files of Fashion-MNIST, n to train on and half as many to test; returns the former."""
    images = crops(n, 28, 28)[..., 0]
    folder.mkdir(parents=True, exist_ok=True)
    for split, part in (("train", images), ("t10k", images[: n // 2])):
        for name, array in (("images-idx3", part), ("labels-idx1", np.arange(len(part)) % 10)):
            content = gzip.compress(idx(array)) if suffix else idx(array)
            (folder / f"{split}-{name}-ubyte{suffix}").write_bytes(content)
    return images


def png(width, height, depth, rows):
    """A PNG of three channels, piece by piece: Pillow writes none of 16 bits, nor one whose size is not true."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def sources(given, size, folder="manifest"):
    prepare(given, "given").write(folder)
    return [open_split(folder, given.root, split, size) for split in ("train", "test")]


def everything(source):
    return torch.cat([x for x, _ in source.eval_batches(5)])


def test_imagefolder_reads_grey_cmyk_and_palette_images_as_rgb(tmp_path):
    """Of what is transparent the colour below, of what moves the first image, and nothing turned."""
    photo, turned = crops(1, 40, 40)[0], Image.Exif()
    turned[274] = 6  # as a camera on its side notes it
    modes = {"a.jpg": "L", "b.JPEG": "CMYK", "c.png": "P", "d.png": "RGBA", "e.png": "1"}
    for split in ("train", "test"):
        for name, mode in modes.items():
            save(tmp_path / "deep" / split / "cat" / name, photo, mode)
        save(tmp_path / "deep" / split / WNIDS[0] / "x.png", photo)
        Image.fromarray(photo).save(tmp_path / "deep" / split / "cat" / "f.bmp")  # by PIL
        (tmp_path / "deep" / split / "cat" / "notes.txt").write_text("no image")
        clear = Image.fromarray(np.dstack([photo, photo[..., :1]]))
        clear.save(tmp_path / "deep" / split / "cat" / "g.png")
        for name in ("h.jpg", "i.png"):
            Image.fromarray(photo).save(tmp_path / "deep" / split / "cat" / name, exif=turned)
        moving = [Image.fromarray(255 - photo), Image.fromarray(photo[::-1])]
        Image.fromarray(photo).save(tmp_path / "deep" / split / "cat" / "j.gif", save_all=True, append_images=moving)
    train, test = sources(definition("imagefolder", tmp_path), 40)
    manifest = read_manifest("manifest")
    assert (manifest.classes, manifest.wnids) == (["cat", WNIDS[0]], [None, WNIDS[0]])
    assert train.labels.tolist() == test.labels.tolist() == [0] * 10 + [1]
    for i, x in enumerate(everything(train)):
        path = tmp_path / manifest.splits["train"].paths[i]
        expected = np.array(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(x.permute(1, 2, 0).numpy() - expected).max() <= 1, path


def test_a_zip_is_read_as_the_tree_in_it(tmp_path):
    tree = write_tree(tmp_path / "tree", train=2, val=1, size=(48, 48), held_out="test")
    expected = [everything(s) for s in sources(definition("imagefolder", tree), 32)]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = zip_of(tree, tmp_path / f"{method}.zip", method, "*", "top")  # with its folders
        for source, x in zip(sources(definition("imagefolder", path), 32), expected, strict=True):
            assert torch.equal(everything(source), x)
    manifest = read_manifest("manifest")
    assert manifest.splits["train"].paths[0] == f"top/train/{WNIDS[0]}/{WNIDS[0]}_0.JPEG"
    with zipfile.ZipFile(path) as archive:
        assert manifest.splits["train"].crcs[0] == archive.getinfo(manifest.splits["train"].paths[0]).CRC


def write_flat_imagenet(root, truth):
    """train/ by wnid, val/ flat, and the ground truth in one of its published forms."""
    labels = [2, 0, 1, 1, 2]
    write_tree(root, train=1, val=0)
    names = [f"ILSVRC2012_val_{i + 1:08d}" for i in range(len(labels))]
    for name, image in zip(names, crops(len(labels), 80, 100), strict=True):
        save(root / "val" / f"{name}.JPEG", image)
    ids = [(3, "entity", 2), (7, WNIDS[0], 0), (1, WNIDS[1], 0), (2, WNIDS[2], 0)]  # not in the wnids' order
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children"]
    synsets = np.array([(i, w, "a, b", "a thing", n) for i, w, n in ids], [(f, object) for f in fields])
    official = {wnid: i for i, wnid, _ in ids}
    devkit = root / "ILSVRC2012_devkit_t12" / "data"
    if truth.startswith("devkit"):
        devkit.mkdir(parents=True)
        savemat(devkit / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
        lines = [f"{official[WNIDS[k]]}\n" for k in labels]
        (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(lines))
    if truth == "devkit.tar.gz":
        tar(devkit.parent, root / "ILSVRC2012_devkit_t12.tar.gz")
    solution = [f"{n},{WNIDS[k]} 1 2 30 40 " for n, k in zip(names, labels, strict=True)]
    numbers = [f"{n}.JPEG {k}" for n, k in zip(names, labels, strict=True)]
    lists = ["ImageId,PredictionString", *solution[::-1]], numbers, [WNIDS[k] for k in labels]
    if truth in TEXTS:
        (root / truth).write_text("\n".join(lists[TEXTS.index(truth)]) + "\n")
    return [[f"{names[i]}.JPEG" for i, k in enumerate(labels) if k == label] for label in range(3)]


TEXTS = ["LOC_val_solution.csv", "val.txt", "imagenet_2012_validation_synset_labels.txt"]


@pytest.mark.parametrize("truth", ["devkit", "devkit.tar.gz", *TEXTS])
def test_imagenet_with_a_flat_val_folder(tmp_path, truth):
    expected = write_flat_imagenet(tmp_path / "imagenet", truth)
    inside = tmp_path / "imagenet/ILSVRC/Data/CLS-LOC"
    if truth == "LOC_val_solution.csv":  # as Kaggle lays it out
        inside.mkdir(parents=True)
        for split in ("train", "val"):
            (tmp_path / "imagenet" / split).rename(inside / split)
    manifest = prepare(definition("imagenet", tmp_path / "imagenet"), "imagenet")
    assert manifest.classes == manifest.wnids == WNIDS
    found = [[] for _ in WNIDS]
    for path, label in zip(manifest.splits["test"].paths, manifest.labels("test"), strict=True):
        found[label].append(path.rpartition("val/")[2])
    assert found == expected


def test_imagenet_numbers_of_a_trimmed_copy_are_those_of_all_thousand_wnids(tmp_path):
    for number, wnid in ((3, "n01491361"), (999, "n15075141")):
        write_tree(tmp_path / wnid, ["n01440764", "n01484850", wnid], val=0)  # the first, the third and this one
        for i, image in enumerate(crops(3, 80, 80)):
            save(tmp_path / wnid / f"val/{i}.JPEG", image)
        (tmp_path / wnid / "val.txt").write_text(f"0.JPEG {number}\n1.JPEG 2\n2.JPEG 0\n")
        manifest = prepare(definition("imagenet", tmp_path / wnid), "imagenet")
        found = list(manifest.splits["test"].paths), manifest.labels("test").tolist()
        assert found == (["val/2.JPEG", "val/1.JPEG", "val/0.JPEG"], [0, 1, 2])
    (tmp_path / wnid / "val.txt").write_text("0.JPEG 1\n1.JPEG 2\n2.JPEG 3\n")
    with pytest.raises(UserError, match=r"val.txt has labels from 1 to 3; expected wnids or numbers from 0"):
        prepare(definition("imagenet", tmp_path / wnid), "imagenet")


def test_names_of_a_ground_truth_may_have_dots_and_other_endings(tmp_path):
    write_tree(tmp_path, train=1, val=0)
    for name, image in zip(("a.1.JPEG", "a.2.JPEG", "b.JPEG"), crops(3, 80, 80), strict=True):
        save(tmp_path / "val" / name, image)
    (tmp_path / "val.txt").write_text(f"a.1.JPEG {WNIDS[0]}\na.2 {WNIDS[1]}\nval/b.png {WNIDS[2]}\n")
    manifest = prepare(definition("imagenet", tmp_path), "imagenet")
    assert list(manifest.splits["test"].paths) == ["val/a.1.JPEG", "val/a.2.JPEG", "val/b.JPEG"]
    assert manifest.labels("test").tolist() == [0, 1, 2]


def test_imagenet_without_ground_truth_says_what_is_needed(tmp_path):
    write_flat_imagenet(tmp_path, "none")
    with pytest.raises(UserError, match=r"val: images without class folders.*ILSVRC2012_devkit_t12"):
        prepare(definition("imagenet", tmp_path), "imagenet")


def write_cifar(root, images, packed=False):
    """images (12, 32, 32, 3): two training batches of four, a test batch of four; returns the folder."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for i, name in enumerate(["data_batch_1", "data_batch_2", "test_batch"]):
        data = images[4 * i : 4 * i + 4].transpose(0, 3, 1, 2).reshape(4, 3072)
        content = {"batch_label": name, "labels": [0, 1, 0, 9], "data": data, "filenames": ["x.png"] * 4}
        # NumPy 2 writes another module's name than NumPy 1 did when CIFAR-10 was published.
        content = pickle.dumps(content, 2).replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
        (folder / name).write_bytes(content)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names, "num_cases_per_batch": 4}, 2))
    if packed:
        tar(folder, root / "cifar-10-python.tar.gz")
    return folder


@pytest.mark.parametrize("file", ["test_batch", "cifar-10-python.tar.gz"])
def test_cifar10(tmp_path, capsys, file):
    images = crops(12, 32, 32)
    folder = write_cifar(tmp_path, images, packed=file.endswith(".gz"))
    if folder.exists():  # and a part of another copy
        for batch in ("data_batch_1", "test_batch"):
            shutil.copy(folder / batch, tmp_path)
    given = definition("cifar10", tmp_path, classes=["truck", "airplane"])
    train, test = sources(given, 32)
    assert train.classes == ["truck", "airplane"]
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 1, 0, 1, 1, 0], [1, 1, 0])
    assert torch.equal(everything(train).permute(0, 2, 3, 1), torch.from_numpy(images[[0, 2, 3, 4, 6, 7]]))
    output = capsys.readouterr().err
    assert "train without data_batch_3" in output
    assert f"{file} is not the published file" in output
    prepare(definition("digits"), "digits")  # of which nobody says what is published
    assert "published" not in capsys.readouterr().err
    assert next(sources(given, 224)[0].eval_batches(2))[0].shape == (2, 3, 224, 224)


def test_digits_are_scikit_learns():
    for split, source in zip(("train", "test"), sources(definition("digits"), 8), strict=True):
        x, y = reference.digits(split, None)
        assert torch.equal(source.labels, y)
        assert torch.equal(everything(source), (255 * x).round().to(torch.uint8))


def test_svhn_label_10_is_digit_0(tmp_path, capsys):
    images, labels = crops(6, 32, 32), np.array([10, 1, 2, 10, 9, 5])
    for split, part in (("train", slice(0, 6)), ("test", slice(3, 4))):
        content = {"X": images[part].transpose(1, 2, 3, 0), "y": labels[part, None].astype(np.uint8)}
        savemat(tmp_path / f"{split}_32x32.mat", content)
    train, test = sources(definition("svhn", tmp_path, classes=["0", "1", "9"]), 32)
    assert capsys.readouterr().err.count("_32x32.mat is not the published file") == 2
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 0, 2], [0])
    assert torch.equal(everything(train).permute(0, 2, 3, 1), torch.from_numpy(images[[0, 1, 3, 4]]))
    (tmp_path / "train_32x32.mat").rename(tmp_path / "extra_32x32.mat")  # the third published part
    extra = prepare(definition("svhn", tmp_path, classes=["0", "1", "9"], train="extra"), "svhn")
    assert extra.labels("train").tolist() == [0, 1, 0, 2]


PLACES = [("fashion_mnist", "", ".gz"), ("fashion_mnist", "raw", ""), ("fashion_mnist", "FashionMNIST/raw", "")]


@pytest.mark.parametrize(("kind", "inside", "suffix"), [*PLACES, ("torchvision/FashionMNIST", "FashionMNIST/raw", "")])
def test_fashion_mnist(tmp_path, kind, inside, suffix, capsys):
    images = write_fashion(tmp_path / inside, 20, suffix)
    if inside:  # a part of another copy
        (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    train, test = sources(definition(kind, tmp_path), 28)
    assert train.classes[0] == "T-shirt/top"
    assert ("-ubyte.gz is not the published file" in capsys.readouterr().err) == bool(suffix)
    assert (train.labels.tolist(), len(test)) == ([*range(10)] * 2, 10)
    assert torch.equal(everything(train), torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1))


def test_a_systems_package_comes_before_what_lies_in_data_raw(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hrrl.data.locate.SYSTEM", (tmp_path / "nothing", tmp_path / "share"))
    for place, n in (("share/fashion-mnist", 30), ("data/raw/fashion_mnist", 20)):
        write_fashion(tmp_path / place, n)
    assert len(prepare(definition("fashion_mnist"), "clothes").labels("train")) == 30
    assert "published" not in capsys.readouterr().err  # a distribution packs files in its own way
    shutil.rmtree(tmp_path / "share")
    assert len(prepare(definition("fashion_mnist"), "clothes").labels("train")) == 20


def test_sop_has_twelve_super_classes_by_folder(tmp_path, capsys, monkeypatch):
    names = ["bicycle", "cabinet", "chair", "coffee_maker", "fan", "kettle"]
    names += ["lamp", "mug", "sofa", "stapler", "table", "toaster"]
    for split in ("train", "test"):
        lines = ["image_id class_id super_class_id path"]
        for k, image in enumerate(crops(12, 50, 70)):
            path = f"{names[k]}_final/1110{k}_{split}.JPG"
            save(tmp_path / "Stanford_Online_Products" / path, image)
            lines.append(f"{len(lines)} {100 + k} {k + 1} {path}")
        lines.append("13 200 1 bicycle_final/lost.JPG")
        (tmp_path / f"Stanford_Online_Products/Ebay_{split}.txt").write_text("\n".join(lines) + "\n")
    manifest = prepare(definition("sop", tmp_path), "sop")
    assert "left out 1 of the 13 images of Ebay_train.txt" in capsys.readouterr().err
    assert manifest.classes == names
    assert manifest.labels("test").tolist() == list(range(12))
    assert manifest.splits["train"].paths[3] == "Stanford_Online_Products/coffee_maker_final/11103_train.JPG"
    Path("published").mkdir()
    shutil.make_archive("published/Stanford_Online_Products", "zip", tmp_path, "Stanford_Online_Products")
    packed = prepare(definition("sop", tmp_path / "published"), "sop")
    for split, rows in packed.splits.items():
        assert list(rows.paths) == list(manifest.splits[split].paths)
    params = (ROOT / "presets/paper.yaml").read_text("utf-8").replace("sop, root: null", f"sop, root: {tmp_path}")
    Path("params.yaml").write_text(params, "utf-8")
    monkeypatch.setattr("sys.argv", ["pack", "sop"])
    pack_script()
    *_, line = capsys.readouterr().out.splitlines()
    place = r"data/packed/sop-packed-256-q90-\w+\.zip"
    assert re.fullmatch(rf"datasets.sop: set root: {place}, and kind: imagefolder, synsets: sop", line)


def test_an_unreadable_image_is_named_or_skipped_and_counted(tmp_path, capsys):
    tree = write_tree(tmp_path / "tree")
    path = tree / "train" / WNIDS[1] / f"{WNIDS[1]}_4.JPEG"
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[:-200] + bytes(200), whole[:-300]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{path}: .*skip_unreadable"):
            prepare(definition("imagefolder", tree), "photos")
    shutil.rmtree(tree / "val" / WNIDS[0])
    given = definition("imagefolder", tree, skip_unreadable=True)
    prepare(given, "photos").write("manifest")
    manifest = read_manifest("manifest")
    assert relisted(given, "photos", "manifest") is None
    told = capsys.readouterr().err
    assert f"skipped {path}" in told
    assert manifest.splits["train"].skipped == [str(path.relative_to(tree))]
    assert "has no images of 1 classes" in told
    assert "without unreadable images" not in told  # of the test split, where nothing was skipped
    path.write_bytes(whole)
    assert "1 images more, 0 fewer" in relisted(given, "photos", "manifest")
    assert np.bincount(manifest.labels("train")).tolist() == [7, 6, 7]
    for file in path.parent.iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match=rf"train: without unreadable images, it leaves no images of class {WNIDS[1]}"):
        prepare(given, "photos")


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    tree = write_tree(tmp_path / "tree")
    content = bytearray(zip_of(tree, Path("photos.zip")).read_bytes())
    content[600] ^= 1  # in the middle of the first image
    Path("photos.zip").write_bytes(content)
    with pytest.raises(UserError, match=rf"photos.zip/train/{WNIDS[0]}/{WNIDS[0]}_0.JPEG: damaged in the zip"):
        prepare(definition("imagefolder", tmp_path / "photos.zip"), "photos")


def test_a_cut_off_array_file_is_named(tmp_path):
    write_fashion(tmp_path, 20)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: cannot be read"):
        prepare(definition("fashion_mnist", tmp_path), "clothes")
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz is missing"):
        prepare(definition("fashion_mnist", tmp_path), "clothes")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": "/nowhere"}, r"datasets.photos.root: /nowhere does not exist"),
        ({"root": "$HRRL_NO_SUCH_VARIABLE/x"}, r"datasets.photos.root: .*variable .*not set"),
        ({"root": None}, r"datasets.photos.root: not set.*train/<class>"),
        ({"train": "training"}, r"no folder training/ in it or one folder deeper, but train, val; expected"),
        ({"test": "held_out"}, r"datasets.photos.test: 'held_out' is no published split; known: train, val"),
        ({"train": "train[9:]"}, r"datasets.photos.train: train\[9:\] leaves no images; expected some of every class"),
        ({"train": "train[6:]"}, rf"datasets.photos.train: train\[6:\] leaves no images of class {WNIDS[1]}"),
        ({"test": "train[2:]"}, r"datasets.photos.test: train\[2:\] has 14 images of train"),
        ({"classes": [WNIDS[0], "cat"]}, rf"datasets.photos.classes: unknown class 'cat'; known: {WNIDS[0]}"),
        ({"classes": [WNIDS[0], WNIDS[0]]}, r"only once"),
    ],
)
def test_bad_definitions_are_one_line(tmp_path, settings, message):
    next((write_tree(tmp_path) / "train" / WNIDS[1]).iterdir()).unlink()
    with refused(message):
        prepare(definition("imagefolder", **({"root": tmp_path} | settings)), "photos")


def test_files_of_both_parts_are_counted(tmp_path, capsys):
    root = write_tree(tmp_path)
    for i, name in enumerate(sorted((root / "train" / WNIDS[0]).iterdir())[:2]):
        shutil.copy(name, root / "val" / WNIDS[i] / "x.JPEG")
    for split, i in (("train", 1), ("val", 0)):  # other images of one size
        Image.fromarray(crops(2, 40, 40)[i]).save(root / split / WNIDS[0] / "y.bmp")
    prepare(definition("imagefolder", root), "photos")
    said = f"datasets.photos.test: 2 of 12 images are in train as well, by size and CRC; the first is val/{WNIDS[0]}/x"
    assert said in capsys.readouterr().err


def test_an_empty_class_folder_is_named(tmp_path):
    write_tree(tmp_path)
    (tmp_path / "val" / "n02999999").mkdir()
    assert prepare(definition("imagefolder", tmp_path), "photos").classes == WNIDS
    (tmp_path / "train" / "n02999999").mkdir()
    for root in (tmp_path, shutil.make_archive(tmp_path / "photos", "zip", tmp_path)):
        with pytest.raises(UserError, match=r"train/n02999999: no images"):
            prepare(definition("imagefolder", root), "photos")


def test_slices_are_per_class_in_file_order_and_classes_are_renumbered(tmp_path, monkeypatch):
    write_tree(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("HRRL_DATA", tmp_path.name)
    given = definition(
        "imagefolder", "~/$HRRL_DATA", classes=[WNIDS[2], WNIDS[0]], train="train[1:3]", test="train[-2:]"
    )
    manifest = prepare(given, "photos")
    names = sorted(p.name for p in (tmp_path / "train" / WNIDS[2]).iterdir())
    train = manifest.splits["train"]
    found = [Path(p).name for p, k in zip(train.paths, train.labels, strict=True) if k == 0]
    assert found == names[1:3]
    assert np.bincount(manifest.labels("test")).tolist() == [2, 2]
    assert manifest.wnids == [WNIDS[2], WNIDS[0]]


def test_the_manifest_is_the_same_wherever_the_files_are_and_differs_when_they_do(tmp_path):
    def written(root):
        manifest = prepare(definition("imagefolder", root), "photos")
        manifest.write("out")
        both = [Path("out", name).read_bytes() for name in ("manifest.csv", "dataset.json")]
        return both, manifest.splits["train"].fingerprint()

    grey, photo = np.pad(crops(1, 40, 40)[0, ..., 0], 2), write_tree(tmp_path / "a") / "train" / WNIDS[0] / "x.bmp"
    Image.fromarray(grey).save(photo)
    first = written(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert written(tmp_path / "b") == first
    Image.fromarray(grey[:, ::-1]).save(tmp_path / "b" / photo.relative_to(tmp_path / "a"))  # of the same size and ends
    for one, other in zip(written(tmp_path / "b"), first, strict=True):
        assert one != other


def test_a_damaged_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match="no such manifest"):
        read_manifest("nothing")
    prepare(definition("imagefolder", write_tree(tmp_path)), "photos").write("manifest")
    file = Path("manifest/manifest.csv")
    file.write_text("".join(file.read_text(encoding="utf-8").splitlines(True)[:-1]), encoding="utf-8")
    with pytest.raises(UserError, match="damaged manifest"):
        read_manifest("manifest")


def epoch(source, augment, world=1):
    """All batches of an epoch, put together from the parts of each process."""
    parts = [list(source.train_batches(8, augment, 3, 1, rank, world)) for rank in range(world)]
    whole = [[torch.cat(column) for column in list(zip(*step, strict=True))[:2]] for step in zip(*parts, strict=True)]
    assert {m for part in parts for *_, m in part} == {8}
    return torch.stack([x for x, _ in whole]), torch.stack([y for _, y in whole])


@pytest.mark.parametrize("augment", [PADDED, RESIZED], ids=lambda a: a.crop)
def test_batches_do_not_depend_on_processes_and_workers(tmp_path, augment):
    """Of large images; test_batches.py has small ones, and what is in a batch."""
    source, _ = sources(definition("imagefolder", write_tree(tmp_path, train=14)), 72)
    x, y = epoch(source, augment)
    assert x.shape == (5, 8, 3, 72, 72)  # enough for two workers to share: they take 32 at a time
    divided = open_split("manifest", str(tmp_path), "train", 72, workers=2)
    for world in (1, 3):
        again = epoch(divided, augment, world)
        assert torch.equal(again[0], x), world
        assert torch.equal(again[1], y), world


@pytest.mark.parametrize("size", [32, 72])
def test_evaluation_sees_every_image_once_in_order_or_the_rows_that_are_asked_for(tmp_path, size):
    (write_tree(tmp_path, train=3) / "train").rename(tmp_path / "learn")  # a split has any name
    source, _ = sources(definition("imagefolder", tmp_path, train="learn"), size)
    whole, rows = everything(source), np.array([3, 0, 8, 7])
    asked = [({"rows": rows}, 1, rows), *(({}, world, np.arange(9)) for world in (2, 4, 11))]
    for given, world, expected in asked:
        parts = [batch for rank in range(world) for batch in source.eval_batches(2, rank, world, **given)]
        x, y = (torch.cat(part) for part in zip(*parts, strict=True))
        assert torch.equal(y, source.labels[expected])
        assert torch.equal(x, whole[expected])


@pytest.mark.parametrize("size", [32, 72])
def test_a_file_that_changes_after_it_was_listed_is_named(tmp_path, size):
    given = definition("imagefolder", write_tree(tmp_path))
    prepare(given, "photos").write("manifest")
    path = tmp_path / read_manifest("manifest").splits["train"].paths[9]
    whole = path.read_bytes()
    other = whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]
    for content, message in ((whole[:-500], r"has \d+ bytes, the manifest says \d+"), (other, "is not the file that")):
        path.write_bytes(content)
        with refused(f"^{path}: {message}"):
            list(open_split("manifest", given.root, "train", size).train_batches(7, RESIZED, 0, 0))
    path.unlink()
    with pytest.raises(UserError, match=f"^{path}: No such file"):
        list(open_split("manifest", given.root, "train", size).eval_batches(7))


def test_array_files_that_changed_are_named(tmp_path):
    folder = write_cifar(tmp_path, crops(12, 32, 32))
    given = definition("cifar10", tmp_path, classes=["truck", "airplane"])
    prepare(given, "cifar10").write("manifest")
    assert relisted(given, "cifar10", "manifest") is None
    with open(folder / "data_batch_1", "ab") as file:
        file.write(b" ")
    assert "datasets.cifar10: its files are" in relisted(given, "cifar10", "manifest")
    shutil.rmtree(folder)
    write_cifar(tmp_path, crops(13, 32, 32)[1:])
    with pytest.raises(UserError, match=r"data_batch_1 is not the file that was listed"):
        open_split("manifest", given.root, "train", 32)
    before = everything(sources(given, 32)[0])
    shutil.rmtree(folder)
    write_cifar(tmp_path, 255 - crops(13, 32, 32)[1:])
    assert torch.equal(everything(sources(given, 32)[0]), 255 - before)  # and not what was kept of the former


def test_batches_that_nobody_takes_leave_no_process(tmp_path):
    """That a dead process costs no image, test_fuzz.py tells."""
    source, _ = sources(definition("imagefolder", write_tree(tmp_path, val=1)), 72)
    abandoned = source.train_batches(1, RESIZED, 0, 0)
    next(abandoned)
    assert multiprocessing.active_children()
    abandoned.close()
    assert not multiprocessing.active_children()


def _open_and_sum(given, queue):
    source = open_split("manifest", given.root, "train", 32)
    queue.put(int(source.images.astype(np.int64).sum()))


def test_several_processes_fill_the_cache_at_once(tmp_path):
    given = definition("imagefolder", write_tree(tmp_path, train=14))
    prepare(given, "photos").write("manifest")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_open_and_sum, args=(given, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    assert len({queue.get(timeout=PATIENCE) for _ in processes}) == 1
    for process in processes:
        process.join()
    assert [p.suffix for p in sorted(Path("data/cache").iterdir())] == [".lock", ".npy"]


@pytest.mark.parametrize("colours", ["RGB", "L", "CMYK"])
def test_part_of_a_photograph_is_that_of_the_whole(colours):
    """At and beside the ends of blocks, whatever lies in a file."""
    photo = Image.fromarray(PHOTOS[0][:100, :90]).convert(colours)
    kinds = [{"subsampling": kind} for kind in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")]
    kinds += [{"progressive": True}, {"restart_marker_rows": 1}, {"comment": b"\xff\xc0" * 9}]
    for kind in kinds:
        stream = io.BytesIO()
        photo.save(stream, "JPEG", **kind)
        data = stream.getvalue()
        whole = decode(data)
        for bottom in (1, 7, 8, 15, 16, 17, 31, 32, 98, 99, 100):
            box = (bottom // 2, 3, bottom - bottom // 2, 80)
            found = decode_part(data, lambda *size, box=box: box if size == (100, 90) else ())
            assert torch.equal(found, whole[:, box[0] : bottom, 3:83])


def test_relisting_finds_what_changed(tmp_path):
    given = definition("imagefolder", write_tree(tmp_path / "tree"))
    prepare(given, "photos").write("manifest")
    assert relisted(given, "photos", "manifest") is None
    one, other, *_ = (tmp_path / "tree/train" / WNIDS[0]).iterdir()
    path = Path(shutil.copy(one, one.with_name("new.JPEG")))
    assert "1 images more, 0 fewer, 0 of another size or class" in relisted(given, "photos", "manifest")
    path.unlink()
    other.write_bytes(other.read_bytes() + b" ")
    assert "0 images more, 0 fewer, 1 of another size" in relisted(given, "photos", "manifest")
    other.unlink()
    assert "0 images more, 1 fewer, 0 of another size" in relisted(given, "photos", "manifest")


def test_a_packed_dataset_has_the_same_images_smaller(tmp_path):
    """What is small enough stays; the zip's name tells the settings, and its bytes are the same each time."""
    tree = write_tree(tmp_path / "tree", train=3, val=2, size=(90, 120))
    save(tree / "train" / WNIDS[0] / "small.JPEG", crops(1, 60, 75)[0])
    save(tree / "train" / WNIDS[0] / "small.png", crops(1, 40, 50)[0])
    for i, inside in enumerate("ba"):  # numbered, where the listing has another order
        save(tree / "val" / WNIDS[2] / inside / f"{i}.JPEG", crops(1 + i, 90, 120)[-1])
    save(tree / "train" / WNIDS[1] / os.fsdecode(b"caf\xe9.JPEG"), crops(1, 90, 120)[0])  # a name that is no UTF-8
    path = pack(definition("imagefolder", tree), "photos", tmp_path, side=60)
    content = path.read_bytes()
    assert packed_name(str(path)) == path.name
    assert path.name.startswith("photos-packed-60-q90-")
    assert packed_name("photos.zip") is None
    path.unlink()
    assert pack(definition("imagefolder", tree), "photos", tmp_path, side=60).read_bytes() == content
    assert pack(definition("imagefolder", tree), "photos", tmp_path, side=61) != path
    given = {root.stem: definition("imagefolder", root) for root in (tree, path)}
    whole, packed = (sources(root, 64, folder=f"listed-{name}") for name, root in given.items())
    members = read_manifest("listed-" + path.stem)
    assert members.splits["train"].paths[0] == f"train/{WNIDS[0]}/{WNIDS[0]}_0.jpg"
    assert list(members.splits["test"].paths)[-1] == f"val/{WNIDS[2]}/00000007_{WNIDS[2]}_5.jpg"
    for one, other in zip(whole, packed, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert (everything(one).float() - everything(other).float()).abs().mean() < 4
    with zipfile.ZipFile(path) as archive:
        small = f"train/{WNIDS[0]}/small.jpg"
        assert archive.read(small) == (tree / "train" / WNIDS[0] / "small.JPEG").read_bytes()
        sizes = {Image.open(archive.open(member)).size for member in archive.namelist()}
    assert sizes == {(80, 60), (75, 60), (50, 40)}
    coarse = pack(definition("imagefolder", tree), "photos", tmp_path, side=60, quality=30)
    assert coarse.stat().st_size < path.stat().st_size
    with pytest.raises(UserError, match=r"datasets.digits: kind digits holds its images in arrays"):
        pack(definition("digits"), "digits", tmp_path)
    (tree / "train" / WNIDS[1] / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad.png: is no image of a known format"):
        pack(definition("imagefolder", tree), "photos", tmp_path, side=60)  # which was packed without it
    assert len([*tmp_path.glob("*.zip")]) == 3
    skipping = definition("imagefolder", tree, skip_unreadable=True)
    with zipfile.ZipFile(first := pack(skipping, "photos", tmp_path)) as archive:
        assert len(archive.namelist()) == 3 * (3 + 2) + 3 + 2
    (tree / "train" / WNIDS[1] / "bad.png").write_bytes(b"no image, either")
    assert pack(skipping, "photos", tmp_path) != first  # of as many files, one has another size
    (tree / "train" / WNIDS[1]).rename(tree / "train/a\\b")  # for other programs, a folder in a folder
    with pytest.raises(UserError, match=r"class 'a.*b' has a slash"):
        pack(definition("imagefolder", tree), "photos", tmp_path)
