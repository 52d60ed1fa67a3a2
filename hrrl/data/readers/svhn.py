"""Street View House Numbers in its publisher's Matlab files."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.data.array_dataset import DIGITS, Arrays


class Svhn(Arrays):
    """Street View House Numbers, cropped digits: train_32x32.mat, test_32x32.mat, extra_32x32.mat."""

    source = "Street View House Numbers (Netzer et al. 2011), http://ufldl.stanford.edu/housenumbers"
    licence = "non-commercial use"
    needs = "files train_32x32.mat and test_32x32.mat"
    files: ClassVar = {split: [f"{split}_32x32.mat"] for split in ("train", "test", "extra")}
    classes = DIGITS

    def read(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        from scipy.io import loadmat

        content = loadmat(self.root / file, variable_names=["X", "y"])
        images, labels = content["X"], content["y"].reshape(-1)
        if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or not np.isin(labels, range(1, 11)).all():
            raise ValueError(f"X has the shape {images.shape}, y labels from {labels.min()} to {labels.max()}")
        return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10  # 10 is digit 0

    def checksums(self) -> dict[str, str]:
        from torchvision.datasets import SVHN

        return {name: md5 for _, name, md5 in SVHN.split_list.values()}

    @staticmethod
    def download(folder: Path) -> None:
        from torchvision.datasets import SVHN

        for split in ("train", "test"):
            SVHN(folder, split, download=True)
