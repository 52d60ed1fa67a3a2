"""Groups the benchmark's classes into concepts by WordNet, and ImageNet's 1,000 classes into Table 1's eleven."""

import json

import numpy as np
import pandas as pd
from common import concepts_folder, dataset_folder, run, whole
from hrrl.data import read_manifest

from hrrl import concepts


def main(params):
    manifest = read_manifest(dataset_folder(params))
    setting = params.as_dict()["concepts"]
    synsets = params.datasets[params.benchmark].synsets
    mapping = concepts.group_classes(manifest.classes, manifest.wnids, synsets, setting)
    names, ids = concepts.class_concepts(mapping, manifest.classes, concepts.concept_order(setting))
    with whole(concepts_folder(params)) as folder:
        folder.mkdir()
        classes = pd.DataFrame({"class": manifest.classes, "concept": [mapping[c] for c in manifest.classes]})
        classes.to_csv(folder / "classes.csv", index=False)
        statistics(names, ids, manifest).to_csv(folder / "concepts.csv", index=False)
        table1().to_csv(folder / "table1.csv", index=False)
        (folder / "benchmark.json").write_text(json.dumps({"names": names, "ids": ids}) + "\n")


def statistics(names, ids, manifest) -> pd.DataFrame:
    """Classes, training images and q0 per concept."""
    images = np.bincount(np.array(ids)[manifest.labels("train")], minlength=len(names))
    classes = np.bincount(ids, minlength=len(names))
    return pd.DataFrame({"concept": names, "classes": classes, "images": images, "q0": images / images.sum()})


def table1() -> pd.DataFrame:
    """ILSVRC12's classes per concept, counted here, beside the paper's counts."""
    groups = list(concepts.group_wnids(concepts.ilsvrc12_wnids()).values())
    rows = [(name, groups.count(name), concepts.TABLE1[name]) for name in concepts.CONCEPTS]
    return pd.DataFrame(rows, columns=["concept", "classes", "paper"])


if __name__ == "__main__":
    run(main)
