"""Where things are: the folders of data/, models/ and .work/, and their names."""

import json
from itertools import product
from pathlib import Path

from hrrl.files import remove, replacing

WORK = Path(".work")  # git-ignored: checkpoints, measured speeds, the course of runs, logs


def key(variant: str, seed) -> str:
    """The name of one pretraining run, of its folder in models/ and of all that is measured on it."""
    return f"{variant}-{seed}"


def model_folder(params, variant: str, seed) -> Path:
    return Path("models", params.name, key(variant, seed))


def measured(params, what: str, variant: str, seed, suffix: str = "") -> Path:
    """Where a stage keeps what it measures on one pretraining run."""
    return Path("data", params.name, what, key(variant, seed) + suffix)


def measured_speed(params, variant: str, seed) -> Path:
    """Where the speed of a pretraining run is kept: no result, so git and DVC leave it alone."""
    return WORK / "speed" / params.name / f"{key(variant, seed)}.csv"


def course(params, stage: str, variant: str, seed) -> Path:
    """Where a cell that trains keeps its course while it goes."""
    return WORK / "course" / params.name / f"{stage}@{key(variant, seed)}"


def dataset_folder(params, target: str | None = None) -> Path:
    """The manifest folder of a target, or (None) of the benchmark."""
    return Path("data", params.name, *(("targets", target) if target else ("benchmark",)))


def concepts_folder(params) -> Path:
    return Path("data", params.name, "concepts")


def resolved(params, what: str, name: str) -> Path:
    """What the stage ``resolve`` made of a variant (``variants``) or dataset (``datasets``)."""
    return Path("data", params.name, "resolved", what, f"{name}.json")


def preflight_file(params) -> Path:
    """What the stage ``preflight`` writes when it has found all that params.yaml names."""
    return Path("data", params.name, "preflight.json")


def selected(params, variant: str) -> Path:
    """What a variant is, with the numbers that the search found in the place of "searched"."""
    return Path("data", params.name, "selected", f"{variant}.json")


def search_cells(params) -> list[tuple]:
    """The points of the search with each of its seeds."""
    return [(point, seed) for point in params.search.points for seed in params.search.seeds]


def search_model(params, point: str, seed) -> Path:
    """The model of a point of the search."""
    return measured(params, "search_models", point, seed)


def searched(params, point: str, seed) -> Path:
    """What a point of the search scored with one of its seeds."""
    return measured(params, "search", point, seed, ".json")


def q0_file(params, variant: str) -> Path:
    """Where the concepts stage writes the reference distribution of a variant."""
    return concepts_folder(params) / "q0" / f"{variant}.json"


def remove_unnamed(params) -> list[Path]:
    """Removes what an earlier params.yaml named, and this one does not, from folders that cells depend on whole.

    Left there, it would count as a change. DVC's cache keeps it.
    """
    stages = {"features": params.runs.svm, "svm": params.runs.svm, "finetune": params.runs.finetune}
    stages |= {"robustness": params.runs.pretrain}
    named = {stage: [key(*run) for run in product(variants, params.seeds)] for stage, variants in stages.items()}
    named |= {"targets": params.targets, "search": [key(*cell) for cell in search_cells(params)]}
    folders = {Path("data", params.name, folder): names for folder, names in named.items()}
    found = [path for folder, names in folders.items() for path in folder.glob("[!.]*") if path.stem not in names]
    for path in found:
        remove(path)
    return found


def read_json(path: Path):
    return json.loads(path.read_text())


def write_json(path: Path, content) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
