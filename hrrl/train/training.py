"""The one training loop: Algorithm 1 over epochs, for pretraining and (with neither axis) for fine-tuning."""

import time
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import nn

from hrrl.common.distributed import all_reduce
from hrrl.errors import UserError
from hrrl.methods.interfaces import GroupWeighting, Perturbation
from hrrl.methods.q_history import QHistory
from hrrl.train import recipes
from hrrl.train.checkpoint import Checkpoint
from hrrl.train.evaluation import GroupedData, evaluate
from hrrl.train.models import Classifier
from hrrl.train.progress import Callback
from hrrl.train.runtime import Runtime

REMEDY = "lower lr or the method's strength"  # of a run that diverges


@dataclass
class Axes:
    """A point on each axis: how examples are moved, and how their losses are weighted."""

    example: Perturbation
    concept: GroupWeighting


def erm(task: GroupedData) -> Axes:
    return Axes(Perturbation(), GroupWeighting(task.counts))


@dataclass
class Training:
    """One run of Algorithm 1.

    Args:
        model: trained in place.
        seed: of the data order, the augmentation, and whatever is random in the model.
        title: of the run, for messages.
        callback: is told where the run is.
    """

    model: Classifier
    task: GroupedData
    axes: Axes
    schedule: recipes.Schedule
    runtime: Runtime
    seed: int
    title: str
    callback: Callback = field(default_factory=Callback)

    def __post_init__(self) -> None:
        self.runtime.to_device(self.model)
        self.axes.concept.to(self.runtime.device)
        self.optimizer = recipes.optimizer(self.model, self.schedule)
        self.ema = recipes.average(self.model, self.schedule)
        steps = self.task.train.steps(self.schedule.batch_size)
        self.rate = recipes.learning_rate(self.optimizer, self.schedule, steps)
        self.smoothing = self.schedule.label_smoothing or 0.0
        half = self.runtime.precision == torch.float16
        self.scaler = torch.amp.GradScaler(self.runtime.device.type, enabled=half)
        # Otherwise the momentum is uninitialised memory if the first step overflows.
        if self.scaler.is_enabled() and isinstance(self.optimizer, torch.optim.SGD):
            for parameter in self.model.parameters():
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.history: list[dict[str, Any]] = []  # one row per epoch: deterministic
        self.speed: list[dict[str, Any]] = []  # and measured
        self.trace = QHistory(self.axes.concept)
        self.within: dict[str, Any] = {"step": 0}  # what a checkpoint within an epoch has of it

    def fit(self, checkpoint: Checkpoint) -> None:
        """Trains, from the step that ``checkpoint`` has; ``history`` and ``speed`` have a row per epoch then.

        Raises:
            KeyboardInterrupt: SIGUSR2 came; the checkpoint has the run up to this step.
            FloatingPointError: a loss is not finite, or no step was taken at all.
            UserError: this process has other params, code or data than the first one.
        """
        self._resume(checkpoint)
        if not self.schedule.epochs:  # the model as it came, measured
            self.trace.close_epoch()
            measured = evaluate(self.model, self.task, self.runtime, self.schedule.batch_size)
            self.history = [{"epoch": 0, "step": 0, "lr": 0.0, "train_loss": None} | measured]
            return
        net = self.runtime.parallel(self.model)
        for epoch in range(len(self.history), self.schedule.epochs):
            start, steps_before = time.perf_counter(), self.within["step"]
            loss = self._epoch(net, epoch, checkpoint)
            seconds = time.perf_counter() - start
            lr = self.optimizer.param_groups[0]["lr"]
            row: dict[str, Any] = {"epoch": epoch + 1, "step": self.axes.concept.t, "lr": lr, "train_loss": loss}
            row |= self.trace.close_epoch()
            row |= evaluate(self.result, self.task, self.runtime, self.schedule.batch_size)
            self.history.append(row | distribution(self.axes.concept, self.task.names))
            batch_size = min(self.schedule.batch_size, len(self.task.train))
            images = (self.task.train.steps(self.schedule.batch_size) - steps_before) * batch_size
            self.speed.append({"epoch": epoch + 1, "images_per_second": round(images / seconds, 1)})
            if self.runtime.rank == 0:
                checkpoint.save(self._state(), self.trace.epochs[-1])
            self.callback.epoch(self.history, images / seconds)
        if self.scaler.is_enabled() and self.history[-1]["step"] == 0:
            raise FloatingPointError(f"{self.title}: every step overflowed; set compute.precision to bfloat16")

    @property
    def result(self) -> Classifier:
        """What the run is for: the model, or the average of its weights where the schedule asks for one."""
        return self.ema.module if self.ema else self.model

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own in a checkpoint."""
        parts = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        parts |= {"concept": self.axes.concept, "ema": self.ema}
        return {name: part for name, part in parts.items() if part is not None}

    def _state(self) -> dict[str, Any]:
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return {"epoch": len(self.history), **states, "history": self.history, "speed": self.speed}

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Resumes all processes, on whichever node, from the first one's checkpoint."""
        first_key = self.runtime.from_first(lambda: checkpoint.key)
        if different := [part for part in first_key if first_key[part] != checkpoint.key[part]]:
            raise UserError(
                f"{self.title}: {' and '.join(different)} of process {self.runtime.rank} differ from the first one's; "
                "every node needs the same"
            )
        saved = self.runtime.from_first(checkpoint.load)
        if saved is None:
            return
        state, self.trace.epochs = saved
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.history, self.speed = state["history"], state["speed"]
        self.within = state.get("within", self.within)

    def _resume_epoch(self) -> tuple[int, torch.Tensor | float, int]:
        """Steps of the epoch that the checkpoint has, the sum of their losses in this process, and its images."""
        within, self.within = self.within, {"step": 0}
        if not within["step"]:
            return 0, 0.0, 0
        process = within["processes"][self.runtime.rank]
        self.trace.load_state_dict(process["trace"])
        self.runtime.set_random_state(process["random"])
        return within["step"], process["total"], process["count"]

    def _stop(self, checkpoint: Checkpoint, step: int, total: torch.Tensor, count: int) -> NoReturn:
        """Ends all processes together, with a checkpoint after so many steps of an epoch."""
        process = {"total": float(total), "count": count, "trace": self.trace.state_dict()}
        process["random"] = self.runtime.random_state()
        within = {"step": step, "processes": self.runtime.from_all(process)}
        self.runtime.from_first(lambda: checkpoint.save(self._state() | {"within": within}))
        raise KeyboardInterrupt

    def _epoch(self, net: nn.Module, epoch: int, checkpoint: Checkpoint) -> float:
        """One epoch; returns the mean unweighted training loss (on the moved images, where the method moves them)."""
        net.train()
        runtime, batch_size = self.runtime, self.schedule.batch_size
        # Whatever else is random (noise, dropout) is seeded anew for each epoch and process.
        torch.manual_seed(self.seed + 1_000_003 * epoch + 998_244_353 * runtime.rank)
        done, total, count = self._resume_epoch()
        task = self.task
        labels = torch.stack([task.train.labels, task.train_concepts])  # (2, n): classes, concepts
        batches = task.train.drawn_batches(
            batch_size, self.schedule.augment, self.seed, epoch, runtime.rank, runtime.world_size, slice(done, None)
        )
        steps = task.train.steps(batch_size)
        try:
            labelled = runtime.feed((images, labels[:, rows], m) for images, rows, m in batches)
            reported = self.callback.steps(labelled, steps, epoch + done / steps, self.schedule.epochs)
            for step, (x, (y, concepts), m) in enumerate(reported, done + 1):
                self.rate(epoch * steps + step - 1)
                losses = self.step(net, x, y, concepts, m)
                self.callback.step(losses, self.trace, task.names)
                total, count = total + losses.double().sum(), count + m
                if step < steps and runtime.should_stop(step):  # the last one is saved with the epoch
                    self._stop(checkpoint, step, total, count)
            self.axes.concept.check()
        except FloatingPointError as error:
            raise FloatingPointError(f"{self.title}: epoch {epoch + 1}: {error}; {REMEDY}") from None
        mean = float(all_reduce(torch.as_tensor(total, dtype=torch.float64).clone())) / count
        if not mean < float("inf"):
            raise FloatingPointError(f"{self.title}: the training loss of epoch {epoch + 1} is {mean}; {REMEDY}")
        return mean

    def step(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor, concepts: torch.Tensor, m: int) -> torch.Tensor:
        """One iteration of Algorithm 1 on this process's part of a batch of ``m``; returns its (b,) detached losses.

        ``y`` and ``concepts`` are (b,) int64 on the device. Nothing in it waits for a GPU, but for float16's
        scaler: results are read at the epoch's end.

        ``net`` is what the gradients synchronise through (DDP where there are several processes), ``model`` the same
        network without: the input gradient of the example axis does not wait for other processes.
        """
        runtime, axes, scaler = self.runtime, self.axes, self.scaler
        with runtime.autocast():
            x = axes.example(self.model, x, y)
            losses = F.cross_entropy(net(x).float(), y, reduction="none", label_smoothing=self.smoothing)
        detached = losses.detach()
        weights = axes.concept.weights(concepts, detached).to(losses.dtype)
        # DDP averages gradients over the processes; the sum over all of them divided by m is the batch's mean.
        loss = (weights * losses).sum() * (runtime.world_size / m)
        self.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        scaler.step(self.optimizer)
        scaler.update()
        runtime.share_statistics(self.model)
        if self.ema:
            self.ema.update(self.model)
        if scaler.get_scale() >= scale:  # a step that the scaler skips for an overflow is no step of Algorithm 1
            self.trace.record(detached, concepts)
            axes.concept.update(detached, concepts)
        return detached


def distribution(concept: GroupWeighting, names: list[str]) -> dict[str, float]:
    """q over the concepts, and its entropy in nats; nothing of a weighting whose q does not adapt."""
    if not concept.adaptive:
        return {}
    q = concept.q.cpu()
    shares = {f"q_{name}": share for name, share in zip(names, q.tolist(), strict=True)}
    return {"q_entropy": float(torch.special.entr(q).sum())} | shares
