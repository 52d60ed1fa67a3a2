"""Fashion-MNIST in its publisher's idx files."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.data.array_dataset import Arrays
from hrrl.data.unpack import gunzip

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class FashionMnist(Arrays):
    """Fashion-MNIST's idx files, gzipped or not; 28 x 28, grey."""

    source = "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), https://github.com/zalandoresearch/fashion-mnist"
    licence = "MIT"
    needs = "files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-... and t10k-labels-..."
    places = ("", "raw", "FashionMNIST/raw")
    files: ClassVar = {"train": ["train-images-idx3-ubyte"], "test": ["t10k-images-idx3-ubyte"]}
    classes = CLASSES

    def find(self, name: str) -> Path | None:
        return super().find(name) or super().find(f"{name}.gz")

    def read(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        images_path, labels_path = self.behind(file)
        images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
        return images[:, None], labels.astype(np.int64)

    def behind(self, file: str) -> list[Path]:
        names = (file, file.replace("images-idx3", "labels-idx1"))
        paths = {name: self.find(name) for name in names}
        if missing := [name for name, path in paths.items() if not path]:
            raise ValueError(f"{missing[0]}.gz is missing")
        return [path for path in paths.values() if path]

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
    data = gunzip(data) if path.suffix == ".gz" else data
    if data[:4] != bytes([0, 0, 8, dimensions]):
        raise ValueError(f"{path.name} does not start as an idx file of uint8 does")
    sizes = np.frombuffer(data, ">u4", dimensions, 4).tolist()
    if sizes[1:] not in ([], [28, 28]):
        raise ValueError(f"{path.name} has images of {sizes[1:]} pixels")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)
