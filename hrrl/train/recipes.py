"""How a network is trained beyond the paper's SGD and steps: AdamW, cosine, warm-up, averaged weights.

Each is a setting of a schedule that may be left out; without any of them, training is the paper's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from hrrl.data.augment import Augment


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the sections of params.yaml share that say how a network is trained.

    Attributes:
        batch_size: over all processes.
        warmup, milestones: in the unit of the run's length; ``lr`` is divided by 10 after each of the latter.
        ema: decay of the average of the weights, which takes their place.
        momentum: of SGD.
    """

    batch_size: int
    lr: float
    optimizer: Literal["sgd", "adamw"] | None = None
    schedule: Literal["steps", "cosine"] | None = None
    warmup: float | None = None
    label_smoothing: float | None = None
    ema: float | None = None
    milestones: Sequence[int]
    weight_decay: float
    momentum: float | None = None
    augment: Augment


@dataclass(frozen=True, kw_only=True)
class Schedule(Recipe):
    """A recipe for so many epochs, as the training loop takes it."""

    epochs: int


def optimizer(model: nn.Module, schedule: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum on all parameters of a classifier; or AdamW by timm's factory.

    AdamW does not decay biases, norms, and what the backbone itself excludes, such as positions of a transformer.
    """
    settings: dict[str, Any] = {"lr": schedule.lr, "weight_decay": schedule.weight_decay, "fused": True}
    if schedule.optimizer in (None, "sgd"):
        return torch.optim.SGD(model.parameters(), momentum=schedule.momentum or 0.0, **settings)
    from timm.optim import create_optimizer_v2  # timm takes seconds to import, and the paper's recipe does not need it

    return create_optimizer_v2(model.get_submodule("backbone"), schedule.optimizer, **settings)


def learning_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int) -> Callable[[int], None]:
    """A function that sets the learning rate for a step, counted from 0 over the whole run; call it before the step.

    A function of the step alone, so that a run can resume anywhere: by epochs, divided by 10 after milestones; or by
    timm's factory and steps, where the schedule is ``cosine`` (to 0 at the end) or begins with ``warmup`` epochs in
    which the rate rises from a hundredth.

    Args:
        steps: of an epoch.
    """
    warmup = schedule.warmup or 0
    if schedule.epochs and (warmup or schedule.schedule == "cosine"):
        from timm.scheduler import create_scheduler_v2

        scheduler, _ = create_scheduler_v2(
            optimizer,
            "cosine" if schedule.schedule == "cosine" else "multistep",
            num_epochs=schedule.epochs,
            decay_milestones=list(schedule.milestones),
            warmup_epochs=warmup,  # type: ignore[arg-type]
            warmup_lr=schedule.lr / 100,
            step_on_epochs=False,
            updates_per_epoch=steps,
        )
        return scheduler.step_update

    def by_epoch(step: int) -> None:
        passed = sum(step // steps >= milestone for milestone in schedule.milestones)
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr * 0.1**passed

    return by_epoch


def average(model: nn.Module, schedule: Recipe) -> Any:
    """timm's exponential moving average of the weights and statistics, with decay ``ema``; None without one."""
    if not schedule.ema:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, schedule.ema)
