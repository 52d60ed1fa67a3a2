"""Pretrains one variant with one seed on the benchmark (Algorithm 1): models/<variant>-<seed>/."""

from stages.checkpoints import open_checkpoint
from stages.common import run, typed
from stages.inputs import start
from stages.paths import CONCEPTS, course, dataset_folder, key, measured_speed, model_folder, read_json
from stages.tasks import benchmark_task
from stages.variants import training as settings_of
from stages.variants import variant_spec

import numpy as np

from hrrl.common.files import replacing
from hrrl.common.rows import write_rows


def main(params, variant, seed):
    spec, seed, settings = variant_spec(variant), int(seed), settings_of(params, variant)
    with start(params, several=True) as here:
        training, checkpoint = train(params, here, spec, "pretrain", variant, seed, *settings)
        if here.writes:
            save(params, training, variant, spec, seed, model_folder(variant, seed), settings[0])
            with replacing(measured_speed(params, variant, seed)) as file:
                write_rows(file, training.speed)
            checkpoint.clear()


def train(params, here, spec: dict, stage: str, name: str, seed: int, settings, origin: dict | None):
    """The finished training on the benchmark that a cell of a stage asks for, and its checkpoint.

    ``settings`` and ``origin`` as stages.variants.training gives them.
    """
    import torch

    from hrrl import methods
    from hrrl.train import models, recipes, training, weights
    from hrrl.train.progress import run_status

    task = benchmark_task(params, settings.image_size)
    torch.manual_seed(seed)
    model = models.build(settings.backbone, len(task.train.classes), settings.backbone_args)
    title = f"{name} seed {seed}"
    if origin:
        found = weights.open_weights(origin["init"], settings.backbone, settings.backbone_args, origin["key"])
        kept = found.put_into(model, task.train.classes, read_json(dataset_folder() / "dataset.json")["wnids"])
        print(f"{title}: from {found.path}; {kept} of {len(task.train.classes)} classes keep their row of the head")
    variant = training.Variant(
        methods.example_axis(spec["example"]), methods.concept_axis(spec["concept"], task.counts)
    )
    used = {"pretrain": settings.as_dict(), "variant": spec, "seed": seed}
    data = [dataset_folder(), CONCEPTS / "benchmark.json"]
    checkpoint = open_checkpoint(params, f"{stage}-{key(name, seed)}", used, data)
    status = run_status(here, title, course(params, stage, name, seed))
    schedule = typed(recipes.Schedule, settings)
    run = training.Training(model, task, variant, schedule, here, seed, title, status)
    run.fit(checkpoint)
    return run, checkpoint


def save(params, training, name: str, spec: dict, seed: int, folder, settings) -> None:
    """Writes a trained model, what it is, and how it was trained."""
    from hrrl.train import models

    description = {
        "backbone": settings.backbone,
        "backbone_args": settings.backbone_args,
        "image_size": settings.image_size,
        "classes": training.task.train.classes,
        "variant": {name: spec},
        "seed": seed,
        "benchmark": params.benchmark,
        "pretrain": settings.as_dict(),
    }
    with replacing(folder) as temporary:
        models.save(training.result, temporary, description)
        write_rows(temporary / "history.csv", training.history)
        np.savez(temporary / "trace.npz", **training.trace.arrays())


if __name__ == "__main__":
    run(main, "variant", "seed")
