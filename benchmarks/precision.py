"""What bfloat16 changes: the direction of a perturbation, and the accuracy of a short training."""

from itertools import chain, count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.axes import BATCH, NETS, TAU, compute, plain_gradient, stepper
from benchmarks.throughput import real_images
from hrrl import objective
from hrrl.data.augment import Augment
from hrrl.train import evaluation, models, recipes, runtime, training
from hrrl.train.checkpoint import Checkpoint

AUGMENT = Augment(crop="padded", padding=2, flip=True)


def cosine(rounds: int, small: bool) -> dict:
    """Of the perturbation to the float32 one, on trained networks."""
    values = {}
    for key, net, size in (("el_direction_cosine", "32px", 32), ("el_direction_cosine_quick", "quick", 28)):
        with TemporaryDirectory() as work:
            values[key] = direction_cosine(max(rounds, 5), net, real_images(Path(work), size, per_class=2000))
    return {"values": values}


def direction_cosine(rounds: int, net: str, source, steps: int = 300) -> list[float]:
    """Mean cosine of the perturbation in the default precision to the float32 one; on ``rounds`` held-out batches.

    The net is trained by el for ``steps`` steps, with the learning rate falling to 0, on the first part of ``source``.
    """
    _, *of = NETS[net]
    with runtime.start(compute()) as here:
        el = training.Axes(objective.Gradient(TAU), objective.GroupWeighting([1]))
        run = stepper(of, torch.zeros(len(source.classes), dtype=torch.long), el, here, lr=0.05, decay=5e-4)
        epochs = (source.train_batches(BATCH, AUGMENT, 0, epoch) for epoch in count())
        for done, (images, y, m) in enumerate(islice(chain.from_iterable(epochs), steps)):
            run.optimizer.param_groups[0]["lr"] = 0.05 * (1 - done / steps)
            run.step(run.model, here.images(images), y, m)
        cosines = []
        for _, (images, y) in zip(range(rounds), source.eval_batches(BATCH), strict=False):
            x = here.images(images)
            with here.autocast():
                low = objective.perturb(run.model, x, y, 1.0) - x
            high = objective.normalised(plain_gradient(run.model, x, y))
            cosines.append(float((low * high).flatten(1).sum(1).mean()))
    return cosines


def accuracy(rounds: int, small: bool) -> dict:
    """Of a short training in the default precision and layout, and in float32 and contiguous."""
    values = {}
    with TemporaryDirectory() as work:
        images = [real_images(Path(work), 28, per_class=1000, split=split) for split in ("train", "test")]
        for name, changes in (("default", {}), ("float32", {"precision": "float32", "channels_last": False})):
            runs = [short_training(*images, seed, Path(work, f"{name}-{seed}"), changes) for seed in range(rounds)]
            values[f"short_training_accuracy_{name}"] = runs
    return {"values": values}


def short_training(train, test, seed: int, folder: Path, changes: dict) -> float:
    """Accuracy (%) after three epochs of erm with the quick preset's net, with ``changes`` to the settings."""
    _, backbone, arguments = NETS["quick"]
    sgd = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    schedule = recipes.Schedule(epochs=3, batch_size=BATCH, milestones=[2], augment=AUGMENT, **sgd)
    task = evaluation.GroupedData.by_class(train, test, torch.zeros(len(train.classes), dtype=torch.long), ["all"])
    with runtime.start(compute(2, **changes)) as here:
        torch.manual_seed(seed)
        model = models.build(backbone, len(train.classes), arguments)
        run = training.Training(model, task, training.erm(task), schedule, here, seed, str(seed))
        run.fit(Checkpoint(folder, {}))
    return run.history[-1]["val_accuracy"]
