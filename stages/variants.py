"""The settings of a variant, in full."""

from pathlib import Path

from stages.common import Settings, plain
from stages.paths import STARTS, q0_file, read_json, resolved, selected


def axes(variant) -> dict:
    """The points of both axes as params.yaml has them, with all settings."""
    content = read_json(resolved("variants", variant))
    return {axis: content[axis] for axis in ("example", "concept")}


def variant_spec(variant) -> dict:
    """The points of both axes with all settings, q0 as the numbers that the concepts stage worked out."""
    spec = read_json(selected(variant))
    for settings in (spec["concept"] or {}).values():
        if "q0" in settings:
            settings["q0"] = read_json(q0_file(variant))
    return spec


def training(params, variant=None):
    """The section ``pretrain`` of a variant, or (None) of the search, without paths of weights.

    And its entry of STARTS, None where it starts at random.
    """
    settings = params.pretrain.as_dict()
    overrides = read_json(resolved("variants", variant)) if variant else settings
    settings |= {"epochs": overrides["epochs"], "init": placeless(overrides.get("init"))}
    section = {key: value for key, value in settings.items() if key != "init" or value}
    return Settings(section, "pretrain."), read_json(STARTS).get(variant or "")


def placeless(init) -> dict | None:
    """Weights to start from, without the folder that their file lies in: the hash says which they are."""
    if init in (None, "none"):
        return None
    return {k: Path(v).name if k in ("file", "model") else v for k, v in plain(init).items() if v not in (None, False)}
