"""Damaged and hostile files: each ends in pixels or in one line that names it, never in a crash, a hang, more memory.

A few random mutations here, the same ones each time; `make fuzz` goes on for FUZZ seconds a test.
"""

import gzip
import io
import itertools
import multiprocessing
import os
import pickle
import re
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT, refused
from PIL import Image
from scipy.io import savemat
from test_data import PHOTOS, WNIDS, crops, definition, png, save, write_cifar, write_fashion, write_tree, zip_of

import hrrl.data.decode
from hrrl.data import isolated, loading
from hrrl.data.decode import check, decode
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare, read_manifest
from hrrl.errors import UserError

SECONDS = float(os.environ.get("FUZZ", 0))  # of each test; 0 for a few rounds
GIGABYTE = 2**20  # in the units of ru_maxrss


pytestmark = pytest.mark.usefixtures("elsewhere")


def rounds(number: int):
    """So many rounds, or those of FUZZ seconds."""
    until = time.monotonic() + SECONDS
    return itertools.takewhile(lambda i: time.monotonic() < until if SECONDS else i < number, itertools.count())


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A copy with one to three changes: cut, bits flipped, turned, zeroed, spliced, put in, or numbers made odd."""
    for kind in random.integers(0, 8, random.integers(1, 4)):
        a, b = sorted(int(i) for i in random.integers(0, len(content) + 1, 2))
        a, b = (a % 64, a % 64 + 1) if kind == 1 else (a, min(b, a + 64))  # numbers stand in headers
        head, part, rest = content[:a], content[a:b] or b"x", content[b:]
        odd, bit = [b"\0", b"\1", b"\x7f", b"\x80", b"\xff"][random.integers(5)], 1 << int(random.integers(8))
        flipped, more = bytes([part[0] ^ bit]) + part[1:], random.bytes(8)
        changed = [b"", odd, flipped, part[::-1], bytes(len(part)), part + part, more + part, b""][kind]
        content = head + changed + (rest if kind else b"")
    return content or b"x"


def encoded(image: Image.Image, name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def images() -> dict[str, bytes]:
    """A photograph in every format, in several ways."""
    plain = Image.fromarray(PHOTOS[1][200:240, 300:330])
    grey, modes = plain.convert("L"), [(name, mode) for name in ("PNG", "BMP", "TIFF") for mode in ("RGB", "L", "P")]
    ways = {"progressive": {"progressive": True}, "restart": {"restart_marker_blocks": 2}, "whole": {"subsampling": 0}}
    found = {f"JPEG {name}": encoded(plain, "JPEG", **options) for name, options in ({"": {}} | ways).items()}
    found |= {f"{name} {mode}": encoded(plain.convert(mode), name) for name, mode in modes}
    found |= {name: encoded(plain, name) for name in ("GIF", "PPM", "WEBP")}
    found |= {"JPEG cmyk": encoded(plain.convert("CMYK"), "JPEG"), "PGM": encoded(grey, "PPM")}
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) << 8)
    return found | {"TIFF lzw": encoded(plain, "TIFF", compression="tiff_lzw"), "PNG 16": encoded(deep, "PNG")}


def outcome(content: bytes):
    """What decoding says, and whether the check at listing time says the same."""
    answers = []
    for function in (decode, check):
        try:
            answers.append(function(content))
        except ValueError as error:
            answers.append(str(error))
    return answers[0], isinstance(answers[0], str) == isinstance(answers[1], str)


def test_a_mutated_image_ends_in_pixels_or_a_line():
    random, originals, ends, names = np.random.default_rng(0), images(), {"pixels": 0, "line": 0}, []
    whole = {name: decode(content) for name, content in originals.items()}

    def mutants():
        for _ in rounds(1000):
            names.append(str(random.choice(list(originals))))
            yield mutated(originals[names[-1]], random)

    for i, answer in enumerate(isolated.imap(outcome, mutants(), 1)):
        name = names[i]
        if isinstance(answer, Exception):  # the decoder died, or took too long or too much: caught, as in a run
            assert type(answer) is ValueError, answer
            continue
        found, agreed = answer
        assert agreed, name
        ends["line" if isinstance(found, str) else "pixels"] += 1
        if isinstance(found, str):
            assert "\n" not in found
        else:
            assert (found.dtype, found.shape[0]) == (torch.uint8, 3)
            assert not name.startswith("PNG") or torch.equal(found, whole[name])
    assert min(ends.values()) > 10


def tree(folder: Path) -> Path:
    return write_tree(folder / "tree", train=2, val=1, size=(40, 40))


def zipped(folder: Path) -> Path:
    return zip_of(tree(folder.parent), folder / "images.zip", zipfile.ZIP_DEFLATED)


def fashion(folder: Path, inside: str = "", **options) -> Path:
    write_fashion(folder / inside, 20, **options)
    return folder


def cifar(folder: Path, packed: bool = False) -> Path:
    return write_cifar(folder, crops(12, 32, 32), packed).parent


def svhn(folder: Path, content: dict | None = None) -> Path:
    pixels = crops(10, 32, 32).transpose(1, 2, 3, 0)
    for split in ("train", "test"):
        savemat(folder / f"{split}_32x32.mat", content or {"X": pixels, "y": np.arange(1, 11, dtype=np.uint8)[:, None]})
    return folder


def sop(folder: Path) -> Path:
    root, names = folder / "Stanford_Online_Products", ("bicycle_final", "cabinet_final")
    lines = [f"{k} {k} {k} {name}/1.JPG\n" for k, name in enumerate(names, 1)]
    for name in names:
        save(root / name / "1.JPG", crops(1, 40, 40)[0])
    for split in ("train", "test"):
        (root / f"Ebay_{split}.txt").write_text("image_id class_id super_class_id path\n" + "".join(lines))
    return folder


KINDS = {"imagefolder": tree, "imagefolder zip": zipped, "imagenet": tree, "fashion_mnist": fashion, "svhn": svhn}
KINDS |= {"sop": sop, "cifar10": cifar, "cifar10 packed": partial(cifar, packed=True)}
KINDS |= {"torchvision/FashionMNIST": partial(fashion, inside="FashionMNIST/raw", suffix="")}


def listed(kind: str, root: Path):
    name = kind.split()[0]
    some = {"classes": ["airplane", "automobile", "truck"]} if name == "cifar10" else {}  # those of write_cifar
    return prepare(definition(name, root, **some), "x")


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_with_a_mutated_file_ends_in_a_manifest_or_a_line(tmp_path, kind):
    (tmp_path / "data").mkdir()
    root = KINDS[kind](tmp_path / "data")
    files = [file for file in (root.rglob("*") if root.is_dir() else [root]) if file.is_file()]
    random, lines = np.random.default_rng(0), []
    for _ in rounds(6):
        file = files[random.integers(len(files))]
        content = file.read_bytes()
        file.write_bytes(mutated(content, random))
        try:
            listed(kind, root)
        except UserError as error:
            lines.append(str(error))
        file.write_bytes(content)
    assert [line for line in lines if "\n" in line] == []
    assert len(listed(kind, root).labels("train"))


def with_file(write: Callable[[Path], Path], name: str, content: bytes) -> Callable[[Path], Path]:
    """A dataset with a file that is not as its publisher made it."""

    def made(folder: Path) -> Path:
        root = write(folder)
        (root / name).write_bytes(content)
        return root

    return made


def pipe(folder: Path) -> Path:
    os.mkfifo(tree(folder) / "train" / WNIDS[0] / "a.png")
    return folder / "tree"


def sparse(folder: Path) -> Path:
    file = tree(folder) / "train" / WNIDS[0] / "a.png"
    file.touch()
    os.truncate(file, 20 * 2**30)
    return folder / "tree"


def zip_of_zeros(folder: Path) -> Path:
    name = f"train/{WNIDS[0]}/z.png"
    with zipfile.ZipFile(zipped(folder), "a", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        member.write(bytes(2**26 + 1))
    return folder / "images.zip"


def lying_zip(folder: Path) -> Path:
    """Its list of members says that the first one has 10 bytes."""
    content = bytearray(zipped(folder).read_bytes())
    at = content.find(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 10)
    (folder / "images.zip").write_bytes(content)
    return folder / "images.zip"


def endless_tar(folder: Path) -> Path:
    with gzip.open(folder / "cifar-10-python.tar.gz", "wb", 1) as stream:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.size = 2**33
        stream.write(member.tobuf())
        for _ in range(70):
            stream.write(bytes(2**20))
    return folder


def idx_of(*sizes: int) -> bytes:
    """Enough pixels for twenty images, by a header of its own."""
    return gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">iii", *sizes) + bytes(20 * 784))


def nested_cells() -> bytes:
    """A mat file of cells in cells in cells, deeper than the stack of a reader that calls itself."""
    cell = struct.pack("<IIIIIIii", 6, 8, 1, 0, 5, 8, 1, 1) + struct.pack("<HHI", 1, 1, ord("X"))
    size, parts = 8, [struct.pack("<II", 14, 0)]
    while size < 2**20:
        parts.append(struct.pack("<II", 14, size + len(cell)) + cell)
        size += len(parts[-1])
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(reversed(parts))


def path_outside(folder: Path) -> Path:
    save(folder / "out/1.JPG", crops(1, 40, 40)[0])
    with open(sop(folder) / "Stanford_Online_Products/Ebay_train.txt", "a", encoding="utf-8") as file:
        file.write("3 3 3 ../out/1.JPG\n")
    return folder


FLAT = {"X": np.zeros((64, 32, 3, 3), np.uint8), "y": np.ones((6, 1))}
LABELS = {"data": np.zeros((4, 3072), np.uint8), "labels": [99] * 4}
PNG, IDX, MAT = f"train/{WNIDS[0]}/a.png", "train-images-idx3-ubyte.gz", "train_32x32.mat"
PICKLE, COMMAND = "cifar-10-batches-py/data_batch_1", b"cos\nsystem\n(S'touch ran'\ntR."
IMAGES = {
    "a PNG of 10,001 x 10,000": (png(10_001, 10_000, 8, bytes(10**6)), "has 10001 x 10000 pixels; 1 to 100,000,000"),
    "a PNG of 50,000 x 50,000": (png(50_000, 50_000, 8, bytes(10**6)), "at most 100,000,000 pixels are decoded"),
}
ARRAYS = {
    "a packed file of zeros": (gzip.compress(bytes(2**20)) * 70, "unpacks to more than 64 times its size"),
    "an idx file of 2^93 bytes": (idx_of(2**31 - 1, 2**31 - 1, 2**31 - 1), "has images of"),
    "an idx file of fewer than no images": (idx_of(-1, 28, 28), IDX[:-3]),
    "an idx file of other images": (idx_of(20, 14, 56), "has images of [14, 56] pixels"),
}
PICKLES = {
    "a pickle that runs a command": (COMMAND, "(contains os.system)"),
    "a pickle of a terabyte": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "data_batch_1"),
    "a pickle without end": (b"(" * 10**5 + b"t" * 10**5 + b".", "data_batch_1"),
    "a label that no class has": (pickle.dumps(LABELS), "data_batch_1"),
}
BOMBS = {
    **{bomb: ("imagefolder", with_file(tree, PNG, content), says) for bomb, (content, says) in IMAGES.items()},
    **{bomb: ("fashion_mnist", with_file(fashion, IDX, content), says) for bomb, (content, says) in ARRAYS.items()},
    **{bomb: ("cifar10", with_file(cifar, PICKLE, content), says) for bomb, (content, says) in PICKLES.items()},
    "a pipe": ("imagefolder", pipe, "is no regular file"),
    "a file of 20 GB": ("imagefolder", sparse, "at most 268,435,456 are read"),
    "a zip of zeros": ("imagefolder", zip_of_zeros, "bytes, more than 64 times its size"),
    "a zip that lies": ("imagefolder", lying_zip, "damaged in the zip"),
    "an endless tar.gz": ("cifar10", endless_tar, "unpacks to more than 64 times its size"),
    "a mat file of nested cells": ("svhn", with_file(svhn, MAT, nested_cells()), f"{MAT}: cannot be read"),
    "a mat file of other images": ("svhn", partial(svhn, content=FLAT), "X has the shape (64, 32, 3, 3)"),
    "a list that leaves the dataset": ("sop", path_outside, "Ebay_train.txt"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, bomb):
    kind, write, message = BOMBS[bomb]
    (tmp_path / "data").mkdir()
    root = write(tmp_path / "data")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with refused(re.escape(message)):
        listed(kind, root)
    assert time.monotonic() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIGABYTE
    assert not list(tmp_path.rglob("ran"))


def crash(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(_):
    while True:
        pass


def hoard(_):
    return len(bytearray(4 * 2**30))


ENDS = {crash: "ends the process that reads it (SIGSEGV", hang: "takes more than 0.2 s to read"}
ENDS |= {hoard: "takes more than 1.0 GB of memory to read"}


@pytest.mark.parametrize(("function", "message"), ENDS.items())
def test_what_happens_apart_is_an_error_and_the_next_call_works(monkeypatch, function, message):
    """Items of the same group, of one that waits, and of one that is not yet asked for."""
    monkeypatch.setattr(isolated, "SECONDS", 0.2)
    answers = list(isolated.imap(lambda item: function(item) if item == 3 else item, range(20), 2, chunk=2))
    error = answers.pop(3)
    assert answers == [i for i in range(20) if i != 3]
    assert type(error) is ValueError
    assert message in str(error)


def test_a_reader_that_is_killed_costs_no_file_and_gives_no_other_files_pixels():
    """Half an answer, or none, would be taken for the next one; that the system killed it is no file's fault."""
    answers = isolated.imap(lambda item: np.full(100, item, dtype=np.uint8), range(40), 1, chunk=1)
    means = [int(next(answers).mean()) for _ in range(2)]
    [child] = multiprocessing.active_children()
    child.kill()
    assert means + [int(answer.mean()) for answer in answers] == list(range(40))


ENDED = """
import os, signal
from hrrl.data import isolated
answers = isolated.imap(lambda _: os.getpid(), range(100 * isolated.CHUNK), 2)
print(*{next(answers) for _ in range(8 * isolated.CHUNK)}, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_readers_end_with_the_process_that_asks_them(tmp_path):
    done = subprocess.run([sys.executable, "-c", ENDED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    _, alive = psutil.wait_procs([psutil.Process(int(p)) for p in done.stdout.split() if psutil.pid_exists(int(p))], 30)
    assert (bool(done.stdout), alive) == (True, [])


@pytest.mark.parametrize("size", [32, 72])
def test_a_decoder_that_crashes_names_the_file(tmp_path, monkeypatch, size):
    """No known file crashes the decoders, so one is made to: before training, and in the processes of its loader."""
    given = definition("imagefolder", tree(tmp_path))
    prepare(given, "x").write("manifest")
    file = tmp_path / "tree" / read_manifest("manifest").splits["train"].paths[3]
    bad = file.read_bytes()
    monkeypatch.setattr(loading, "decode", lambda data: crash(data) if data == bad else decode(data))
    with refused(rf"^{file}: ends the process that reads it \(SIGSEGV"):
        list(open_split("manifest", given.root, "train", size).eval_batches(2))


def test_a_decoder_that_crashes_while_listing_names_the_file_or_skips_it(tmp_path, monkeypatch):
    root = tree(tmp_path)
    file = sorted((root / "train" / WNIDS[1]).iterdir())[0]
    bad = file.read_bytes()
    monkeypatch.setattr(hrrl.data.decode, "check", lambda data: crash(data) if data == bad else check(data))
    with pytest.raises(UserError, match=rf"^{file}: ends the process that reads it \(SIGSEGV"):
        prepare(definition("imagefolder", root), "x")
    found = prepare(definition("imagefolder", root, skip_unreadable=True), "x")
    assert found.splits["train"].skipped == [str(file.relative_to(root))]


@pytest.mark.parametrize("write", ["manifest", "cache"])
def test_a_full_disk_is_a_line_that_names_the_file_and_loses_nothing(tmp_path, write):
    """A limit on the size of files is what a full disk looks like to who writes."""
    given = definition("imagefolder", tree(tmp_path))
    found = prepare(given, "x")
    found.write("manifest")
    before = {file.name: file.read_bytes() for file in Path("manifest").iterdir()}

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        if write == "manifest":
            found.write("manifest")
        else:
            open_split("manifest", given.root, "train", 32)

    with pytest.raises(OSError, match=r"File too large: '(manifest|data/cache/\w+\.npy)'"):
        isolated.call(fill)
    assert {file.name: file.read_bytes() for file in Path("manifest").iterdir()} == before
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.npy"))
    assert len(open_split("manifest", given.root, "train", 32)) == len(found.labels("train"))


def test_a_cache_that_is_cut_off_is_written_again(tmp_path):
    given = definition("imagefolder", tree(tmp_path))
    prepare(given, "x").write("manifest")
    expected = next(open_split("manifest", given.root, "train", 32).eval_batches(6))[0].clone()  # not the file's pages
    [cache] = Path("data/cache").glob("*.npy")
    os.truncate(cache, cache.stat().st_size - 1000)
    assert torch.equal(next(open_split("manifest", given.root, "train", 32).eval_batches(6))[0], expected)


def test_bytes_behind_the_last_of_a_jpeg_are_padding_or_damage():
    """Cameras pad with one value; whatever else libjpeg finds there was not understood."""
    whole = images()["JPEG "]
    for padded in (whole[:-2] + bytes(40) + whole[-2:], whole + b"\r\nmade by a camera"):
        assert torch.equal(decode(padded), decode(whole))
        assert not check(padded)
    with pytest.raises(ValueError, match="extraneous bytes"):
        decode(whole[:-2] + bytes(range(1, 41)) + whole[-2:])
