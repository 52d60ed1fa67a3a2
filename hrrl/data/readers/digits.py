"""scikit-learn's handwritten digits."""

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.data.array_dataset import DIGITS, Arrays, T, files_of
from hrrl.data.image_folder import ArrayFile
from hrrl.data.indexed_dataset import ranks


class Digits(Arrays):
    """scikit-learn's 1,797 handwritten digits, 8 x 8, grey.

    They have no published split. Here the first two thirds of each class are ``train`` and the rest ``test``: fixed,
    stratified, and mostly by other writers, since the digits are in the order in which people wrote them.
    """

    source = "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), https://doi.org/10.24432/C50P49"
    licence = "CC BY 4.0"
    needs = "scikit-learn (digits takes no root)"
    rootless = True
    files: ClassVar = {"train": ["digits-train"], "test": ["digits-test"]}
    classes = DIGITS

    def __str__(self) -> str:
        return "scikit-learn"

    def find(self, name: str) -> Path | None:
        return Path(name)

    def read_isolated(self, read: Callable[[], T], file: str) -> T:
        """Called here: scikit-learn's own files are as harmless as its code."""
        return read()

    def read(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        package = importlib.metadata.distribution("scikit-learn")  # importing it takes seconds
        path = package.locate_file("sklearn/datasets/data/digits.csv.gz")
        table = np.loadtxt(str(path), np.int64, delimiter=",")
        pixels, target = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]
        is_test = ranks(target) * 3 >= np.bincount(target)[target] * 2
        selected = is_test == (file == "digits-test")
        images = np.rint(pixels[selected] * (255 / 16)).astype(np.uint8)  # published as 0 to 16
        return images, target[selected]

    def sources(self, paths: Iterable[str]) -> list[ArrayFile]:
        content = {file: self.read(file)[0].tobytes() for file in files_of(paths)}
        return [{"name": f, "bytes": len(c), "md5": hashlib.md5(c).hexdigest()} for f, c in content.items()]
