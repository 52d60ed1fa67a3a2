"""Which concept each class belongs to (Section 4, Table 1), by WordNet, by a CSV, or by an automatic cut.

There is one rule for the paper's concepts and for one's own. A concept is a WordNet synset. A class is below all the
synsets that its hypernyms lead to, itself included. Of the concepts above a class, those that lie above another of
them are dropped (a beagle is a dog, so it does not count as a mammal); of what remains, the first in the order of
precedence wins, and a class that is below none of them belongs to "others".

    python -m hrrl.concepts                          # Table 1 on ILSVRC12's 1,000 classes
    python -m hrrl.concepts --tree minivan           # why a class is where it is
    python -m hrrl.concepts --concepts params.yaml data/benchmark
"""

import contextlib
import csv
import difflib
import functools
import hashlib
import importlib.util
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hrrl.common.names import composed
from hrrl.concepts.wordnet import Synset, open_wordnet
from hrrl.errors import UserError

NamedSynsets = list[dict[str, str]]  # {"name", "synset"} of each concept, in order of precedence
Setting = Literal["table1"] | NamedSynsets | dict[str, Any]  # a dict is {"auto": K} or {"csv": file}
Wnids = Sequence[str | None] | None  # of each class; None where no class has one

OTHERS = "others"
UNKNOWN = "unknown"  # of a target's class that WordNet and the CSV say nothing of

# Table 1: the concepts in its order, and how many of ILSVRC12's classes belong to each.
TABLE1 = {
    "animal": 121,
    "artifact": 107,
    "bird": 59,
    "container": 56,
    "device": 129,
    "dog": 118,
    "instrumentality": 106,
    "mammal": 100,
    "structure": 57,
    "vehicle": 67,
    OTHERS: 80,
}
CONCEPTS = tuple(TABLE1)

ENTROPY = "entropy"  # of q: history.csv has it as q_entropy, between the q of the concepts

# The senses that give these counts, in order of precedence. Only vehicle's place matters: 45 classes have several
# most specific concepts, and vehicle is always one of them. For 43 the other is container (a wheeled vehicle is a
# container in WordNet), for the missile device, for the mobile home container and structure. Vehicle, the deepest
# of the four in WordNet, takes them all.
TABLE1_SYNSETS = [
    {"name": "vehicle", "synset": "vehicle.n.01"},
    {"name": "animal", "synset": "animal.n.01"},
    {"name": "artifact", "synset": "artifact.n.01"},
    {"name": "bird", "synset": "bird.n.01"},
    {"name": "container", "synset": "container.n.01"},
    {"name": "device", "synset": "device.n.01"},
    {"name": "dog", "synset": "dog.n.01"},
    {"name": "instrumentality", "synset": "instrumentality.n.03"},
    {"name": "mammal", "synset": "mammal.n.01"},
    {"name": "structure", "synset": "structure.n.01"},
]


def ilsvrc12_wnids() -> list[str]:
    """The 1,000 wnids of ILSVRC12, sorted, which is the order of its labels; from timm's copy of the list."""
    timm = importlib.util.find_spec("timm")  # importing it would take seconds
    if timm is None or timm.origin is None:
        raise UserError("the list of ILSVRC12's wnids is timm's: pip install timm")
    return (
        Path(timm.origin).parent.joinpath("data", "_info", "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    )


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
        classes: names of the classes.
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
    twice = [name for name, n in Counter(map(composed, classes)).items() if n > 1]
    if twice:
        raise UserError(f"classes: more than one class is named {_some(twice)}; names must differ")
    concepts = resolve(classes, wnids, synsets, concepts)
    if isinstance(concepts, dict):
        return _match_csv(concepts["csv"], classes, wnids)
    named = named_synsets(concepts)
    return {
        name: (most_specific(synset, named) or [OTHERS])[0]
        for name, synset in class_synsets(classes, wnids, synsets).items()
    }


def usable_name(name: str) -> str:
    """The name itself, if a concept of one's own can have it: names become columns, labels and keys.

    Raises:
        UserError: it does not read as a name there, or stands for something else.
    """
    if not re.fullmatch(r"[\w .,'()&+/-]{1,64}", name):
        raise UserError(f"{name!r} is no name of a concept; it takes up to 64 letters, digits, spaces and _.,'()&+/-")
    if name in (OTHERS, ENTROPY) or name.lower() in ("na", "n/a", "nan", "null", "none"):
        raise UserError(f"{name!r} stands for something else in tables; give the concept another name")
    return name


def resolve(
    classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str], concepts: Setting
) -> NamedSynsets | dict[str, Any]:
    """The ``concepts`` setting as a list of {"name", "synset"}, or {"csv": file}: what no longer depends on a dataset.

    An automatic set is cut for the classes given; resolve it once for the benchmark and use the list for the targets.
    """
    if concepts == "table1":
        return TABLE1_SYNSETS
    if isinstance(concepts, dict) and "auto" in concepts:
        return _cut(list(class_synsets(classes, wnids, synsets).values()), concepts["auto"])
    return concepts


def concept_order(concepts: Setting) -> list[str]:
    """The names of the concepts in order, "others" last; Table 1's order for "table1".

    An automatic set has an order only once it is resolved (:func:`resolve`).
    """
    if concepts == "table1" or concepts == TABLE1_SYNSETS:
        return list(CONCEPTS)
    if isinstance(concepts, dict):
        if "auto" in concepts:
            raise ValueError("an automatic set of concepts has no order before it is resolved for a benchmark")
        names = list(_read_csv(concepts["csv"]).values())
    else:
        names = [concept["name"] for concept in concepts]
    return [name for name in dict.fromkeys(names) if name != OTHERS] + [OTHERS]


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
            of a CSV, a class that it does not have is unknown.
        labels: the class of each image, as its index.
    """
    wnids = wnids or [None] * len(classes)
    if isinstance(concepts, dict):
        table = _read_csv(concepts["csv"])
        found = {
            name: table.get(composed(name)) or table.get(wnid or "") for name, wnid in zip(classes, wnids, strict=True)
        }
        mapping = {name: concept for name, concept in found.items() if concept}
    else:
        given = set(map(composed, synsets))
        known = {name: wnid for name, wnid in zip(classes, wnids, strict=True) if wnid or composed(name) in given}
        mapping = group_classes(known, list(known.values()), synsets, concepts) if known else {}
    counts = Counter(mapping.get(classes[y], UNKNOWN) for y in labels)
    return {concept: n / counts.total() for concept, n in counts.most_common()}


def members(
    classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str], concepts: NamedSynsets | dict[str, Any]
) -> list[dict[str, str]]:
    """The classes of each concept in words, in the concepts' order, and WordNet's way to the first of them.

    Args:
        classes, wnids, synsets: as in :func:`group_classes`.
        concepts: resolved for these classes (:func:`resolve`).
    Returns:
        Rows of ``concept``, ``classes`` (words, separated by "; "), ``example`` (one of them) and ``way`` (the synsets
        from the root to it, by way of the concept's; empty where it has no synset).
    """
    mapping, words = group_classes(classes, wnids, synsets, concepts), titles(classes)
    heads = {} if isinstance(concepts, dict) else dict(named_synsets(concepts))
    known = dict(zip(classes, wnids or [None] * len(classes), strict=True))
    rows = []
    for concept in class_concepts(mapping, classes, concept_order(concepts))[0]:
        own = [name for name in classes if mapping[name] == concept]
        way: list[str] = []
        if known[own[0]] or own[0] in synsets:
            (synset,) = class_synsets(own[:1], [known[own[0]]], synsets).values()
            way = way_down(synset, heads.get(concept))
        named = [words.get(name, name) for name in own]
        rows.append({"concept": concept, "classes": "; ".join(named), "example": named[0], "way": " > ".join(way)})
    return rows


# ------------------------------------------------------------------------------------------------------- WordNet


def class_synsets(classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str]) -> dict[str, Synset]:
    """{class: NLTK synset}; raises UserError for a class that has neither a synset nor a wnid."""
    found, given = {}, {composed(name): synset for name, synset in synsets.items()}
    for name, wnid in zip(classes, wnids or [None] * len(classes), strict=True):
        if composed(name) in given:
            found[name] = find_synset(given[composed(name)], f"synsets: class {name!r}")
        elif wnid is not None:
            found[name] = find_wnid(wnid)
        else:
            raise UserError(
                f"concepts: class {name!r} has no wnid; give it a synset at datasets.<name>.synsets "
                f"({{{name}: <word>.n.01}}), or list every class's concept in a file (concepts: {{csv: <file>}})"
            )
    return found


def find_wnid(wnid: str) -> Synset:
    """The noun synset with this wnid, e.g. "n02084071" -> dog.n.01."""
    synset = None
    if isinstance(wnid, str) and is_wnid(wnid):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NLTK warns and returns None
            synset = open_wordnet().synset_from_pos_and_offset("n", int(wnid[1:]))
    if synset is None:
        raise UserError(f"wnid {wnid!r} is not in WordNet 3.0; a wnid is n and 8 digits, e.g. n02084071 (dog)")
    return synset


def find_synset(name: str, where: str = "concepts") -> Synset:
    """The noun synset with this name, e.g. "dog.n.01"; ``where`` says in an error message who asked for it."""
    from nltk.corpus.reader.wordnet import WordNetError

    wordnet = open_wordnet()
    word, _, number = name.lower().partition(".n.")
    if number.isdecimal() and int(number) > 0:  # NLTK would count 0 from the end
        try:
            return wordnet.synset(name)
        except WordNetError:  # no such word, or fewer senses of it
            pass
    senses = wordnet.synsets(word, "n")
    if not senses:
        near = difflib.get_close_matches(word.partition(".")[0].replace(" ", "_"), _nouns(), n=5)
        senses = [synset for noun in near for synset in wordnet.synsets(noun, "n")[:2]]
    nearest = ", ".join(f"{synset.name()} ({synset.definition()[:40]})" for synset in list(dict.fromkeys(senses))[:6])
    hint = f"the nearest are {nearest}" if senses else "a noun synset has a name such as dog.n.01"
    raise UserError(f"{where}: there is no noun synset {name!r} in WordNet 3.0; {hint}")


def titles(names: Iterable[str]) -> dict[str, str]:
    """The names that are wnids, in words: {"n02084071": "dog"}; those with the same words get their wnid added."""
    words = {}
    for name in filter(is_wnid, names):
        with contextlib.suppress(UserError):  # a folder that is called like a wnid
            words[name] = find_wnid(name).lemma_names()[0].replace("_", " ")
    shared = Counter(words.values())
    return {name: f"{word} ({name})" if shared[word] > 1 else word for name, word in words.items()}


def is_wnid(name: str) -> bool:
    return re.fullmatch(r"n\d{8}", name) is not None


def way_down(synset: Synset, concept: Synset | None = None) -> list[str]:
    """Names of the synsets on the shortest way from WordNet's root to a synset, by way of a concept's."""
    ways = [[node.name() for node in way] for way in synset.hypernym_paths() if concept is None or concept in way]
    return min(ways, key=lambda way: (len(way), way))


@functools.cache
def _nouns() -> list[str]:
    return list(open_wordnet().all_lemma_names("n"))


@functools.cache
def ancestors(synset: Synset) -> frozenset[Synset]:
    """The synset itself and all its hypernyms, up to entity.n.01."""
    above = [ancestors(hypernym) for hypernym in synset.hypernyms() + synset.instance_hypernyms()]
    return frozenset([synset]).union(*above)


def most_specific(synset: Synset, concepts: Sequence[tuple[str, Synset]]) -> list[str]:
    """Names of the most specific concepts above a synset, in order of precedence: the first one is its concept.

    ``concepts``: (name, synset) pairs in order of precedence.
    """
    above = [(name, concept) for name, concept in concepts if concept in ancestors(synset)]
    beaten = {a for _, concept in above for a in ancestors(concept) if a != concept}
    return [name for name, concept in above if concept not in beaten]


def named_synsets(concepts: NamedSynsets) -> list[tuple[str, Synset]]:
    return [(concept["name"], find_synset(concept["synset"], f"concepts: {concept['name']}")) for concept in concepts]


def _cut(synsets: Iterable[Synset], K: int) -> NamedSynsets:
    """At most K - 1 synsets that cut the hypernym tree of the classes' synsets into groups of similar size.

    Carves one group after the other: of all synsets above the classes that are left, the one whose number of
    classes comes nearest to an equal share of what is left. The last group is "others".
    """
    cut: list[Synset] = []
    rest = list(synsets)
    below = Counter(above for synset in rest for above in ancestors(synset))
    while len(cut) < K - 1:
        share = len(rest) / (K - len(cut))
        candidates = [synset for synset, n in below.items() if 0 < n < len(rest)]
        if not candidates:
            break
        best = min(candidates, key=lambda s: (abs(below[s] - share), -len(ancestors(s)), s.name()))
        cut.append(best)
        for synset in [synset for synset in rest if best in ancestors(synset)]:
            rest.remove(synset)
            below.subtract(ancestors(synset))
    words = [_identifier(synset.lemma_names()[0]) for synset in cut]
    return [
        {"name": _identifier(synset.name()) if words.count(word) > 1 else word, "synset": synset.name()}
        for word, synset in zip(words, cut, strict=True)
    ]


def _identifier(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


# ----------------------------------------------------------------------------------------------------------- CSV


def csv_hash(concepts: Setting) -> str | None:
    """SHA-256 of the file that the setting ``concepts`` names, None where it names none.

    Raises:
        UserError: the file cannot be read.
    """
    if not (isinstance(concepts, dict) and "csv" in concepts):
        return None
    _read_csv(concepts["csv"])
    return hashlib.sha256(Path(os.path.expanduser(concepts["csv"])).read_bytes()).hexdigest()


def _read_csv(path: str | Path) -> dict[str, str]:
    """{class: concept} of a file with the header class,concept."""
    path = Path(os.path.expanduser(path))  # pathlib's own raises where there is no home
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); it takes a CSV with columns class,concept") from None
    if header != ["class", "concept"]:
        raise UserError(f"{path}: the first line is {','.join(header)!r}; it takes class,concept")
    table: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != 2 or not all(field.strip() for field in row):
            raise UserError(f"{path}, line {number}: {','.join(row)!r}; a line takes a class and its concept")
        name, concept = (composed(field.strip()) for field in row)
        if concept != OTHERS:
            try:
                usable_name(concept)
            except UserError as error:
                raise UserError(f"{path}, line {number}: {error}") from None
        if table.setdefault(name, concept) != concept:
            raise UserError(f"{path}, line {number}: class {name!r} is both {table[name]!r} and {concept!r}")
    return table


def _match_csv(path: str, classes: Sequence[str], wnids: Wnids) -> dict[str, str]:
    table = _read_csv(path)
    keys = {
        name: composed(name) if composed(name) in table else wnid
        for name, wnid in zip(classes, wnids or [None] * len(classes), strict=True)
    }
    found = {name: table[key] for name, key in keys.items() if key in table}
    missing = [name for name in keys if name not in found]
    if missing:
        raise UserError(f"{path}: no concept for class {_some(missing)}; every class of the dataset takes a line")
    used = set(keys.values())
    unknown = [key for key in table if key not in used]
    if unknown:
        raise UserError(f"{path}: the dataset has no class {_some(unknown)}; its classes are {_some(classes, 20)}")
    return found


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
