"""Stanford Online Products."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from hrrl.data.image_folder import NotHereError, Tree
from hrrl.data.sources import Paths, join, open_store
from hrrl.errors import UserError, note


class OnlineProducts(Tree):
    """Stanford Online Products: Ebay_train.txt, Ebay_test.txt, and the 12 super classes as classes."""

    source = "Stanford Online Products (Song et al. 2016), https://cvgl.stanford.edu/projects/lifted_struct"
    licence = "its publisher states none"
    needs = (
        "Ebay_train.txt, Ebay_test.txt and the folders bicycle_final, ..., toaster_final, or the published zip of them"
    )
    url = "ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip"
    lists: ClassVar = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}

    def __init__(self, root: Path, train: str = "train"):
        archive = root / Path(self.url).name
        self.root = archive if archive.is_file() else root
        self.store = open_store(self.root)
        places = ["", *self.store.folders()]
        base = next((p for p in places if self.lists["train"] in self.store.names(p)), None)
        if base is None:
            raise NotHereError("no Ebay_train.txt in it")
        self.base = base
        files = self.store.names(self.base)
        self.splits = [split for split, name in self.lists.items() if name in files]
        self.listed = {split: self._read_list(self.lists[split]) for split in self.splits}
        names = {number: name for rows in self.listed.values() for _, number, name in rows}
        self.numbers = sorted(names)
        self.classes = [names[number] for number in self.numbers]

    def _read_list(self, name: str) -> list[tuple[str, int, str]]:
        """Path, super_class_id and name of the super class of each line of "image_id class_id super_class_id path"."""
        rows = []
        for i, line in enumerate(self.text(join(self.base, name)).splitlines()):
            fields = line.split(maxsplit=3)
            if i == 0 or not fields:
                continue
            if len(fields) < 4 or not fields[2].isdecimal() or not _is_below(fields[3]):
                expected = "image_id class_id super_class_id path"
                raise UserError(
                    f"{self.store}: {join(self.base, name)}: line {i + 1} is {line[:80]!r}; expected {expected}"
                )
            rows.append((fields[3], int(fields[2]), fields[3].split("/")[0].removesuffix("_final")))
        return rows

    def rows(self, split: str, classes: list[str]) -> tuple[Paths, np.ndarray]:
        label_of = {number: i for i, number in enumerate(self.numbers)}
        listed = [(join(self.base, path), label_of[n]) for path, n, name in self.listed[split] if name in classes]
        folders = {path.rpartition("/")[0] for path, _ in listed}
        existing = {path for folder in folders for path in self.store.files(folder)}
        kept = [(path, label) for path, label in listed if path in existing]
        if len(kept) < len(listed):
            missing = next(path for path, _ in listed if path not in existing)
            note(
                f"{self.store}: left out {len(listed) - len(kept)} of the {len(listed)} images of {self.lists[split]}, "
                f"which are not there; the first is {missing}"
            )
        return Paths(path for path, _ in kept), np.array([label for _, label in kept], int)

    @classmethod
    def download(cls, folder: Path) -> None:
        from torchvision.datasets.utils import download_url

        download_url(cls.url, folder)


def _is_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")
