"""The same functions, faster: convolutions of tiny images, the input gradient's pass, the SVM's Newton steps.

One switch turns all of it off (``compute.fast`` in params.yaml); results then agree up to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_on = True


@contextmanager
def switched(on: bool) -> Iterator[None]:
    """Everything in this folder on or off, for this process, until the end of the ``with``."""
    global _on
    previous, _on = _on, on
    try:
        yield
    finally:
        _on = previous


def is_on() -> bool:
    return _on
