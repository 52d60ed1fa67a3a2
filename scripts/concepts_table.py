"""Shows which concept each class belongs to, and why: python -m scripts.concepts_table [params.yaml].

Of ILSVRC2012 by Table 1, or of the benchmark of a params file by its concepts.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from hrrl.common.names import composed, is_wnid
from hrrl.concepts import OTHERS, TABLE1, Setting, concept_order, csv_file, group_classes, ilsvrc12_wnids, resolve
from hrrl.concepts.hypernyms import Wnids, class_synsets, find_wnid, most_specific, named_synsets, titles
from hrrl.concepts.names import TABLE1_SYNSETS
from hrrl.data.manifest import Manifest, read_manifest
from hrrl.errors import UserError
from scripts import run

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import Synset

BENCHMARK = Path("data/benchmark")  # the manifest of the params file's benchmark, when it is listed
Cell = tuple[int, str]  # a class, as its index, and a concept


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.concepts_table", description=__doc__.partition("\n")[0])
    parser.add_argument("params", nargs="?", help="a params file, once its benchmark is listed (ILSVRC2012)")
    parser.add_argument("--tree", metavar="CLASS", help="a class, a wnid or a word: its hypernyms")
    options = parser.parse_args(arguments)
    manifest, concepts, synsets = None, "table1", {}
    if options.params:
        from hrrl.settings.schema import load  # imports torch, which the rest does without

        params = load(options.params)
        concepts, synsets = params.as_dict()["concepts"], params.datasets[params.benchmark].synsets
        if not (BENCHMARK / "dataset.json").is_file():
            raise UserError(f"{BENCHMARK}: {params.benchmark} is not listed yet; run `dvc repro manifest-benchmark`")
        manifest = read_manifest(BENCHMARK)
    classes, wnids = (manifest.classes, manifest.wnids) if manifest else (ilsvrc12_wnids(), ilsvrc12_wnids())
    concepts = resolve(classes, wnids, synsets, concepts)
    if options.tree:
        concept_synsets = named_synsets(concepts) if isinstance(concepts, list) else []
        matches = _look_up(options.tree, classes, wnids, synsets)
        print(*(_tree(title, synset, concept_synsets) for title, synset in matches.items()), sep="\n\n")
    else:
        paper = TABLE1 if concepts == TABLE1_SYNSETS and len(classes) == 1000 else {}
        print(_table(classes, paper, *_grouped(classes, wnids, synsets, concepts, manifest)))


def _grouped(
    classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str], concepts: Setting, manifest: Manifest | None
) -> tuple[Sequence[str], list[Cell], dict[str, Counter[Cell]]]:
    """The concepts in order, which class is in which, and the images of each such pair by split."""
    splits = manifest.splits if manifest else {}
    labels = {split: rows.labels.tolist() for split, rows in splits.items()}
    if isinstance(concepts, dict) and csv_file.by_image(concepts):
        skipped = [path for rows in splits.values() for path in rows.skipped]
        paths = {split: list(rows.paths) for split, rows in splits.items()}
        names, ids = csv_file.of_images(concepts["csv"], paths, skipped, partial=True)
        images = {s: Counter((y, names[k]) for y, k in zip(labels[s], ids[s], strict=True)) for s in splits}
        return names, sorted(set().union(*images.values())), images
    mapping = group_classes(classes, wnids, synsets, concepts)
    images = {split: Counter((y, mapping[classes[y]]) for y in ys) for split, ys in labels.items()}
    return concept_order(concepts), [(c, mapping[name]) for c, name in enumerate(classes)], images


def _table(
    classes: Sequence[str],
    paper: Mapping[str, int],
    order: Sequence[str],
    cells: Sequence[Cell],
    images: Mapping[str, Counter[Cell]],
) -> str:
    """For each concept a line of numbers and, below it, the classes."""
    header = ["concept", "classes", *["Table 1"] * bool(paper), *(f"{split} images" for split in images)]
    groups = {concept: [cell for cell in cells if cell[1] == concept] for concept in order}
    rows = [
        (name, len(group), *([paper[name]] if paper else []), *(sum(n[c] for c in group) for n in images.values()))
        for name, group in groups.items()
    ]
    head, *numbers = tabulate(rows, header, "plain", disable_numparse=[0]).splitlines()
    words, lines = titles(classes), [head]
    for line, group in zip(numbers, groups.values(), strict=True):
        names = ", ".join(words.get(classes[c], classes[c]) for c, _ in group)
        lines += [line, *textwrap.wrap(names, 100, initial_indent="    ", subsequent_indent="    ")]
    return "\n".join(lines)


def _look_up(wanted: str, classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str]) -> dict[str, Synset]:
    """Title -> synset of what a user means by a class's name, a wnid or a word: a crane is a bird and a machine."""
    if is_wnid(wanted):
        return {wanted: find_wnid(wanted)}
    if (name := composed(wanted)) in classes:
        return class_synsets([name], [wnids[classes.index(name)]] if wnids else None, synsets)
    word, by_wnid = wanted.lower().replace(" ", "_"), {wnid: find_wnid(wnid) for wnid in wnids or [] if wnid}
    matches = {wnid: synset for wnid, synset in by_wnid.items() if word in map(str.lower, synset.lemma_names())}
    if not matches:
        raise UserError(f"--tree {wanted}: no such class; takes a class's name, a wnid, or WordNet's word for one")
    return matches


def _tree(title: str, synset: Synset, concepts: Sequence[tuple[str, Synset]]) -> str:
    """The hypernym paths of a synset as one indented tree from the root down, concepts marked."""
    marks = {concept: name for name, concept in reversed(concepts)}  # the first one's, where several are the same
    winners = most_specific(synset, concepts)
    text = f"{title} ({synset.name()}: {synset.definition()}): {winners[0] if winners else OTHERS}"
    if len(winners) > 1:
        text += f"\nmost specific concepts: {', '.join(winners)}; the first has precedence"
    previous: list[Synset] = []
    for path in sorted(synset.hypernym_paths(), key=lambda path: [node.name() for node in path]):
        shared = next((i for i, pair in enumerate(zip(path, previous, strict=False)) if pair[0] != pair[1]), 0)
        for depth, node in enumerate(path[shared:], shared):
            text += f"\n{'  ' * depth}{node.name()}" + (f"    <- {marks[node]}" if node in marks else "")
        previous = path
    return text


if __name__ == "__main__":
    run(main)
