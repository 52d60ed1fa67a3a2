"""Where things are: the folders of data/, models/ and .work/, and their names."""

import json
import re
from itertools import product
from pathlib import Path

from hrrl.common.files import remove
from hrrl.common.files import write_json as write_json

DATA, MODELS, REPORTS = Path("data"), Path("models"), Path("reports")  # of the experiment that params.yaml describes
CONCEPTS = DATA / "concepts"
STARTS = DATA / "resolved" / "starts.json"  # the weights that variants start from, and where these lie
PREFLIGHT = DATA / "preflight.json"  # written when all is found that params.yaml names
STOP = "stop"  # the file in the folder of logs that ends cells
WORK = Path(".work")  # git-ignored: checkpoints, measured speeds, the course of runs, logs


def key(variant: str, seed) -> str:
    """The name of one pretraining run, of its folder in models/ and of all that is measured on it."""
    return f"{variant}-{seed}"


def model_folder(variant: str, seed) -> Path:
    return MODELS / key(variant, seed)


def measured(folder: str, variant: str, seed, suffix: str = "") -> Path:
    """Where a stage keeps what it measures on one pretraining run."""
    return DATA / folder / (key(variant, seed) + suffix)


def measured_speed(params, variant: str, seed) -> Path:
    """Where the speed of a pretraining run is kept: no result, so git and DVC leave it alone."""
    return WORK / "speed" / params.name / f"{key(variant, seed)}.csv"


def course(params, stage: str, variant: str, seed) -> Path:
    """Progress files of a cell that trains."""
    return WORK / "course" / params.name / f"{stage}@{key(variant, seed)}"


def dataset_folder(target: str | None = None) -> Path:
    """The manifest folder of a target, or (None) of the benchmark."""
    return DATA / "targets" / target if target else DATA / "benchmark"


def resolved(folder: str, name: str) -> Path:
    """What the stage ``resolve`` wrote of a variant (``variants``), dataset (``datasets``) or stage (``stages``)."""
    return DATA / "resolved" / folder / f"{name}.json"


def selected(variant: str) -> Path:
    """The axes of a variant, with the numbers that the search found in the place of "searched"."""
    return DATA / "selected" / f"{variant}.json"


def search_cells(params) -> list[tuple]:
    """The points of the search with each of its seeds."""
    return [(point, seed) for point in params.search.points for seed in params.search.seeds]


def search_model(point: str, seed) -> Path:
    """The model of a point of the search."""
    return measured("search_models", point, seed)


def q0_file(variant: str) -> Path:
    """Where the concepts stage writes the reference distribution of a variant."""
    return CONCEPTS / "q0" / f"{variant}.json"


def remove_unnamed(params) -> list[Path]:
    """Removes outputs of runs, points of the search and targets that params.yaml no longer names.

    They would count as a change, for cells depend on whole folders. DVC's cache keeps them.
    """
    runs = params.runs
    stages = {"features": runs.svm, "svm": runs.svm, "finetune": runs.finetune, "robustness": runs.pretrain}
    valid = {DATA / stage: [key(*run) for run in product(variants, params.seeds)] for stage, variants in stages.items()}
    valid[MODELS] = valid[DATA / "smoothness"] = valid[DATA / "robustness"]
    valid |= {DATA / folder: [key(*cell) for cell in search_cells(params)] for folder in ("search", "search_models")}
    stale = [path for folder, names in valid.items() for path in folder.glob("[a-z]*-*") if run_of(path) not in names]
    stale += [path for path in (DATA / "selected").glob("[!.]*") if path.stem not in runs.pretrain]
    stale += [path for path in (DATA / "targets").glob("[!.]*") if path.name not in params.targets]
    for path in stale:
        remove(path)
    return stale


def run_of(path: Path) -> str:
    """The name of the run, or point, that a file or folder is of: "tau0.5-100" of "tau0.5-100.json"."""
    return re.sub(r"\.(json|csv|npz)$", "", path.name)


def read_json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))
