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
    train(params, variant, int(seed), variant_spec(variant), settings_of(params, variant), model_folder(variant, seed))


def train(params, name: str, seed: int, spec: dict, pretraining: tuple, folder, stage: str = "pretrain") -> None:
    """Trains on the benchmark; writes to ``folder`` the model, what it is, and how it was trained.

    Args:
        spec: the points of both axes, with all settings.
        pretraining: the settings and the weights to start from, as stages.variants.training gives them.
        stage: whose cell it is.
    """
    with start(params, several=True) as runtime:
        import torch

        from hrrl import methods
        from hrrl.train import models, recipes, training
        from hrrl.train.progress import run_status

        settings, title = pretraining[0], f"{name} seed {seed}"
        task = benchmark_task(params, settings.image_size)
        torch.manual_seed(seed)
        model = network(*pretraining, task.train.classes, title)
        axes = methods.example_axis(spec["example"]), methods.concept_axis(spec["concept"], task.counts)
        inputs = {"pretrain": settings.as_dict(), "variant": spec, "seed": seed}
        data = [dataset_folder(), CONCEPTS / "benchmark.json"]
        checkpoint = open_checkpoint(params, f"{stage}-{key(name, seed)}", inputs, data)
        status = run_status(runtime, title, course(params, stage, name, seed))
        schedule = typed(recipes.Schedule, settings)
        trained = training.Training(model, task, training.Axes(*axes), schedule, runtime, seed, title, status)
        trained.fit(checkpoint)
        if runtime.is_writer:
            description = {part: settings[part] for part in ("backbone", "backbone_args", "image_size")}
            description |= {"classes": task.train.classes, "variant": {name: spec}, "seed": seed}
            description |= {"benchmark": params.benchmark, "pretrain": settings.as_dict()}
            with replacing(folder) as temporary:
                models.save(trained.result, temporary, description)
                write_rows(temporary / "history.csv", trained.history)
                np.savez(temporary / "trace.npz", **trained.trace.arrays())
            with replacing(measured_speed(params, name, seed)) as file:
                write_rows(file, trained.speed)
            checkpoint.clear()


def network(settings, origin: dict | None, classes: list[str], title: str):
    """A new network, or one that starts from weights."""
    from hrrl.train import models, weights

    backbone, args = settings.backbone, settings.backbone_args
    model = models.build(backbone, len(classes), args)
    if origin:
        pretrained = weights.open_weights(weights.Init(**origin["init"]), backbone, args, origin["key"])
        kept = pretrained.put_into(model, classes, read_json(dataset_folder() / "dataset.json")["wnids"])
        print(f"{title}: from {pretrained.path}; {kept} of {len(classes)} classes keep their row of the head")
    return model


if __name__ == "__main__":
    run(main, "variant", "seed")
