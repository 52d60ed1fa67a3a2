"""The same functions, faster: convolutions of tiny images, the input gradient's pass, the SVM's Newton steps.

One switch turns all of it off (``compute.fast`` in params.yaml); results then agree up to rounding.
"""

_on = True


def use(on: bool) -> None:
    """Switches everything in this folder on or off, for this process."""
    global _on
    _on = on


def is_on() -> bool:
    return _on
