"""CIFAR-10 in its publisher's pickles."""

import io
import itertools
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hrrl.data.array_dataset import Arrays
from hrrl.data.unpack import members


class Cifar10(Arrays):
    """cifar-10-batches-py: five pickled batches, a test batch and batches.meta; in a folder or the published tar.gz."""

    source = "CIFAR-10 (Krizhevsky 2009), https://www.cs.toronto.edu/~kriz/cifar.html"
    licence = "its publisher states none"
    needs = "folder cifar-10-batches-py (data_batch_1 to 5, test_batch, batches.meta) or cifar-10-python.tar.gz"
    places = ("", "cifar-10-batches-py")
    files: ClassVar = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    archive = "cifar-10-python.tar.gz"

    def __init__(self, root: Path, train: str = "train"):
        self.members = None  # content of the archive's files by name, where it is not unpacked
        archive = root if root.name.endswith(".tar.gz") else root / self.archive
        unpacked = any((root / place / "batches.meta").is_file() for place in self.places)
        if archive.is_file() and not unpacked:
            self.path, self.members = archive, {}
            names = [*itertools.chain(*self.files.values()), "batches.meta"]
            self.members = self.read_isolated(lambda: members(archive, names), self.archive)
            root = archive.parent
        super().__init__(root, train)
        names = self.read_isolated(lambda: list(self._load("batches.meta")["label_names"]), "batches.meta")
        self.classes = [name.decode() if isinstance(name, bytes) else str(name) for name in names]

    def find(self, name: str) -> Path | None:
        if self.members is None:
            return super().find(name)
        return self.path if name in (self.archive, *self.members) else None

    def _load(self, name: str) -> dict[str, Any]:
        data = (self.root / name).read_bytes() if self.members is None else self.members[name]
        content = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        return {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}

    def read(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        content = self._load(file)
        data, labels = content["data"], np.asarray(content["labels"])
        if data.dtype != np.uint8 or data.shape[1:] != (3072,) or labels.dtype.kind != "i":
            raise ValueError(f"data are {data.dtype} {data.shape}, labels {labels.dtype}")
        return data.reshape(-1, 3, 32, 32), labels.astype(np.int64)

    def behind(self, file: str) -> list[Path]:
        return list(dict.fromkeys(path for name in ("batches.meta", file) if (path := self.find(name))))

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

    def find_class(self, module: str, name: str) -> Any:
        numpy_names = ("_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar")
        if (module.split(".")[0] == "numpy" and name in numpy_names) or (module, name) == ("_codecs", "encode"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"contains {module}.{name}")
