"""Groups the benchmark's classes into concepts by WordNet, the targets' beside them, and ImageNet's into Table 1's."""

import itertools
import json

from stages.common import plain, run
from stages.paths import CONCEPTS, dataset_folder, read_json, resolved

import numpy as np
import pandas as pd

from hrrl import concepts
from hrrl.common.files import replacing, write_json
from hrrl.common.names import composed
from hrrl.concepts import csv_file
from hrrl.concepts.names import TABLE1_SYNSETS, some
from hrrl.data.manifest import read_manifest
from hrrl.data.synsets import SHIPPED
from hrrl.errors import UserError
from hrrl.transfer import svm


def main(params):
    manifest, synsets = labelled(params)
    setting = concepts.resolve(manifest.classes, manifest.wnids, synsets, plain(params.concepts))
    content, train_concepts = grouped(params, manifest, synsets, setting)
    names = content["names"]
    pairs = np.unique(np.stack([manifest.labels("train"), train_concepts], 1), axis=0).tolist()  # class, concept
    table = statistics(names, train_concepts, pairs)
    if "images" in content:  # then a class may be in several concepts
        table.insert(2, "of", len(manifest.classes))
    classes = pd.DataFrame([(manifest.classes[c], names[k]) for c, k in pairs], columns=["class", "concept"])
    frames = {"classes": classes, "concepts": table, "table1": table1(), "targets": targets(params, setting)}
    frames["members"] = members(classes, manifest, synsets, setting)
    contents = {f"q0/{variant}": q0(params, variant, table, setting) for variant in params.runs.pretrain}
    contents |= {"benchmark": content, "source": {"csv": csv_file.sha256(plain(params.concepts))}}
    with replacing(CONCEPTS) as folder:
        (folder / "q0").mkdir(parents=True)
        for name, frame in frames.items():
            frame.to_csv(folder / f"{name}.csv", index=False)
        for name, content in contents.items():
            (folder / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
        write_json(folder / "titles.json", titles(params))


def grouped(params, manifest, synsets, setting) -> tuple[dict, np.ndarray]:
    """What cells train on: names of the concepts, and that of each class or image; and that of each training image."""
    if csv_file.by_image(setting):
        images = {split: list(rows.paths) for split, rows in manifest.splits.items()}
        skipped = [path for rows in manifest.splits.values() for path in rows.skipped]
        names, ids = csv_file.of_images(setting["csv"], images, skipped, is_part(params.benchmark))
        return {"names": names, "images": ids}, np.array(ids["train"])
    mapping = concepts.group_classes(manifest.classes, manifest.wnids, synsets, setting)
    names, ids = concepts.class_concepts(mapping, manifest.classes, concepts.concept_order(setting))
    return {"names": names, "ids": ids}, np.array(ids)[manifest.labels("train")]


def is_part(dataset) -> bool:
    """Whether a dataset is restricted to some of its classes or images."""
    definition = read_json(resolved("datasets", dataset))
    return bool(definition["classes"]) or "[" in definition["train"] + (definition["test"] or "")


def labelled(params, target=None):
    """The manifest of a target, or (None) of the benchmark, and the synsets that params give its classes."""
    dataset = target or params.benchmark
    manifest, synsets = read_manifest(dataset_folder(target)), read_json(resolved("datasets", dataset))["synsets"]
    known = {*manifest.classes, *itertools.chain(*SHIPPED.values())}  # a part of a dataset may lack some
    if unknown := [name for name in synsets if composed(name) not in known]:
        raise UserError(
            f"datasets.{dataset}.synsets: {unknown[0]!r} is none of its classes: {some(manifest.classes, 20)}"
        )
    return manifest, synsets


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
    key = f"variants.{variant}.concept.{method}.q0"
    if isinstance(setting, dict):
        if set(setting) != set(names):
            raise UserError(f"{key}: takes one share for each of {', '.join(names)}, and their sum is 1; got {setting}")
        return [setting[name] for name in names]
    if csv_file.by_image(concept_setting):
        file = concept_setting["csv"]
        raise UserError(f"{key}: {setting} takes concepts of classes; {file} has those of the benchmark's images")
    manifest, synsets = labelled(params, setting.removeprefix("target:"))
    mapping = concepts.group_classes(manifest.classes, manifest.wnids, synsets, concept_setting)
    return concepts.target_distribution([mapping[manifest.classes[y]] for y in manifest.labels("train")], names)


def statistics(names, train_concepts, pairs) -> pd.DataFrame:
    """Classes, training images and q0 per concept."""
    images, classes = (np.bincount(k, minlength=len(names)) for k in (train_concepts, [k for _, k in pairs]))
    return pd.DataFrame({"concept": names, "classes": classes, "images": images, "q0": images / images.sum()})


def targets(params, concept_setting) -> pd.DataFrame:
    """The share of each target's training images per concept."""
    rows = []
    for target in params.targets:
        manifest, synsets = labelled(params, target)
        labels = manifest.labels("train")
        # Before anything is trained.
        svm.check(manifest.classes, labels, params.svm.folds, f"targets: {target}", params.svm.shots.get(target))
        shares = concepts.concept_shares(manifest.classes, manifest.wnids, synsets, labels, concept_setting)
        rows += [(target, concept, share) for concept, share in shares.items()]
    return pd.DataFrame(rows, columns=["target", "concept", "share"])


def table1() -> pd.DataFrame:
    """ILSVRC12's classes per concept, counted here, beside the paper's counts."""
    groups = list(concepts.group_wnids(concepts.ilsvrc12_wnids()).values())
    rows = [(name, groups.count(name), concepts.TABLE1[name]) for name in concepts.CONCEPTS]
    return pd.DataFrame(rows, columns=["concept", "classes", "paper"])


def members(benchmark, manifest, synsets, setting) -> pd.DataFrame:
    """The classes of each concept in words, of the benchmark and of ILSVRC12, and WordNet's way down to one of each."""
    ilsvrc12 = pd.DataFrame(concepts.group_wnids(concepts.ilsvrc12_wnids()).items(), columns=["class", "concept"])
    by_class = dict(zip(manifest.classes, manifest.wnids, strict=True))
    datasets = {
        "benchmark": (benchmark, concepts.concept_order(setting), by_class, synsets, setting),
        "ilsvrc12": (ilsvrc12, concepts.CONCEPTS, {wnid: wnid for wnid in ilsvrc12["class"]}, {}, TABLE1_SYNSETS),
    }
    rows = []
    for dataset, (classes, order, *lookup) in datasets.items():
        groups = {name: group for name in order if (group := classes["class"][classes.concept == name].tolist())}
        rows += [{"dataset": dataset} | row for row in concepts.members(groups, *lookup)]
    return pd.DataFrame(rows)


def titles(params) -> dict[str, str]:
    """All classes whose names are wnids, in words."""
    manifests = [labelled(params, target)[0] for target in (None, *params.targets)]
    return concepts.titles(dict.fromkeys(name for manifest in manifests for name in manifest.classes))


if __name__ == "__main__":
    run(main)
