"""Table 1, and the names that concepts can have."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from hrrl.errors import UserError

OTHERS = "others"
UNKNOWN = "unknown"  # of a target's class that WordNet and the CSV say nothing of
ENTROPY = "entropy"  # of q: history.csv has it as q_entropy, between the q of the concepts

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

# The senses that give these counts, in order of precedence. Only vehicle's place matters: 45 classes have several
# most specific concepts, and vehicle is always one of them. For 43 the other is container (a wheeled vehicle is a
# container in WordNet), for the missile device, for the mobile home container and structure. Vehicle, the deepest
# of the four in WordNet, takes them all.
TABLE1_SYNSETS = [
    {"name": name, "synset": f"{name}.n.03" if name == "instrumentality" else f"{name}.n.01"}
    for name in ("vehicle", *CONCEPTS[:-2])
]


def ilsvrc12_wnids() -> list[str]:
    """The 1,000 wnids of ILSVRC12, sorted, which is the order of its labels; from timm's copy of the list."""
    timm = importlib.util.find_spec("timm")  # importing it would take seconds
    if timm is None or timm.origin is None:
        raise UserError("the list of ILSVRC12's wnids is timm's: pip install timm")
    file = Path(timm.origin).parent / "data/_info/imagenet_synsets.txt"
    return file.read_text(encoding="utf-8").split()


def usable_name(name: str) -> str:
    """The name itself, if a user's concept may have it: names become columns, labels and keys.

    Raises:
        UserError: it cannot be read back from there, or is reserved.
    """
    if not re.fullmatch(r"[\w .,'()&+/-]{1,64}", name):
        raise UserError(f"{name!r} is no name of a concept; it takes up to 64 letters, digits, spaces and _.,'()&+/-")
    reserved = name in (OTHERS, ENTROPY) or re.fullmatch(r"step_[0-9.e+-]+", name)  # the latter: measures by step size
    if reserved or name.lower() in ("na", "n/a", "nan", "null", "none"):
        raise UserError(f"{name!r} stands for something else in tables; give the concept another name")
    return name


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, for a message."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
