"""Which concept each class or image belongs to (Section 4, Table 1), by WordNet, by a CSV, or by an automatic cut.

One rule holds for the paper's concepts and for a user's own. A concept is a WordNet synset. A class is below all the
synsets that its hypernyms lead to, itself included. Of the concepts above a class, those that lie above another of
them are dropped (a beagle is a dog, so it does not count as a mammal); of what remains, the first in the order of
precedence wins, and a class that is below none of them belongs to "others".

    python -m scripts.concepts_table                 # Table 1 on ILSVRC12's 1,000 classes
    python -m scripts.concepts_table --tree minivan  # why a class is where it is
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hrrl.common.names import composed
from hrrl.concepts import csv_file
from hrrl.concepts.hypernyms import NamedSynsets, Wnids, class_synsets, cut, most_specific, named_synsets, way_down
from hrrl.concepts.hypernyms import find_synset as find_synset
from hrrl.concepts.hypernyms import titles as titles
from hrrl.concepts.names import CONCEPTS, OTHERS, TABLE1_SYNSETS, UNKNOWN, some
from hrrl.concepts.names import TABLE1 as TABLE1
from hrrl.concepts.names import ilsvrc12_wnids as ilsvrc12_wnids
from hrrl.concepts.names import usable_name as usable_name
from hrrl.errors import UserError

Setting = Literal["table1"] | NamedSynsets | dict[str, Any]  # a dict is {"auto": K} or {"csv": file}


def group_wnids(wnids: Iterable[str], concepts: Setting = "table1") -> dict[str, str]:
    """The concept of each ImageNet class, {wnid: concept}; ILSVRC12's 1,000 give Table 1's counts.

    Args:
        wnids: strings such as "n01440764".
        concepts: "table1", a list of {"name": ..., "synset": ...} in order of precedence, or {"auto": K}.
    Raises:
        UserError: a wnid that is malformed or that WordNet 3.0 does not have; a synset that does not exist.

    >>> group_wnids(["n02123045", "n02088364", "n03417042"])  # tabby, beagle, garbage truck
    {'n02123045': 'mammal', 'n02088364': 'dog', 'n03417042': 'vehicle'}
    """
    wnids = list(dict.fromkeys(wnids))
    return group_classes(wnids, wnids, {}, concepts)


def group_classes(
    classes: Iterable[str],
    wnids: Wnids = None,
    synsets: Mapping[str, str] | None = None,
    concepts: Setting = "table1",
) -> dict[str, str]:
    """The concept of each class of a dataset, {class: concept}.

    Args:
        wnids: for each class its wnid or None; or None where no class has one.
        synsets: {class: synset name}, for classes without a wnid; comes before the wnid where there are both.
            WordNet's names of a word's senses: ``hrrl.concepts.wordnet.open_wordnet().synsets("crane")`` lists them.
        concepts: as in :func:`group_wnids`, or {"csv": file} with columns class,concept; class is a name or wnid.
    Raises:
        UserError: a class that has no wnid, no synset and no CSV; a wnid or synset that does not exist; a CSV
            that cannot be read, lacks a class or has one that the dataset does not have.

    >>> synsets = {"tabby": "tabby.n.01", "lorry": "truck.n.01", "mug": "mug.n.04"}
    >>> group_classes(synsets, synsets=synsets)
    {'tabby': 'mammal', 'lorry': 'vehicle', 'mug': 'container'}
    >>> group_classes(synsets, synsets=synsets, concepts=[{"name": "alive", "synset": "organism.n.01"}])
    {'tabby': 'alive', 'lorry': 'others', 'mug': 'others'}
    """
    classes, synsets = list(classes), synsets or {}
    duplicates = [name for name, n in Counter(map(composed, classes)).items() if n > 1]
    if duplicates:
        raise UserError(f"classes: more than one class is named {some(duplicates)}; names must differ")
    concepts = resolve(classes, wnids, synsets, concepts)
    if isinstance(concepts, dict):
        return _of_csv(csv_file.of_classes(csv_file.read(concepts["csv"])), classes, wnids, concepts["csv"])
    concept_synsets = named_synsets(concepts)
    return {
        name: (most_specific(synset, concept_synsets) or [OTHERS])[0]
        for name, synset in class_synsets(classes, wnids, synsets).items()
    }


def resolve(
    classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str], concepts: Setting
) -> NamedSynsets | dict[str, Any]:
    """The ``concepts`` setting as a list of {"name", "synset"}, or {"csv": file}: independent of a dataset.

    An automatic set is cut for the classes given; resolve it once for the benchmark and use the list for the targets.
    """
    if concepts == "table1":
        return TABLE1_SYNSETS
    if isinstance(concepts, dict) and "auto" in concepts:
        return cut(list(class_synsets(classes, wnids, synsets).values()), concepts["auto"])
    return concepts


def concept_order(concepts: Setting) -> list[str]:
    """The names of the concepts in order, "others" last; Table 1's order for "table1".

    An automatic set has an order only once it is resolved (:func:`resolve`).
    """
    if concepts == "table1" or concepts == TABLE1_SYNSETS:
        return list(CONCEPTS)
    if isinstance(concepts, dict):
        return csv_file.order(csv_file.read(concepts["csv"]))
    return [*dict.fromkeys(concept["name"] for concept in concepts), OTHERS]


def class_concepts(
    mapping: Mapping[str, str], classes: Sequence[str], order: Sequence[str]
) -> tuple[list[str], list[int]]:
    """Concepts as training counts them: only those with at least one class.

    Returns:
        The K names, in the given order, and for each class the index of its concept, in 0 .. K - 1.
    """
    used = {mapping[name] for name in classes}
    names = [name for name in order if name in used]
    return names, [names.index(mapping[name]) for name in classes]


def target_distribution(image_concepts: Iterable[str], names: Sequence[str], smoothing: float = 1.0) -> list[float]:
    """q0 for a known target (Section 5): the concept shares of its training images, over the benchmark's concepts.

    q0_k = (n_k + a) / (n + a K), with n_k the target's images of concept k and n their sum: additive smoothing, as
    if every concept had ``a`` more images, so that none has share 0. Images of concepts that the benchmark does not
    have count as "others" if it has that, else not at all; if none is left, q0 is uniform.

    Args:
        image_concepts: the concept's name for each of the target's training images.
        names: the K concepts of the benchmark.
        smoothing: a, in images; positive.
    Returns:
        K shares that sum to 1.
    """
    counts = dict.fromkeys(names, float(smoothing))
    for concept, n in Counter(image_concepts).items():
        concept = concept if concept in counts else OTHERS
        if concept in counts:
            counts[concept] += n
    total = sum(counts.values())
    return [counts[name] / total for name in names]


def concept_shares(
    classes: Sequence[str],
    wnids: Wnids,
    synsets: Mapping[str, str],
    labels: Iterable[int],
    concepts: NamedSynsets | dict[str, Any],
) -> dict[str, float]:
    """The share of a dataset's images per concept, largest first; "unknown" for classes without a wnid or a synset.

    Args:
        classes, wnids, synsets, concepts: as in :func:`group_classes`, with ``concepts`` resolved for the benchmark;
            with a CSV, a class that it lacks is unknown, and so are all where it groups the benchmark's images.
        labels: the class of each image, as its index.
    """
    if isinstance(concepts, dict):
        grouping = csv_file.read(concepts["csv"])
        mapping = _of_csv({} if grouping.by_image else csv_file.of_classes(grouping), classes, wnids)
    else:
        with_synset, pairs = set(map(composed, synsets)), zip(classes, wnids or [None] * len(classes), strict=True)
        known_wnids = {name: wnid for name, wnid in pairs if wnid or composed(name) in with_synset}
        mapping = group_classes(known_wnids, list(known_wnids.values()), synsets, concepts)
    counts = Counter(mapping.get(classes[y], UNKNOWN) for y in labels)
    return {concept: n / counts.total() for concept, n in counts.most_common()}


def members(
    groups: Mapping[str, Sequence[str]], wnids: Mapping[str, str | None], synsets: Mapping[str, str], concepts: Setting
) -> list[dict[str, str]]:
    """The classes of each concept in words, and WordNet's path to the first of them.

    Args:
        groups: {concept: its classes}.
        wnids: of each class; None where it has none.
        synsets: as in :func:`group_classes`.
        concepts: as :func:`resolve` gives them.
    Returns:
        Rows of ``concept``, ``classes`` (words, separated by "; "), ``example`` (one of them) and ``way`` (the synsets
        from the root to it, by way of the concept's; empty where it has no synset).
    """
    class_titles, rows = titles(itertools.chain(*groups.values())), []
    concept_synsets = dict(named_synsets(concepts)) if isinstance(concepts, list) else {}
    for concept, classes in groups.items():
        path: list[str] = []
        if wnids[classes[0]] or classes[0] in synsets:
            (synset,) = class_synsets(classes[:1], [wnids[classes[0]]], synsets).values()
            path = way_down(synset, concept_synsets.get(concept))
        words = [class_titles.get(name, name) for name in classes]
        rows.append({"concept": concept, "classes": "; ".join(words), "example": words[0], "way": " > ".join(path)})
    return rows


def _of_csv(table: Mapping[str, str], classes: Sequence[str], wnids: Wnids, path: str | None = None) -> dict[str, str]:
    """{class: concept} by a file's table of names or wnids; with its path, the classes must be the same."""
    pairs = zip(classes, wnids or [None] * len(classes), strict=True)
    keys = {name: composed(name) if composed(name) in table else wnid or "" for name, wnid in pairs}
    if path and (missing := [name for name, key in keys.items() if key not in table]):
        raise UserError(f"{path}: no concept for class {some(missing)}; every class of the dataset takes a line")
    used = set(keys.values())
    if path and (unknown := [key for key in table if key not in used]):
        raise UserError(f"{path}: the dataset has no class {some(unknown)}; its classes are {some(classes, 20)}")
    return {name: table[key] for name, key in keys.items() if key in table}
