"""Folders, zips and files as people have them: no image is dropped, renamed or turned black without a word."""

import contextlib
import csv
import io
import itertools
import os
import re
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas
import pytest
from conftest import ASCII, python, refused
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_data import WNIDS, crops, definition, idx, png, write_tree

from hrrl.concepts import group_classes
from hrrl.data.decode import decode
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare, read_manifest, relisted
from hrrl.errors import UserError
from hrrl.settings.params_file import read
from hrrl.settings.schema import Dataset

pytestmark = pytest.mark.usefixtures("elsewhere")
COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def image(path, color=None, kind=None) -> None:
    """An image of noise, or of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 255, (12, 12, 3), np.uint8)
    (Image.new("RGB", (12, 12), color) if color else Image.fromarray(pixels)).save(path, kind)


def tree(root, classes=("cat", "dog"), splits=("train", "val"), images=3):
    for split, name, i in itertools.product(splits, classes, range(images)):
        image(root / split / name / f"{i}.png")
    return root


def manifest_of(root, kind="imagefolder", **definition):
    return prepare(Dataset(kind=kind, root=str(root), **definition), "mine")


def listed(*args, **definition) -> dict[str, list]:
    """Classes, and paths of each split."""
    manifest = manifest_of(*args, **definition)
    return {"classes": manifest.classes} | {split: list(rows.paths) for split, rows in manifest.splits.items()}


def test_what_is_no_image_by_its_name_is_counted(tmp_path, capsys):
    tree(tmp_path)
    image(tmp_path / "train/cat/3.jfif", kind="JPEG")
    for name in ("5.webp", "6.tif", "7.TIFF"):
        image(tmp_path / "train/cat" / name)
    image(tmp_path / "train/cat/more.jpg/9.png")  # a folder that is named as an image
    for name in ("3.heic", "4.avif", "notes.txt"):
        (tmp_path / "train/dog" / name).write_bytes(b"?")
    assert len(listed(tmp_path)["train"]) == 11
    assert "train: left out 3 files, such as train/dog/3.heic: names of images end in .jpeg" in capsys.readouterr().err
    for path in (tmp_path / "val/cat").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(UserError, match=r"val/cat: no images in this class folder \(it has 3 other files, such as"):
        listed(tmp_path)


@pytest.mark.parametrize(("kind", "split"), [("imagefolder", "train"), ("imagenet", "val")])
def test_half_a_layout_is_refused(tmp_path, kind, split):
    tree(tmp_path, ("n02084071", "n02121808"))
    image(tmp_path / split / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match=f"{split}: 1 images, such as ILSVRC2012_val_00000001.JPEG, are in no class"):
        listed(tmp_path, kind)


def test_tiny_imagenet_as_published(tmp_path):
    wnids = ("n01443537", "n01629819")
    for wnid in wnids:
        for i in range(2):
            image(tmp_path / "train" / wnid / "images" / f"{wnid}_{i}.JPEG")
    for i in range(4):
        image(tmp_path / "val/images" / f"val_{i}.JPEG")
    lines = "".join(f"val_{i}.JPEG\t{wnids[i < 1]}\t0\t0\t62\t62\n" for i in range(4))
    (tmp_path / "val/val_annotations.txt").write_text(lines, "utf-8")
    manifest = manifest_of(tmp_path, "imagenet")
    found = zip(manifest.splits["test"].paths, manifest.labels("test").tolist(), strict=True)
    assert sorted(found) == [(f"val/images/val_{i}.JPEG", int(i < 1)) for i in range(4)]
    with pytest.raises(UserError, match=r"val: no folder of a class .* kind: imagenet reads val_annotations.txt"):
        listed(tmp_path)


@pytest.mark.parametrize(("train", "val"), [(COMPOSED, APART), (APART, COMPOSED)])
def test_accents_are_equal_however_they_are_written(tmp_path, train, val):
    tree(tmp_path, (train, "dog"), ["train"])
    tree(tmp_path, (val, "dog"), ["val"])
    (tmp_path / "mine.csv").write_text(f"class,concept\n{APART},drink\ndog,{APART}\n", "utf-8")
    (tmp_path / "params.yaml").write_text(f"classes: [{APART}, dog]\nroot: {APART}\n", "utf-8")
    params = read(tmp_path / "params.yaml")
    assert params == {"classes": [COMPOSED, "dog"], "root": APART}
    found = listed(tmp_path, classes=params["classes"])
    assert (found["classes"], len(found["train"]), len(found["test"])) == ([COMPOSED, "dog"], 6, 6)
    csv = {"csv": str(tmp_path / "mine.csv")}
    assert group_classes([train, "dog"], concepts=csv) == {train: "drink", "dog": COMPOSED}
    assert group_classes([train], synsets={val: "coffee.n.01"}, concepts="table1") == {train: "others"}


def test_two_folders_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match=f"train: two folders are named {COMPOSED}"):
        listed(tree(tmp_path, (COMPOSED, APART)))


def test_names_of_files_do_not_depend_on_the_locale(tmp_path):
    root = tree(tmp_path / "ü", (COMPOSED, "dog"))
    program = (
        "from hrrl.data.manifest import prepare; from hrrl.data.locate import Definition;"
        f"from hrrl.data.loading import open_split; root = {str(root)!a};"
        "prepare(Definition(kind='imagefolder', root=root), 'm').write('m'); open_split('m', root, 'test', 8)"
    )
    python("-c", program, folder=tmp_path, **ASCII)
    prepare(Dataset(kind="imagefolder", root=str(root)), "m").write(tmp_path / "here")
    assert read_manifest(tmp_path / "m").splits["train"].paths[0] == f"train/{COMPOSED}/0.png"
    assert (tmp_path / "m/manifest.csv").read_bytes() == (tmp_path / "here/manifest.csv").read_bytes()


def test_members_of_zips_by_other_programs(tmp_path):
    """The last names are UTF-8 without saying so."""
    images, path = tree(tmp_path / "images", (COMPOSED, "dog")), tmp_path / "mine.zip"
    expected = listed(images)
    for before, after in (("/", r"\\"), ("/", "//"), ("^", "./"), ("é", "\1\2")):
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(images.rglob("*.png"), reverse=True):
                member = zipfile.ZipInfo("x")
                member.filename = re.sub(before, after, str(file.relative_to(images)))
                archive.writestr(member, file.read_bytes())
        path.write_bytes(path.read_bytes().replace(b"caf\1\2", "café".encode()))
        assert listed(path) == expected, after


def caltech101(root):
    (root / "caltech101/Annotations").mkdir(parents=True)
    (root / "caltech101/101_ObjectCategories/BACKGROUND_Google").mkdir(parents=True)
    for name, i in itertools.product("abc", range(1, 6)):
        image(root / f"caltech101/101_ObjectCategories/{name}/image_{i:04d}.jpg")


def sun397(root):
    for name, i in itertools.product("abc", range(5)):
        image(root / f"SUN397/{name}/{name}rch/sun_{i}.jpg")
    (root / "SUN397/ClassName.txt").write_text("/a/arch\n/b/brch\n/c/crch\n", "utf-8")


def emnist(root):
    (root / "EMNIST/raw").mkdir(parents=True)
    for split, n in (("train", 9), ("test", 6)):
        for name, array in (("images-idx3", crops(n, 28, 28)[..., 0]), ("labels-idx1", 1 + np.arange(n) % 3)):
            (root / f"EMNIST/raw/emnist-letters-{split}-{name}-ubyte").write_bytes(idx(array))


def rendered_sst2(root):
    for split, images in (("train", 3), ("test", 2), ("dev", 1)):
        tree(root, ["negative", "positive"], [f"rendered-sst2/{split}"], images)


def oxford_pets(root):
    (root / "oxford-iiit-pet/annotations").mkdir(parents=True)
    for split, numbers in (("trainval", (1, 2, 3)), ("test", (4, 5))):
        pets = [(f"a_{name}_{i}", k) for k, name in enumerate("xyz", 1) for i in numbers]
        for name, _ in pets:
            image(root / f"oxford-iiit-pet/images/{name}.jpg")
        lines = "".join(f"{name} {k} 1 1\n" for name, k in pets)
        (root / f"oxford-iiit-pet/annotations/{split}.txt").write_text(lines, "utf-8")


def imagenette(root):
    for split, images in (("train", 3), ("val", 2)):
        for wnid, i in itertools.product(("n01440764", "n02102040", "n03028079"), range(images)):
            image(root / "imagenette2" / split / wnid / f"{i}.JPEG")


CUT = {"Caltech101": caltech101, "SUN397": sun397}  # five images of a class
# Three and two images of a class.
LIBRARY = CUT | {
    "EMNIST/letters": emnist,
    "RenderedSST2": rendered_sst2,
    "Imagenette": imagenette,
    "OxfordIIITPet": oxford_pets,
}


@pytest.mark.parametrize("name", LIBRARY)
def test_torchvisions_datasets_with_and_without_a_split(tmp_path, capsys, name):
    LIBRARY[name](tmp_path)
    manifest = manifest_of(tmp_path, f"torchvision/{name}")
    counts = [np.bincount(manifest.labels(split)).tolist() for split in ("train", "test")]
    classes = 2 if name == "RenderedSST2" else 3
    assert counts == ([[4] * 3, [1] * 3] if name in CUT else [[3] * classes, [2] * classes])
    assert ("every fifth image of a class is test" in capsys.readouterr().err) == (name in CUT)
    assert (None in manifest.wnids) == (name != "Imagenette")
    if name in CUT:
        positions = [sorted(int(path.partition("#")[2]) for path in rows.paths) for rows in manifest.splits.values()]
        assert positions == [[i for i in range(15) if i % 5 < 4], [4, 9, 14]]
    manifest.write(tmp_path / "manifest")
    test = open_split(tmp_path / "manifest", str(tmp_path), "test", 224)
    assert next(iter(test.eval_batches(2)))[0].shape == (2, 3, 224, 224)


def test_what_is_none_of_torchvisions_classified_images_is_said_so(tmp_path):
    for name, message in {
        "EMNIST": "known: torchvision/EMNIST/byclass, torchvision/EMNIST/bymerge",
        "CocoDetection": "wants annFile as well",
        "MNIST/letters": "MNIST has no parts",
        "FakeData": "has no FakeData with a root",
    }.items():
        with pytest.raises(UserError, match=message):
            listed(tmp_path, f"torchvision/{name}")


def encoded(values: np.ndarray, kind: str, **options) -> bytes:
    """An image of values; of "colours", as three equal channels of 16 bits in a PNG, which Pillow does not write."""
    if kind == "colours":
        rows = np.repeat(values.astype(">u2")[..., None], 3, 2).reshape(len(values), -1)
        return png(*values.shape[::-1], 16, b"".join(b"\0" + row.tobytes() for row in rows))
    content = io.BytesIO()
    Image.fromarray(values).save(content, kind, **options)
    return content.getvalue()


def ramp(most: float, dtype: str) -> np.ndarray:
    return (np.linspace(0, 1, 256).reshape(16, 16) * most).round(0 if most > 1 else 6).astype(dtype)


NOTED = PngInfo()
NOTED.add_text("workflow", "x" * 2**21, zip=True)
SCALED = {
    "16 bits": (ramp(65535, "u2"), "PNG", {}),
    "16 bits of colours": (ramp(65535, "u2"), "colours", {}),
    "16 bits of a PGM": (ramp(65535, "u2"), "PPM", {}),
    "15 bits and a sign": (ramp(32767, "u2"), "TIFF", {"tiffinfo": {339: 2}}),
    "12 bits that a TIFF states": (ramp(4095, "u2"), "TIFF", {"tiffinfo": {281: 4095}}),
    "32 bits with their largest": (ramp(255, "i4"), "TIFF", {"tiffinfo": {281: 255}}),
    "floats with their largest": (ramp(1, "f4"), "TIFF", {"tiffinfo": {341: 1.0}}),
    "8 bits beside 2 MB of text": (ramp(255, "u1"), "PNG", {"pnginfo": NOTED}),
}
REFUSED = {
    "8 bits in 16": (ramp(255, "u2"), "PNG", "comes out black: of 16 bits"),
    "12 bits in 16 of colours": (ramp(4095, "u2"), "colours", "comes out black: of 16 bits"),
    "8 bits in a 16-bit TIFF": (ramp(255, "u2"), "TIFF", "comes out black: of 16 bits"),
    "32 bits": (ramp(255, "i4"), "TIFF", "integers of 32 bits, and does not say which value is white"),
    "floats": (ramp(1, "f4"), "TIFF", "floats, and does not say which value is white"),
}


@pytest.mark.parametrize("case", SCALED)
def test_values_are_scaled_by_what_the_file_says(case):
    values, kind, options = SCALED[case]
    dark = {"pad_width": ((0, 300), (0, 0)), "mode": "constant"}  # more rows than are taken at a time
    found = decode(encoded(np.pad(values, constant_values=values[0, 1], **dark), kind, **options)).int().numpy()
    expected = np.pad(np.arange(256).reshape(16, 16), constant_values=1, **dark)
    assert found.shape == (3, 316, 16)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("case", REFUSED)
def test_images_that_would_be_black_are_refused(case):
    values, kind, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        decode(encoded(values, kind))


def test_black_is_no_depth(tmp_path, capsys):
    image(tree(tmp_path) / "train/cat/black.jpg", "black")
    image(tmp_path / "train/cat/red.gif", (200, 3, 1))
    (tmp_path / "train/dog/deep.png").write_bytes(encoded(ramp(0, "u2"), "PNG"))
    assert len(listed(tmp_path)["train"]) == 9
    assert "mine train: 3 images are of one colour all over, the first is" in capsys.readouterr().err


def write_shards(folder: Path, name: str, images: list[bytes], labels: list[int]) -> None:
    """Tar files of <key>.jpg and <key>.cls, four images in a file."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        with tarfile.open(folder / f"{name}-{i // 4:06}.tar", "a") as shard:
            for ending, content in (("jpg", image), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{i:08}.{ending}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    found = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed: hrrl[huggingface]")
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return found


@pytest.fixture
def saved(tmp_path, datasets):
    """Writes a dataset of Hugging Face of {split or parquet file: labels}, and of images by the same names."""
    image(tmp_path / "one.png")

    def write(rows, label=None, images=None, names=("a", "b")):
        kinds = {"coarse": datasets.ClassLabel(names=["x"]), "label": label or datasets.ClassLabel(names=list(names))}
        features = datasets.Features(image=datasets.Image(), **kinds)
        made, root = datasets.DatasetDict(), tmp_path / "saved"
        for name, of in rows.items():
            files = images[name] if images else [(tmp_path / "one.png").read_bytes()] * len(of)
            content = [file and {"bytes": file, "path": None} for file in files]
            made[name] = datasets.Dataset.from_dict({"image": content, "coarse": [0] * len(of), "label": of}, features)
            if name.endswith(".parquet"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                made[name].to_parquet(root / name)
        if not root.exists():
            (made if len(rows) > 1 else made["train"]).save_to_disk(root)
        return root

    return write


@pytest.mark.parametrize("how", ["split", "one split", "parquet", "parquet of other programs", "webdataset"])
def test_a_dataset_of_hugging_face_is_the_tree_that_it_was_made_from(tmp_path, monkeypatch, saved, how):
    monkeypatch.setattr("hrrl.data.indexed_dataset.EVERY", 3)  # three images of a class here
    write_tree(tmp_path / "tree", WNIDS[:2], train=3, val=3, held_out="test")
    root, images, labels = tmp_path / "saved", {}, {}
    for split in ["train"] if how == "one split" else ["train", "test"]:
        paths = sorted((tmp_path / "tree" / split).rglob("*.JPEG"))
        name = f"data/{split}-00000-of-00001.parquet" if how.startswith("parquet") else split
        images[name], labels[name] = [p.read_bytes() for p in paths], [WNIDS.index(p.parent.name) for p in paths]
    if how == "webdataset":
        root.mkdir()
        for split, of in labels.items():
            write_shards(root, f"tiny-{split}", images[split], of)
    elif how == "parquet of other programs":
        (root / "data").mkdir(parents=True)
        for name, of in labels.items():
            content = [{"bytes": file, "path": None} for file in images[name]]
            pandas.DataFrame({"img": content, "label": [WNIDS[y] for y in of]}).to_parquet(root / name)
    else:
        saved(labels, images=images, names=WNIDS[:2])
    manifest = manifest_of(root, "huggingface")
    assert manifest.classes == (["0", "1"] if how == "webdataset" else WNIDS[:2])
    assert manifest.wnids == ([None, None] if how == "webdataset" else WNIDS[:2])
    assert list(manifest.splits["test"].paths) == [f"test#{i}" for i in ((2, 5) if how == "one split" else range(6))]
    manifest.write("manifest")
    files = list(images.values())
    for split, listed in manifest.splits.items():
        for i, path in enumerate(listed.paths):
            source, _, position = path.partition("#")
            expected = files[source == "test" and how != "one split"][int(position)]
            assert (len(expected), zlib.crc32(expected)) == (listed.bytes[i], listed.crcs[i])
            assert listed.labels[i] == (int(position) >= 3)
        read = open_split("manifest", str(root), split, 72).eval_batches(3)  # which compares sizes and CRCs
        assert sum(len(x) for x, _ in read) == len(listed.paths)


def test_a_damaged_dataset_of_hugging_face_is_named(tmp_path, datasets):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/train-0.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with refused(rf"^{tmp_path}/saved: cannot be read \("):
        listed(tmp_path / "saved", "huggingface")
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "saved/train-0.parquet")
    with pytest.raises(UserError, match="no column of images among text"):
        listed(tmp_path / "saved", "huggingface")


def test_parquet_files_are_of_the_split_that_their_folder_or_name_says(saved, datasets, tmp_path):
    root = saved({"train/part-00000-ab.parquet": [0, 1, 1], "test/0000.parquet": [0, 1]})
    manifest = manifest_of(root, "huggingface")
    assert [np.bincount(manifest.labels(split)).tolist() for split in ("train", "test")] == [[1, 2], [1, 1]]
    root.rename(tmp_path / "before")
    root = saved({"learn.parquet": [2, 10, 1], "judge.parquet": [10, 1]}, datasets.Value("int64"))
    manifest = manifest_of(root, "huggingface", train="learn", test="judge")
    assert manifest.classes == ["1", "2", "10"]  # as numbers
    assert [manifest.labels(split).tolist() for split in ("train", "test")] == [[1, 2, 0], [2, 0]]


@pytest.mark.parametrize("missing", [-1, None, np.nan])
def test_images_without_a_class_are_left_out_and_counted(saved, datasets, missing, capsys):
    kind = None if missing is None or missing == -1 else datasets.Value("float64")  # as pandas writes them
    found = listed(saved({"train": [0, missing, 1], "test": [1, 0, missing]}, kind), "huggingface")
    assert (found["classes"], found["train"]) == (["0", "1"] if kind else ["a", "b"], ["train#0", "train#2"])
    assert capsys.readouterr().err.count("left out 1 images of no class, or of one that train does not have") == 2


def test_hidden_files_and_folders_beside_class_folders_without_a_split_are_left_out(tmp_path, capsys):
    tree(tmp_path, ["a", ".ipynb_checkpoints"], ["folder"], 5)
    (tmp_path / "folder/a/4.png").rename(tmp_path / "folder/a/4.gif")
    for name in ("._0.png", "5.heic"):
        (tmp_path / "folder/a" / name).write_bytes(b"?")
    image(tmp_path / "folder/a/.ipynb_checkpoints/0-checkpoint.png")
    (tmp_path / "folder/a/1.png").write_bytes(deep := encoded(ramp(65535, "u2"), "PNG"))
    found = manifest_of(tmp_path / "folder", "torchvision/ImageFolder")
    assert (found.classes, list(found.splits["test"].paths)) == (["a"], ["test#9"])
    train = found.splits["train"]
    assert (len(train.paths), train.crcs[1]) == (4, zlib.crc32(deep))  # whose 16 bits are kept
    assert f"left out 1 files, such as {tmp_path}/folder/a/5.heic: names of images end" in capsys.readouterr().err


def test_each_split_counts_its_classes_in_its_own_way(saved):
    saved({"train-0.parquet": [0, 1, 1]}, names=["a", "b"])
    root = saved({"test-0.parquet": [0, 2, 1, 1]}, names=["b", "x", "a"])
    manifest = manifest_of(root, "huggingface")
    assert [manifest.labels(split).tolist() for split in ("train", "test")] == [[0, 1, 1], [1, 0]]
    manifest.write("manifest")
    saved({"test-0.parquet": [2, 0, 1, 1]}, names=["b", "x", "a"])
    changed = "0 images more, 0 fewer, 2 of another size or class than its manifest; the first is test#0"
    assert changed in relisted(Dataset(kind="huggingface", root=str(root)), "mine", "manifest")


def test_a_part_of_a_dataset_of_hugging_face_is_said_to_be_one(saved, tmp_path, capsys):
    listed(saved({"train-00000-of-00003.parquet": [0, 1], "test-0.parquet": [0, 1]}), "huggingface")
    assert "saved: train has 1 of 3 files; reading what is there" in capsys.readouterr().err
    (tmp_path / "shards").mkdir()
    write_shards(tmp_path / "shards", "train", [b"?"], [0])
    os.truncate(tmp_path / "shards/train-000000.tar", 2048)  # where the library sees the end of a whole one
    with refused("shards/train-000000.tar: is cut off"):
        listed(tmp_path / "shards", "huggingface")


def test_of_several_columns_of_images_that_of_the_name_counts(datasets, tmp_path):
    image(tmp_path / "one.png")
    for i, (columns, message) in enumerate(((["depth", "image"], None), (["left", "right"], "left and right are all"))):
        kinds = datasets.Features(dict.fromkeys(columns, datasets.Image()) | {"label": datasets.Value("int64")})
        images = [[b"no image"] * 10, [(tmp_path / "one.png").read_bytes()] * 10]
        rows = {name: [{"bytes": file} for file in of] for name, of in zip(columns, images, strict=True)}
        datasets.Dataset.from_dict(rows | {"label": [0, 1] * 5}, kinds).save_to_disk(tmp_path / str(i))
        with refused(message) if message else contextlib.nullcontext():
            assert len(listed(tmp_path / str(i), "huggingface")["train"]) == 8


def test_what_is_wrong_with_a_dataset_of_hugging_face_is_one_line(saved, datasets, tmp_path):
    several, none = datasets.List(datasets.ClassLabel(names=["a", "b"])), dict.fromkeys(("train", "test"), [None] * 2)
    versions = {f"train-0000{i}-of-0000{n}.parquet": [0, 1] for i, n in ((0, 1), (0, 2), (1, 2))}
    for rows, more, message in (
        ({"a/train.parquet": [0], "b/train.parquet": [0]}, {}, "a/train.parquet and b/train.parquet are both of train"),
        ({"learn.parquet": [0, 1], "judge.parquet": [0, 1]}, {}, "no split train in it, but judge, learn"),
        (versions, {}, "train has 3 files, such as train-00000-of-00001.parquet and .*, whose names say 2"),
        ({"train": [[0], [0, 1]], "test": [[0], [1]]}, {"label": several}, "label holds several values for an image"),
        ({"train": [0, 1], "test": [0, 1]}, {"images": none}, "train#0: cannot be read: there is none in this"),
    ):
        root = saved(rows, **more)
        with refused(message):
            listed(root, "huggingface")
        root.rename(tmp_path / f"{len(list(tmp_path.iterdir()))}")


def test_val_is_held_out_before_test_and_that_before_valid(tmp_path):
    tree(tmp_path / "one")
    for held_out, place in (("test", "val"), ("valid", "test")):
        tree(tmp_path / "one", splits=[held_out])
        assert {path.partition("/")[0] for path in listed(tmp_path / "one")["test"]} == {place}
        (tmp_path / "one" / place).rename(tmp_path / f"{place} before")


def test_folders_of_systems_are_no_classes_and_two_datasets_no_one(tmp_path, capsys):
    before = listed(tree(tmp_path / "one"))
    image(tmp_path / "one/train/cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg")
    image(tmp_path / "one/train/@eaDir/0.jpg")
    image(tmp_path / "one/val/__MACOSX/cat/0.png")
    assert listed(tmp_path / "one") == before
    image(tmp_path / "one/train/.net/0.png")
    (tmp_path / "one/train/fish").symlink_to(tmp_path / "a disk that is not there")
    assert listed(tmp_path / "one") == before
    notes = capsys.readouterr().err
    assert "one/train: left out 2 hidden folders, such as .net" in notes
    assert "one/train: left out 1 files, such as train/fish: names of images end in .jpeg" in notes
    for link, to in (("train/train", "train"), ("train/cat/cat", "train/cat"), ("val/dog/up", "..")):
        (tmp_path / "one" / link).symlink_to(tmp_path / "one" / to)  # as `ln -s` makes that is called twice
    (tmp_path / "two/bird").mkdir(parents=True)
    for split in ("train", "val"):
        (tmp_path / "one" / split / "bird").symlink_to(image(tmp_path / "two/bird/0.png") or tmp_path / "two/bird")
    assert listed(tmp_path / "one") == {
        "classes": ["bird", *before["classes"]],
        **{split: [f"{folder}/bird/0.png", *before[split]] for split, folder in (("train", "train"), ("test", "val"))},
    }
    (tmp_path / "one/val").rename(tmp_path / "one/Valid")
    assert len(listed(tmp_path / "one")["test"]) == 7
    (tmp_path / "one/train").rename(tmp_path / "one/train v1.0-clean")
    assert len(listed(tmp_path / "one", train="train v1.0-clean[:2]")["train"]) == 5
    (tmp_path / "one/train v1.0-clean").rename(tmp_path / "one/train")
    tree(tmp_path / "two")
    with pytest.raises(UserError, match="one and two both have a folder train/; take one of them as root"):
        listed(tmp_path)


def test_a_library_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"datasets is not installed; pip install 'hrrl\[huggingface\]'"):
        listed(tmp_path, "huggingface")


CLASSES = ["; touch pwned", "$(touch pwned)", "`touch pwned`", "<script>alert(1)<∕script>", "x..", "-rf", "'"]
CLASSES += ['a"b,c', "ä b", "Zoo"]


def test_class_folders_may_have_any_printable_name(tmp_path):
    tree(tmp_path / "images", [unicodedata.normalize("NFD", name) for name in CLASSES])  # as macOS writes accents
    image(tmp_path / "images/train/-rf/$(touch pwned).png")
    given = definition("imagefolder", tmp_path / "images")
    found = prepare(given, "mine")
    found.write("manifest")
    again = read_manifest("manifest")
    assert again.classes == found.classes
    assert again.classes == sorted(CLASSES)  # by code points, whatever the locale
    assert list(again.splits["train"].paths) == list(found.splits["train"].paths)
    assert relisted(given, "mine", "manifest") is None
    source = open_split("manifest", str(tmp_path / "images"), "train", 8)
    assert len(next(source.eval_batches(100))[0]) == 3 * len(CLASSES) + 1
    with open("mine.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("class", "concept"), *((name, "thing") for name in CLASSES)])
    found = group_classes(source.classes, None, {}, {"csv": "mine.csv"})
    assert set(found.values()) == {"thing"}
    assert sorted(os.listdir()) == ["data", "images", "manifest", "mine.csv"]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", os.fsdecode(b"caf\xe9")])
def test_a_class_folder_that_no_line_can_show_is_named(tmp_path, name):
    tree(tmp_path, ["a", name])
    with pytest.raises(UserError, match="holds a character that no line can show; rename its folder") as error:
        manifest_of(tmp_path)
    assert str(error.value).isprintable()
