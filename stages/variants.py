"""What a variant is, in all its numbers."""

from stages.paths import q0_file, read_json, resolved, selected


def axes(variant) -> dict:
    """The points of both axes as params.yaml has them, with all settings."""
    found = read_json(resolved("variants", variant))
    return {axis: found[axis] for axis in ("example", "concept")}


def variant_spec(variant) -> dict:
    """The points of both axes with all settings, q0 as the numbers that the concepts stage worked out."""
    spec = read_json(selected(variant))
    for settings in (spec["concept"] or {}).values():
        if "q0" in settings:
            settings["q0"] = read_json(q0_file(variant))
    return spec
