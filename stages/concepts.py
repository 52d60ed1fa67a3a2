"""Groups the benchmark's classes into concepts by WordNet, the targets' beside them, and ImageNet's into Table 1's."""

import json

from stages.common import plain, run
from stages.paths import CONCEPTS, dataset_folder, read_json, resolved

import numpy as np
import pandas as pd

from hrrl import concepts
from hrrl.common.files import replacing
from hrrl.data.manifest import read_manifest
from hrrl.errors import UserError


def main(params):
    manifest, synsets = labelled(params)
    setting = concepts.resolve(manifest.classes, manifest.wnids, synsets, plain(params.concepts))
    mapping = concepts.group_classes(manifest.classes, manifest.wnids, synsets, setting)
    names, ids = concepts.class_concepts(mapping, manifest.classes, concepts.concept_order(setting))
    table = statistics(names, ids, manifest)
    shares = {variant: q0(params, variant, table, setting) for variant in params.runs.pretrain}
    with replacing(CONCEPTS) as folder:
        folder.mkdir()
        classes = pd.DataFrame({"class": manifest.classes, "concept": [mapping[c] for c in manifest.classes]})
        classes.to_csv(folder / "classes.csv", index=False)
        table.to_csv(folder / "concepts.csv", index=False)
        table1().to_csv(folder / "table1.csv", index=False)
        targets(params, setting).to_csv(folder / "targets.csv", index=False)
        members(params, setting).to_csv(folder / "members.csv", index=False)
        (folder / "q0").mkdir()
        for variant, values in shares.items():
            (folder / "q0" / f"{variant}.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
        (folder / "benchmark.json").write_text(json.dumps({"names": names, "ids": ids}) + "\n", encoding="utf-8")
        (folder / "titles.json").write_text(json.dumps(titles(params), indent=1) + "\n", encoding="utf-8")
        (folder / "source.json").write_text(
            json.dumps({"csv": concepts.csv_hash(plain(params.concepts))}) + "\n", encoding="utf-8"
        )


def labelled(params, target=None):
    """The manifest of a target, or (None) of the benchmark, and the synsets that params give its classes."""
    synsets = read_json(resolved("datasets", target or params.benchmark))["synsets"]
    return read_manifest(dataset_folder(target)), synsets


def q0(params, variant, table, concept_setting) -> list[float] | None:
    """The reference distribution of a variant over the concepts as numbers; None for a method that takes none."""
    point = read_json(resolved("variants", variant))["concept"] or {}
    method, settings = next(iter(point.items()), ("", {}))
    setting, names = settings.get("q0"), list(table.concept)
    if setting is None:
        return None
    if setting == "empirical":
        return list(table.q0)
    if setting == "uniform":
        return [1 / len(names)] * len(names)
    if isinstance(setting, dict):
        return given_shares(setting, names, f"variants.{variant}.concept.{method}.q0")
    manifest, synsets = labelled(params, setting.removeprefix("target:"))
    mapping = concepts.group_classes(manifest.classes, manifest.wnids, synsets, concept_setting)
    return concepts.target_distribution([mapping[manifest.classes[y]] for y in manifest.labels("train")], names)


def given_shares(shares, names, key) -> list[float]:
    if set(shares) != set(names) or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"{key}: takes one share for each of {', '.join(names)}, and their sum is 1; got {shares}")
    return [shares[name] for name in names]


def statistics(names, ids, manifest) -> pd.DataFrame:
    """Classes, training images and q0 per concept."""
    images = np.bincount(np.array(ids)[manifest.labels("train")], minlength=len(names))
    classes = np.bincount(ids, minlength=len(names))
    return pd.DataFrame({"concept": names, "classes": classes, "images": images, "q0": images / images.sum()})


def targets(params, concept_setting) -> pd.DataFrame:
    """The share of each target's training images per concept."""
    rows = []
    for target in params.targets:
        manifest, synsets = labelled(params, target)
        labels = manifest.labels("train")
        shares = concepts.concept_shares(manifest.classes, manifest.wnids, synsets, labels, concept_setting)
        rows += [(target, concept, share) for concept, share in shares.items()]
    return pd.DataFrame(rows, columns=["target", "concept", "share"])


def table1() -> pd.DataFrame:
    """ILSVRC12's classes per concept, counted here, beside the paper's counts."""
    groups = list(concepts.group_wnids(concepts.ilsvrc12_wnids()).values())
    rows = [(name, groups.count(name), concepts.TABLE1[name]) for name in concepts.CONCEPTS]
    return pd.DataFrame(rows, columns=["concept", "classes", "paper"])


def members(params, concept_setting) -> pd.DataFrame:
    """The classes of each concept in words, of the benchmark and of ILSVRC12, and WordNet's way down to one of each."""
    manifest, synsets = labelled(params)
    wnids = concepts.ilsvrc12_wnids()
    groups = {
        "benchmark": (manifest.classes, manifest.wnids, synsets, concept_setting),
        "ilsvrc12": (wnids, wnids, {}, concepts.TABLE1_SYNSETS),
    }
    return pd.DataFrame([{"dataset": name} | row for name, group in groups.items() for row in concepts.members(*group)])


def titles(params) -> dict[str, str]:
    """All classes whose names are wnids, in words."""
    manifests = [labelled(params, target)[0] for target in (None, *params.targets)]
    return concepts.titles(dict.fromkeys(name for manifest in manifests for name in manifest.classes))


if __name__ == "__main__":
    run(main)
