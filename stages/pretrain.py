"""Pretrains one variant with one seed on the benchmark (Algorithm 1): models/<name>/<variant>-<seed>/."""

import json

from common import (
    benchmark_task,
    concepts_folder,
    dataset_folder,
    key,
    model_folder,
    open_checkpoint,
    q0_file,
    run,
    whole,
)

import pandas as pd

from hrrl import launch


def main(params, variant, seed):
    launch.join(params.launch)
    import torch

    from hrrl import methods, models, runtime, training

    settings, spec, seed = params.pretrain, params.variants[variant].spec(), int(seed)
    with runtime.start(params.compute) as here:
        task = benchmark_task(params, settings.image_size)
        torch.manual_seed(seed)
        model = models.build(settings.backbone, len(task.train.classes), settings.backbone_args)
        concept = methods.concept_axis(with_q0(params, variant, spec["concept"]), task.counts)
        method = training.Method(methods.example_axis(spec["example"]), concept)
        used = {"pretrain": settings.model_dump(), "variant": spec, "seed": seed}
        data = [dataset_folder(params), concepts_folder(params) / "benchmark.json", q0_file(params, variant)]
        checkpoint = open_checkpoint(params, key(variant, seed), used, data)
        title = f"{variant} seed {seed}"
        history, speed = training.fit(model, task, method, settings, here, seed, checkpoint, title)
        if here.writes:
            description = {
                "backbone": settings.backbone,
                "backbone_args": settings.backbone_args,
                "image_size": settings.image_size,
                "classes": task.train.classes,
                "variant": {variant: spec},
                "seed": seed,
            }
            with whole(model_folder(params, variant, seed)) as folder:
                models.save(model, folder, description)
                pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
                pd.DataFrame(speed).to_csv(folder / "speed.csv", index=False)
            checkpoint.clear()


def with_q0(params, variant, point):
    """The point of the concept axis with its q0 as the concepts stage worked it out: shares, or null."""
    if point and "q0" in (settings := next(iter(point.values()))):
        settings["q0"] = json.loads(q0_file(params, variant).read_text())
    return point


if __name__ == "__main__":
    run(main, "variant", "seed")
