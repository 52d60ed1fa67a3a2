"""Types and bounds of methods' settings: annotations of constructors' arguments, from which the schema is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch


@dataclass(frozen=True)
class Bound:
    """Limits of a number: greater than, at least, at most."""

    gt: float | None = None
    ge: float | None = None
    le: float | None = None


Count = Annotated[int, Bound(ge=1)]
Natural = Annotated[int, Bound(ge=0)]
Positive = Annotated[float, Bound(gt=0)]
NonNegative = Annotated[float, Bound(ge=0)]
Fraction = Annotated[float, Bound(gt=0, le=1)]

# (K,) shares of the concepts that sum to 1. In params.yaml ``empirical`` (also where it is left out), ``uniform``,
# {concept: share} or ``target:<name>``; the concepts stage makes numbers of it.
Shares = Annotated[Sequence[float] | torch.Tensor, Bound()]
