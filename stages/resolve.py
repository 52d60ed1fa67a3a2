"""Checks params.yaml, and writes what each variant, dataset and stage is: settings with all defaults, and the code.

One file for each: what changes one of them makes just what uses it outdated.
"""

from stages import code_hash
from stages.common import plain, read_params, run
from stages.paths import DATA, remove_unnamed
from stages.variants import placeless

from hrrl import arithmetic
from hrrl.common.files import replacing, write_json
from hrrl.data import readers
from hrrl.settings.schema import load

GRADIENT, *OTHERS = (f"hrrl.methods.example.{name}" for name in ("gradient", "noise", "pgd", "wrm"))
ADVERSARIAL = "hrrl.methods.concept.hrrl"
STAGES = {  # the keys of params.yaml that decide what a stage writes; dvc.yaml lists what else does
    "preflight": [
        *("seeds", "benchmark", "targets", "concepts", "pretrain.backbone", "pretrain.backbone_args"),
        *("pretrain.image_size", "pretrain.batch_size", "pretrain.lr", "pretrain.optimizer", "finetune.batch_size"),
        *("compute", "launch"),
    ],
    "manifest": [],
    "concepts": ["benchmark", "targets", "concepts", "runs.pretrain", "svm.folds", "svm.shots"],
    "search_model": ["benchmark", "pretrain", "search.c", "search.s", "compute", "launch"],
    "search": ["benchmark", "targets", "svm", "robustness", "compute"],
    "select": ["targets", "search.points", "search.seeds"],
    "given": [],
    "pretrain": ["benchmark", "pretrain", "compute", "launch"],
    "card": ["seeds", "runs.pretrain"],
    "features": ["targets", "compute"],
    "svm": ["targets", "svm", "compute.fast"],
    "finetune": ["targets", "finetune", "compute", "launch"],
    "robustness": ["benchmark", "robustness", "compute"],
    "theory": ["seeds", "theory", "runs.pretrain"],
    "gallery": ["seeds", "benchmark", "targets", "headline", "runs.pretrain", "runs.svm", "compute"],
    "report": [
        *("name", "seeds", "benchmark", "targets", "shifts", "claims", "headline", "concepts", "runs", "pretrain"),
        *("search", "svm", "finetune", "robustness", "theory", "compute", "launch"),
    ],
}
FOUND = {  # the code that stages find by its name, whatever params.yaml says
    "search_model": [GRADIENT, ADVERSARIAL],
    "gallery": [GRADIENT, *OTHERS, ADVERSARIAL],
    "report": OTHERS,
}


def main(params):
    files = {f"variants/{name}.json": variant(params, name) for name in params.runs.pretrain}
    files["starts.json"] = params.starts()
    for name in dict.fromkeys([params.benchmark, *params.targets]):
        files[f"datasets/{name}.json"] = dataset(params.datasets[name])
    computed = arithmetic.PORTABLE if params.compute.arithmetic == "portable" else "native"
    raw_params = read_params()
    for stage in STAGES:
        code = code_hash.code(f"stages.{stage}", *FOUND.get(stage, ()))
        files[f"stages/{stage}.json"] = {"settings": settings(raw_params, stage), "arithmetic": computed, "code": code}
    with replacing(DATA / "resolved") as folder:
        for name, content in files.items():
            write_json(folder / name, content)
    remove_unnamed(params)


def settings(raw_params, stage: str) -> dict:
    """What a stage depends on of params.yaml; it reads the values back from its file (stages/common.py)."""
    values = {key: setting(raw_params, key) for key in STAGES[stage]}
    return {key: pretrain(value, stage) if key == "pretrain" else value for key, value in values.items()}


def setting(params, key: str):
    """The value of a dotted key, as params.yaml has it."""
    for part in key.split("."):
        params = params[part]
    return plain(params)


def pretrain(section: dict, stage: str) -> dict:
    """The section without paths of weights; for the stage ``pretrain``, without what a variant's file has."""
    omitted = ("epochs", "init") if stage == "pretrain" else ()
    return {key: placeless(value) if key == "init" else value for key, value in section.items() if key not in omitted}


def variant(params, name: str) -> dict:
    spec, code = params.variants[name].spec(), {}
    for axis, point in spec.items():
        for method in point or ():
            code |= code_hash.code(f"hrrl.methods.{axis}.{method}")
    epochs, _, init = params.training(name)
    return spec | {"epochs": epochs, "init": placeless(init and init.model_dump()), "code": code}


def dataset(definition) -> dict:
    return definition.model_dump(mode="json") | {"code": code_hash.code(readers.module(definition.kind))}


if __name__ == "__main__":
    run(main, params=load)
