"""The gallery as the page shows it: the pictures that :mod:`hrrl.gallery` made, with their text."""

import base64
import json
from pathlib import Path

from hrrl.report.results import Results, label

DIFFERS = {
    "none": "nothing differs from the benchmark",
    "images": "the same concepts, other images",
    "concepts": "the same kind of images, other concepts",
    "both": "other images of other concepts",
}
LISTED = 12  # names of classes under a picture


def pictures(results: Results) -> dict | None:
    """The content of gallery.json with each picture as a data URI and each row in words; None without a gallery."""
    if results.gallery is None:
        return None
    folder = Path(results.gallery)
    content = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    return {
        "concepts": [_captioned(folder, row, row["name"], _listed(row["classes"])) for row in content["concepts"]],
        "datasets": [_captioned(folder, row, *_dataset(results, row)) for row in content["datasets"]],
        "moves": [{"class": image["class"], "rows": _moves(folder, image["rows"])} for image in content["moves"]],
        "mover": results.labels[content["baseline"]],
        "weights": _weights(results, folder, content.get("weights")),
        "neighbours": [_neighbours(results, folder, row) for row in content["neighbours"]],
    }


def _captioned(folder: Path, row: dict, title: str, text: str) -> dict:
    return {"title": title, "text": text, **_picture(folder, row["picture"])}


def _picture(folder: Path, sheet: dict) -> dict:
    """Source, size and alternative text of an <img>."""
    content = base64.b64encode((folder / sheet["file"]).read_bytes()).decode()
    size = {name: sheet[name] for name in ("width", "height", "alt")}
    return {"source": f"data:image/webp;base64,{content}", **size}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _dataset(results: Results, row: dict) -> tuple[str, str]:
    """Title and text of the benchmark (which has no name) or of a target."""
    if not row["name"]:
        return results.benchmark, "the benchmark: " + _listed(row["classes"])
    differs = DIFFERS.get(results.shifts.get(row["name"], ""), "")
    return row["name"], ": ".join(filter(None, [differs, _listed(row["classes"])]))


def _moves(folder: Path, rows: list[dict]) -> list[dict]:
    """What each perturbation does to one image."""
    shown = []
    for row in rows:
        seen = f"{row['prediction']}, {100 * row['probability']:.0f} %; loss {row['loss']:.2f}"
        if row["point"] is None:
            title, text = "as it is", seen
        else:
            title = label({"example": row["point"], "concept": None})
            text = f"{seen}; moved by {row['length']:.2g}, difference × {row['amplified']:g}"
        shown.append(_captioned(folder, row, title, text))
    return shown


def _weights(results: Results, folder: Path, weights: dict | None) -> dict | None:
    """The most and the least weighted concept of the headline's run."""
    if weights is None:
        return None
    by_name = {row["name"]: row for row in weights["concepts"]}
    shown = []
    for key in ("most", "least"):
        concept, row = weights[key], by_name[weights[key]["name"]]
        text = f"{key} weighted: q {row['q']:.3f} of a share of {row['share']:.3f}, so each image counts "
        text += f"{row['weight']:.2f} times; mean loss {concept['loss']:.2f}"
        shown.append(_captioned(folder, concept, concept["name"], text))
    return {"variant": results.labels[results.headline], "shown": shown}


def _neighbours(results: Results, folder: Path, row: dict) -> dict:
    """Test images of a target, each with its nearest training images by the features of each model."""
    queries = []
    for query in row["queries"]:
        near = [
            _captioned(folder, found, results.labels[variant], ", ".join(found["classes"]))
            for variant, found in query["models"].items()
        ]
        queries.append(_captioned(folder, query, query["class"], "") | {"near": near})
    return {"target": row["target"], "queries": queries}
