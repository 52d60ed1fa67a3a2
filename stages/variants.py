"""What a variant is, in all its numbers."""

from stages.paths import q0_file, read_json, selected


def variant_spec(params, variant) -> dict:
    """The points of both axes with all settings, q0 as the numbers that the concepts stage worked out."""
    spec = read_json(selected(params, variant))
    for settings in (spec["concept"] or {}).values():
        if "q0" in settings:
            settings["q0"] = read_json(q0_file(params, variant))
    return spec
