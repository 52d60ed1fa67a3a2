"""Datasets whose publishers keep all images in a few array files: CIFAR-10, SVHN, Fashion-MNIST, digits."""

import gzip
import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.data.stores import Paths
from hrrl.data.trees import NotHereError, note
from hrrl.errors import UserError

DIGITS = [str(digit) for digit in range(10)]


class Arrays:
    """Common to these datasets: images and labels come file by file, and an image is ``<file>#<position>``.

    A subclass says which files a split has (``files``), and reads one (``read``).

    Attributes:
        classes: names of all classes.
        splits: names of the published splits.
        root: the folder that holds the files.
    """

    needs: str
    places: tuple[str, ...] = ("",)  # folders of the root that may hold the files
    files: ClassVar[dict[str, list[str]]]  # published split -> names of its files
    classes: list[str]

    def __init__(self, root: Path, train: str = "train"):
        if not root.is_dir():
            raise NotHereError("not a folder")
        present = {p: self._present(root / p) for p in self.places}
        place = max(present, key=lambda p: sum(map(len, present[p].values())))
        self.present = {split: files for split, files in present[place].items() if files}
        self.root, self.splits = root / place, list(self.present)
        needed = train if train in self.files else "train"
        if needed not in self.splits:
            raise NotHereError(f"no {self.files[needed][0]} in it")

    def __str__(self):
        return str(self.root)

    def _present(self, folder: Path) -> dict[str, list[str]]:
        return {split: [f for f in files if self.find(f, folder)] for split, files in self.files.items()}

    def find(self, name: str, folder: Path | None = None) -> Path | None:
        """The file of this name, if it is there."""
        path = (folder or self.root) / name
        return path if path.is_file() else None

    @property
    def wnids(self) -> list[None]:
        return [None] * len(self.classes)

    def rows(self, split: str, classes: list[str]):
        """Paths and labels (positions in ``self.classes``) of a split's images.

        Reads everything, so that a damaged file is found before any training starts.
        """
        paths, labels = Paths(), []
        if missing := [file for file in self.files[split] if file not in self.present[split]]:
            note(f"{self.root}: {split} without {', '.join(missing)}; reading what is there")
        for file in self.present[split]:
            images, numbers = self.images(file)
            if len(images) != len(numbers) or not np.isin(numbers, range(len(self.classes))).all():
                raise UserError(
                    f"{self.root / file}: {len(images)} images, {len(numbers)} labels up to {numbers.max(initial=0)}; "
                    f"expected as many labels as images, all below {len(self.classes)}"
                )
            paths.extend(f"{file}#{i}" for i in range(len(images)))
            labels.append(numbers)
        return paths, np.concatenate(labels)

    def images(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        """(N, C, H, W) uint8 images, C = 1 or 3, and (N,) int64 labels of one file.

        Raises:
            UserError: the file is damaged or not in the official format.
        """
        try:
            return self.read(file)
        except OSError as error:
            if error.errno:  # the file system's
                raise
            reason = error
        except Exception as error:  # every format's parser has errors of its own
            reason = error
        found = self.find(file) or self.root / file
        raise UserError(f"{found}: cannot be read ({reason}); expected the published {self.needs}") from None

    def read(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def behind(self, file: str) -> list[Path]:
        """The files on disk that ``read(file)`` reads."""
        return [self.find(file)]

    def sources(self, files: Iterable[str]) -> list[dict]:
        """Name, size and MD5 of the files on disk that some files of the dataset are read from."""
        found = []
        for path in dict.fromkeys(path for file in files for path in self.behind(file)):
            with open(path, "rb") as content:
                md5 = hashlib.file_digest(content, "md5").hexdigest()
            found.append({"name": path.name, "bytes": path.stat().st_size, "md5": md5})
        return found

    def checksums(self) -> dict[str, str]:
        """The published MD5 of each file name, as torchvision knows them."""
        return {}


class Cifar10(Arrays):
    """cifar-10-batches-py: five pickled batches, a test batch and batches.meta; in a folder or the published tar.gz."""

    needs = "folder cifar-10-batches-py (data_batch_1 to 5, test_batch, batches.meta) or cifar-10-python.tar.gz"
    places = ("", "cifar-10-batches-py")
    files: ClassVar = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    archive = "cifar-10-python.tar.gz"

    def __init__(self, root: Path, train: str = "train"):
        self.members = None  # content of the archive's files by name, where it is not unpacked
        archive = root if root.name.endswith(".tar.gz") else root / self.archive
        unpacked = any((root / place / "batches.meta").is_file() for place in self.places)
        if archive.is_file() and not unpacked:
            self.path, self.members = archive, _unpack(archive)
            root = archive.parent
        super().__init__(root, train)
        self.classes = self._class_names()

    def find(self, name: str, folder: Path | None = None) -> Path | None:
        if self.members is None:
            return super().find(name, folder)
        return self.path if name in self.members else None

    def _load(self, name: str) -> dict:
        data = (self.root / name).read_bytes() if self.members is None else self.members[name]
        content = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        return {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}

    def _class_names(self) -> list[str]:
        try:
            names = self._load("batches.meta")["label_names"]
        except (OSError, KeyError, EOFError, TypeError, pickle.UnpicklingError) as error:
            raise UserError(f"{self.root}/batches.meta: cannot be read ({error}); expected CIFAR-10's") from None
        return [name.decode() if isinstance(name, bytes) else name for name in names]

    def read(self, file: str):
        content = self._load(file)
        return np.asarray(content["data"], np.uint8).reshape(-1, 3, 32, 32), np.asarray(content["labels"], np.int64)

    def behind(self, file: str) -> list[Path]:
        return [self.find("batches.meta"), self.find(file)]

    def checksums(self) -> dict[str, str]:
        from torchvision.datasets import CIFAR10

        meta = CIFAR10.meta["filename"], CIFAR10.meta["md5"]
        return dict([*CIFAR10.train_list, *CIFAR10.test_list, meta, (CIFAR10.filename, CIFAR10.tgz_md5)])

    @staticmethod
    def download(folder: Path) -> None:
        from torchvision.datasets import CIFAR10

        CIFAR10(folder, download=True)


class _Unpickler(pickle.Unpickler):
    """Builds arrays and plain values only: a pickle from somewhere must not run code."""

    def find_class(self, module, name):
        arrays = module.split(".")[0] == "numpy" and name in (
            "_reconstruct",
            "ndarray",
            "dtype",
            "_frombuffer",
            "scalar",
        )
        if arrays or (module, name) == ("_codecs", "encode"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"contains {module}.{name}")


def _unpack(archive: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(archive) as tar:
            return {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error}); expected the published archive") from None


class Svhn(Arrays):
    """Street View House Numbers, cropped digits: train_32x32.mat, test_32x32.mat, extra_32x32.mat."""

    needs = "files train_32x32.mat and test_32x32.mat"
    files: ClassVar = {split: [f"{split}_32x32.mat"] for split in ("train", "test", "extra")}
    classes = DIGITS

    def read(self, file: str):
        from scipy.io import loadmat

        content = loadmat(self.root / file, variable_names=["X", "y"])
        labels = content["y"].astype(np.int64).reshape(-1)
        labels[labels == 10] = 0  # published so
        return np.ascontiguousarray(content["X"].reshape(32, 32, 3, -1).transpose(3, 2, 0, 1)), labels

    def checksums(self) -> dict[str, str]:
        from torchvision.datasets import SVHN

        return {name: md5 for _, name, md5 in SVHN.split_list.values()}

    @staticmethod
    def download(folder: Path) -> None:
        from torchvision.datasets import SVHN

        for split in ("train", "test"):
            SVHN(folder, split, download=True)


class FashionMnist(Arrays):
    """Fashion-MNIST's idx files, gzipped or not; 28 x 28, grey."""

    needs = "files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-... and t10k-labels-..."
    places = ("", "raw", "FashionMNIST/raw")
    files: ClassVar = {"train": ["train-images-idx3-ubyte"], "test": ["t10k-images-idx3-ubyte"]}
    classes: ClassVar = [
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ]

    def find(self, name: str, folder: Path | None = None) -> Path | None:
        return super().find(name, folder) or super().find(f"{name}.gz", folder)

    def read(self, file: str):
        images = _read_idx(self.find(file), 3)
        labels = _read_idx(self._labels(file), 1)
        return images[:, None], labels.astype(np.int64)

    def _labels(self, file: str) -> Path:
        name = file.replace("images-idx3", "labels-idx1")
        found = self.find(name)
        if found is None:
            raise ValueError(f"{name}.gz is missing")
        return found

    def behind(self, file: str) -> list[Path]:
        return [self.find(file), self._labels(file)]

    def checksums(self) -> dict[str, str]:
        from torchvision.datasets import FashionMNIST

        return dict(FashionMNIST.resources)

    @staticmethod
    def download(folder: Path) -> None:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(folder, download=True)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an idx file: 0, 0, 8 (uint8), number of dimensions, their sizes, the values."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    if data[:4] != bytes([0, 0, 8, dimensions]):
        raise ValueError(f"{path.name} does not start as an idx file of uint8 does")
    sizes = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)


class Digits(Arrays):
    """scikit-learn's 1,797 handwritten digits, 8 x 8, grey.

    They have no published split. Here the first two thirds of each class are ``train`` and the rest ``test``: fixed,
    stratified, and mostly by other writers, since the digits are in the order in which people wrote them.
    """

    needs = "scikit-learn (digits takes no root)"
    files: ClassVar = {"train": ["digits-train"], "test": ["digits-test"]}
    classes = DIGITS

    def __str__(self):
        return "scikit-learn"

    def find(self, name: str, folder: Path | None = None) -> Path | None:
        return Path(name)

    def read(self, file: str):
        from sklearn.datasets import load_digits

        digits = load_digits()
        rank = np.empty(len(digits.target), int)
        for digit in range(10):
            where = np.flatnonzero(digits.target == digit)
            rank[where] = np.arange(len(where)) * 3 >= len(where) * 2
        part = rank == (file == "digits-test")
        images = np.rint(digits.images[part, None] * (255 / 16)).astype(np.uint8)  # published as 0 to 16
        return images, digits.target[part].astype(np.int64)

    def sources(self, files: Iterable[str]) -> list[dict]:
        content = {file: self.read(file)[0].tobytes() for file in files}
        return [{"name": f, "bytes": len(c), "md5": hashlib.md5(c).hexdigest()} for f, c in content.items()]
