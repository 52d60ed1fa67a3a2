"""Shows which concept each class of a dataset belongs to, and why: python -m scripts.concepts_table."""

import argparse
import difflib
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrrl.common.names import composed
from hrrl.concepts import (
    OTHERS,
    TABLE1,
    TABLE1_SYNSETS,
    Setting,
    Wnids,
    class_synsets,
    concept_order,
    find_synset,
    find_wnid,
    group_classes,
    ilsvrc12_wnids,
    most_specific,
    named_synsets,
    resolve,
)
from hrrl.concepts.wordnet import Synset
from hrrl.data.manifest import read_manifest
from hrrl.errors import UserError, escape_what_stdout_lacks

Named = Sequence[tuple[str, Synset]]  # concepts, in order of precedence
Images = dict[str, Counter[int]]  # labels of each split

PARAMS = (".yaml", ".yml")
BENCHMARK = "data/benchmark"  # the manifest of the params file's benchmark, when it is listed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.concepts_table", description="Shows which concept each class of a dataset belongs to."
    )
    parser.add_argument(
        "dataset",
        nargs="?",
        default="ilsvrc12",
        help="ilsvrc12 (the default); a params file (.yaml), for its benchmark; or a folder with dataset.json",
    )
    parser.add_argument(
        "--concepts",
        default="table1",
        metavar="SETTING",
        help="table1 (the default); auto:K; a file class,concept (.csv); a params file (.yaml), for its concepts "
        "and synsets; or name=synset,name=synset in order of precedence",
    )
    parser.add_argument("--tree", metavar="CLASS", help="a class name, wnid or synset: its hypernyms up to the root")
    options = parser.parse_args(arguments)
    escape_what_stdout_lacks()
    try:
        of_params = options.dataset.endswith(PARAMS)
        concepts, synsets = _parse_setting(options.dataset if of_params else options.concepts)
        folder = BENCHMARK if of_params else options.dataset
        classes, wnids, images = _read_dataset(folder)
        concepts = resolve(classes, wnids, synsets, concepts)
        if options.tree:
            print(*_trees(options.tree, classes, wnids, synsets, concepts), sep="\n\n")
        else:
            print(_table(classes, wnids, synsets, concepts, images))
    except UserError as error:
        sys.exit(str(error))


def _parse_setting(text: str) -> tuple[Setting, dict[str, str]]:
    """(the ``concepts`` setting, synsets of classes)"""
    if text == "table1":
        return "table1", {}
    if re.fullmatch(r"auto:[1-9]\d*", text):
        return {"auto": int(text.removeprefix("auto:"))}, {}
    if text.endswith(".csv"):
        return {"csv": text}, {}
    if text.endswith(PARAMS):
        return _read_params(text)
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(name and synset for name, _, synset in pairs):
        raise UserError(f"--concepts {text}: takes table1, auto:K, FILE.csv, FILE.yaml or name=synset,name=synset")
    return [{"name": name.strip(), "synset": synset.strip()} for name, _, synset in pairs], {}


def _read_params(path: str) -> tuple[Setting, dict[str, str]]:
    from hrrl.settings.schema import load

    params = load(path)
    synsets = {name: synset for dataset in params.datasets.values() for name, synset in dataset.synsets.items()}
    return params.as_dict()["concepts"], synsets


def _read_dataset(dataset: str) -> tuple[list[str], Wnids, Images]:
    """(classes, wnids, {split: Counter of labels})"""
    if dataset == "ilsvrc12":
        wnids = ilsvrc12_wnids()
        return wnids, wnids, {}
    if not Path(dataset, "dataset.json").is_file():
        raise UserError(f"{dataset}: not a dataset's folder; takes one with dataset.json, or ilsvrc12")
    manifest = read_manifest(dataset)
    images = {split: Counter(manifest.labels(split).tolist()) for split in manifest.splits}
    return manifest.classes, manifest.wnids, images


def _table(classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str], concepts: Setting, images: Images) -> str:
    mapping = group_classes(classes, wnids, synsets, concepts)
    paper = TABLE1 if concepts == TABLE1_SYNSETS and len(classes) == 1000 else None
    lines: list[list[Any]] = [
        ["concept", "classes"] + ["Table 1"] * bool(paper) + [f"{split} images" for split in images]
    ]
    for concept in concept_order(concepts):
        members = [i for i, name in enumerate(classes) if mapping[name] == concept]
        counts = [len(members)] + ([paper[concept]] if paper else [])
        counts += [sum(labels[i] for i in members) for labels in images.values()]
        lines.append([concept, *counts, ", ".join(_title(classes[i]) for i in members)])
    width = max(len(str(line[0])) for line in lines)
    return "\n".join(_row(line, lines[0], width) for line in lines)


def _row(line: list[Any], header: list[str], width: int) -> str:
    """One line of numbers and, below it, the classes."""
    numbers = "".join(f"  {value:>{len(title)}}" for value, title in zip(line[1:], header[1:], strict=False))
    text = f"{line[0]:<{width}}{numbers}"
    if len(line) == len(header) or not line[-1]:
        return text
    return text + "\n" + textwrap.fill(line[-1], 100, initial_indent="    ", subsequent_indent="    ")


def _title(name: str) -> str:
    """A class name that is a wnid, in words."""
    return find_wnid(name).lemma_names()[0].replace("_", " ") if re.fullmatch(r"n\d{8}", name) else name


def _trees(
    wanted: str, classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str], concepts: Setting
) -> list[str]:
    named = named_synsets(concepts) if isinstance(concepts, list) else []
    return [_tree(title, synset, named) for title, synset in _look_up(wanted, classes, wnids, synsets)]


def _look_up(wanted: str, classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str]) -> list[tuple[str, Synset]]:
    """(title, synset) of what a user means by a class name, a wnid or a synset name."""
    if re.fullmatch(r"n\d{8}", wanted):
        return [(wanted, find_wnid(wanted))]
    if (wanted := composed(wanted)) in classes:
        wnid = wnids[classes.index(wanted)] if wnids else None
        return list(class_synsets([wanted], [wnid], synsets).items())
    if ".n." in wanted:
        return [(wanted, find_synset(wanted, "--tree"))]
    word = wanted.lower().replace(" ", "_")
    words: dict[str, list[tuple[str, Synset]]] = {}
    for wnid in filter(None, wnids or []):
        synset = find_wnid(wnid)
        for lemma in synset.lemma_names():
            words.setdefault(lemma.lower(), []).append((wnid, synset))
    if word not in words:
        near = difflib.get_close_matches(word, [name.lower() for name in [*classes, *words]], n=5)
        hint = f"the nearest are {', '.join(near)}" if near else "takes a class name, a wnid or a synset"
        raise UserError(f"--tree {wanted}: no such class; {hint}")
    return words[word]


def _tree(title: str, synset: Synset, concepts: Named) -> str:
    """The hypernym paths of a synset as one indented tree from the root down, concepts marked."""
    marks: dict[Synset, str] = {}
    for name, concept in concepts:
        marks.setdefault(concept, name)
    winners = most_specific(synset, concepts)
    text = f"{title} ({synset.name()}: {synset.definition()}): {winners[0] if winners else OTHERS}"
    if len(winners) > 1:
        text += f"\nmost specific concepts: {', '.join(winners)}; the first has precedence"
    previous: list[Synset] = []
    for path in sorted(synset.hypernym_paths(), key=lambda path: [node.name() for node in path]):
        same = next((i for i, pair in enumerate(zip(path, previous, strict=False)) if pair[0] != pair[1]), 0)
        for depth, node in enumerate(path[same:], same):
            text += f"\n{'  ' * depth}{node.name()}" + (f"    <- {marks[node]}" if node in marks else "")
        previous = path
    return text


if __name__ == "__main__":
    main()
