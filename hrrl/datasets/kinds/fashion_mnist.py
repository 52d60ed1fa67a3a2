"""Fashion-MNIST in its publisher's idx files."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.datasets.arrays import Arrays
from hrrl.datasets.unpack import gunzip


class FashionMnist(Arrays):
    """Fashion-MNIST's idx files, gzipped or not; 28 x 28, grey."""

    source = "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), https://github.com/zalandoresearch/fashion-mnist"
    licence = "MIT"
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
    data = gunzip(path) if path.suffix == ".gz" else path.read_bytes()
    if data[:4] != bytes([0, 0, 8, dimensions]):
        raise ValueError(f"{path.name} does not start as an idx file of uint8 does")
    sizes = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)
