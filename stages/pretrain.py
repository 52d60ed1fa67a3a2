"""Pretrains one variant with one seed on the benchmark (Algorithm 1): models/<variant>-<seed>/."""

from stages.checkpoints import open_checkpoint
from stages.common import run, this_machine
from stages.paths import CONCEPTS, course, dataset_folder, key, measured_speed, model_folder
from stages.tasks import benchmark_task
from stages.variants import variant_spec

import numpy as np

from hrrl.common.files import replacing
from hrrl.common.rows import write_rows
from hrrl.train import launch


def main(params, variant, seed):
    launch.join(params.launch, this_machine())
    from hrrl.train import runtime

    spec, seed = variant_spec(variant), int(seed)
    with runtime.start(params.compute) as here:
        training, checkpoint = train(params, here, spec, "pretrain", variant, seed)
        if here.writes:
            save(params, training, variant, spec, seed, model_folder(variant, seed))
            with replacing(measured_speed(params, variant, seed)) as file:
                write_rows(file, training.speed)
            checkpoint.clear()


def train(params, here, spec: dict, stage: str, name: str, seed: int):
    """The finished training on the benchmark that a cell of a stage asks for, and its checkpoint."""
    import torch

    from hrrl import methods
    from hrrl.train import models, training
    from hrrl.train.progress import watching

    settings = params.pretrain
    task = benchmark_task(params, settings.image_size)
    torch.manual_seed(seed)
    model = models.build(settings.backbone, len(task.train.classes), settings.backbone_args)
    variant = training.Variant(
        methods.example_axis(spec["example"]), methods.concept_axis(spec["concept"], task.counts)
    )
    used = {"pretrain": settings.as_dict(), "variant": spec, "seed": seed}
    data = [dataset_folder(), CONCEPTS / "benchmark.json"]
    checkpoint = open_checkpoint(params, f"{stage}-{key(name, seed)}", used, data)
    title = f"{name} seed {seed}"
    watch = watching(here, title, course(params, stage, name, seed))
    run = training.Training(model, task, variant, settings, here, seed, title, watch)
    run.fit(checkpoint)
    return run, checkpoint


def save(params, training, name: str, spec: dict, seed: int, folder) -> None:
    """Writes a trained model, what it is, and how it was trained."""
    from hrrl.train import models

    settings = params.pretrain
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
        models.save(training.model, temporary, description)
        write_rows(temporary / "history.csv", training.history)
        np.savez(temporary / "trace.npz", **training.trace.arrays())


if __name__ == "__main__":
    run(main, "variant", "seed")
