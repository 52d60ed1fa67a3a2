"""Synsets of WordNet: by name, wnid or class, their hypernyms, and the automatic cut into groups."""

from __future__ import annotations  # NLTK, which has Synset, takes a second to import

import contextlib
import difflib
import functools
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hrrl.common.names import composed, is_wnid
from hrrl.concepts.wordnet import open_wordnet
from hrrl.errors import UserError

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import Synset

NamedSynsets = list[dict[str, str]]  # {"name", "synset"} of each concept, in order of precedence
Wnids = Sequence[str | None] | None  # of each class; None where no class has one


def class_synsets(classes: Sequence[str], wnids: Wnids, synsets: Mapping[str, str]) -> dict[str, Synset]:
    """{class: NLTK synset}; raises UserError for a class that has neither a synset nor a wnid."""
    class_synset, synset_names = {}, {composed(name): synset for name, synset in synsets.items()}
    for name, wnid in zip(classes, wnids or [None] * len(classes), strict=True):
        if composed(name) in synset_names:
            class_synset[name] = find_synset(synset_names[composed(name)], f"synsets: class {name!r}")
        elif wnid is not None:
            class_synset[name] = find_wnid(wnid)
        else:
            raise UserError(
                f"concepts: class {name!r} has no wnid; give it a synset at datasets.<name>.synsets "
                f"({{{name}: <word>.n.01}}), or list every class's concept in a file (concepts: {{csv: <file>}})"
            )
    return class_synset


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
    """The noun synset with this name, e.g. "dog.n.01"; ``where`` is the setting that an error message names."""
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
        lemma = word.partition(".")[0].replace(" ", "_")
        similar = difflib.get_close_matches(lemma, list(wordnet.all_lemma_names("n")), n=5)
        senses = [synset for noun in similar for synset in wordnet.synsets(noun, "n")[:2]]
    nearest = ", ".join(f"{synset.name()} ({synset.definition()[:40]})" for synset in list(dict.fromkeys(senses))[:6])
    hint = f"the nearest are {nearest}" if senses else "a noun synset has a name such as dog.n.01"
    raise UserError(f"{where}: there is no noun synset {name!r} in WordNet 3.0; {hint}")


def titles(names: Iterable[str]) -> dict[str, str]:
    """The names that are wnids, in words: {"n02084071": "dog"}; those with the same words get their wnid added."""
    words = {}
    for name in filter(is_wnid, names):
        with contextlib.suppress(UserError):  # a folder whose name only looks like a wnid
            words[name] = find_wnid(name).lemma_names()[0].replace("_", " ")
    counts = Counter(words.values())
    return {name: f"{word} ({name})" if counts[word] > 1 else word for name, word in words.items()}


def way_down(synset: Synset, concept: Synset | None = None) -> list[str]:
    """Names of the synsets on the shortest path from WordNet's root to a synset, through a concept's if given."""
    paths = [[node.name() for node in path] for path in synset.hypernym_paths() if concept is None or concept in path]
    return min(paths, key=lambda path: (len(path), path))


@functools.cache
def ancestors(synset: Synset) -> frozenset[Synset]:
    """The synset itself and all its hypernyms, up to entity.n.01."""
    return frozenset(node for path in synset.hypernym_paths() for node in path)


def most_specific(synset: Synset, concepts: Sequence[tuple[str, Synset]]) -> list[str]:
    """Names of the most specific concepts above a synset, in order of precedence: the first one is its concept.

    ``concepts``: (name, synset) pairs in order of precedence.
    """
    above = [(name, concept) for name, concept in concepts if concept in ancestors(synset)]
    less_specific = {a for _, concept in above for a in ancestors(concept) if a != concept}
    return [name for name, concept in above if concept not in less_specific]


def named_synsets(concepts: NamedSynsets) -> list[tuple[str, Synset]]:
    return [(concept["name"], find_synset(concept["synset"], f"concepts: {concept['name']}")) for concept in concepts]


def cut(synsets: Sequence[Synset], K: int) -> NamedSynsets:
    """At most K - 1 synsets that cut the hypernym tree of the classes' synsets into groups of similar size.

    Carves one group after the other: of all synsets above the remaining classes, the one whose number of classes
    comes nearest to an equal share of them. The last group is "others".
    """
    carved: list[Synset] = []
    remaining = list(synsets)
    while len(carved) < K - 1:
        share = len(remaining) / (K - len(carved))
        class_counts = Counter(above for synset in remaining for above in ancestors(synset))
        candidates = [synset for synset, n in class_counts.items() if n < len(remaining)]
        if not candidates:
            break
        best = min(candidates, key=lambda s: (abs(class_counts[s] - share), -len(ancestors(s)), s.name()))
        carved.append(best)
        remaining = [synset for synset in remaining if best not in ancestors(synset)]
    words = [_identifier(synset.lemma_names()[0]) for synset in carved]
    return [
        {"name": _identifier(synset.name()) if words.count(word) > 1 else word, "synset": synset.name()}
        for word, synset in zip(words, carved, strict=True)
    ]


def _identifier(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
