"""The one training loop: Algorithm 1 over epochs, for pretraining and (with neither axis) for fine-tuning."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from hrrl.checkpoint import Checkpoint
from hrrl.errors import UserError
from hrrl.models import Classifier
from hrrl.objective import Clean, Weighting, all_reduce, concept_sums
from hrrl.runtime import Runtime


@dataclass
class Task:
    """What a run trains on: images of C classes, each class in one of K concepts.

    Attributes:
        train, test: sources of images (hrrl.data.open_split), the second for the accuracy per epoch.
        concepts: (C,) int64, the concept of each class.
        names: the K concepts' names.
    """

    train: object
    test: object
    concepts: torch.Tensor
    names: list[str]

    @property
    def counts(self) -> torch.Tensor:
        """N_k, (K,) training images per concept."""
        return torch.bincount(self.concepts[self.train.labels], minlength=len(self.names))


@dataclass
class Method:
    """A variant: how examples are moved, and how their losses are weighted."""

    example: Callable
    concept: Weighting


def erm(task: Task) -> Method:
    return Method(Clean(), Weighting(task.counts))


def learning_rate(schedule, epoch: int) -> float:
    """The learning rate of an epoch (counted from 0): divided by 10 after each milestone."""
    return schedule.lr * 0.1 ** sum(epoch >= milestone for milestone in schedule.milestones)


def fit(
    model: Classifier,
    task: Task,
    method: Method,
    schedule,
    runtime: Runtime,
    seed: int,
    checkpoint: Checkpoint,
    title: str,
) -> tuple[list[dict], list[dict]]:
    """Trains ``model`` in place by Algorithm 1.

    Args:
        schedule: epochs, batch_size (over all processes), lr, milestones, weight_decay, momentum, augment.
        seed: of the data order, the augmentation, and whatever is random in the model.
    Returns:
        The history, one row per epoch (deterministic), and the measured speed, one row per epoch.
    Raises:
        FloatingPointError: the training loss is not finite.
    """
    model.to(runtime.device, memory_format=runtime.memory_format)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == torch.float16)
    history, speed, first = [], [], 0
    state = _resume(checkpoint, runtime, title)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        method.concept.load_state_dict(state["concept"])
        history, speed, first = state["history"], state["speed"], state["epoch"]
    net = runtime.parallel(model)
    for epoch in range(first, schedule.epochs):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(schedule, epoch)
        started = time.perf_counter()
        loss = _train_epoch(net, model, task, method, schedule, optimizer, scaler, runtime, seed, epoch, title)
        seconds = time.perf_counter() - started
        images = task.train.steps(schedule.batch_size) * min(schedule.batch_size, len(task.train))
        row = {
            "epoch": epoch + 1,
            "step": method.concept.t,
            "lr": learning_rate(schedule, epoch),
            "train_loss": loss,
        }
        history.append(row | evaluate(model, task, runtime, schedule.batch_size) | distribution(method, task))
        speed.append({"epoch": epoch + 1, "images_per_second": round(images / seconds, 1)})
        if runtime.rank == 0:
            checkpoint.save(
                {
                    "epoch": epoch + 1,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "scaler": scaler.state_dict(),
                    "concept": method.concept.state_dict(),
                    "history": history,
                    "speed": speed,
                }
            )
    return history, speed


def _resume(checkpoint: Checkpoint, runtime: Runtime, title: str) -> dict | None:
    """The first process's checkpoint, in all of them, wherever they run.

    Raises:
        UserError: this process trains something else than the first one.
    """
    theirs = runtime.from_first(lambda: checkpoint.key)
    if differs := [part for part in theirs if theirs[part] != checkpoint.key[part]]:
        what = " and ".join(differs)
        raise UserError(
            f"{title}: {what} of process {runtime.rank} differ from the first one's; every node needs the same"
        )
    return runtime.from_first(checkpoint.load)


def _train_epoch(net, model, task, method, schedule, optimizer, scaler, runtime, seed, epoch, title) -> float:
    """One epoch; returns the mean unweighted training loss (on the moved images, where the method moves them)."""
    net.train()
    # Whatever else is random (noise, dropout) starts afresh with each epoch, on each process: nothing to save.
    torch.manual_seed(seed + 1_000_003 * epoch + 998_244_353 * runtime.rank)
    total, count = 0.0, 0
    batches = task.train.train_batches(
        schedule.batch_size, schedule.augment, seed, epoch, runtime.rank, runtime.world_size
    )
    bar = tqdm(
        batches,
        total=task.train.steps(schedule.batch_size),
        desc=f"{title} epoch {epoch + 1}/{schedule.epochs}",
        disable=runtime.rank > 0,
        leave=False,
        mininterval=1,
    )
    for images, y, m in bar:
        x, y = runtime.images(images), y.to(runtime.device)
        losses = train_step(net, model, x, y, task.concepts, m, method, optimizer, scaler, runtime)
        total, count = total + losses.double().sum(), count + m
    mean = float(all_reduce(torch.as_tensor(total).clone())) / count
    if not mean < float("inf"):
        raise FloatingPointError(f"{title}: the training loss of epoch {epoch + 1} is {mean}; lower lr or lam's effect")
    return mean


def train_step(net, model, x, y, class_concepts, m, method: Method, optimizer, scaler, runtime: Runtime):
    """One iteration of Algorithm 1 on this process's part of a batch of ``m``; returns its (b,) detached losses.

    ``net`` is what the gradients synchronise through (DDP where there are several processes), ``model`` the same
    network without: the input gradient of the example axis does not wait for other processes.
    """
    concepts = class_concepts.to(y.device)[y]
    with runtime.autocast():
        x = method.example(model, x, y)
        losses = F.cross_entropy(net(x).float(), y, reduction="none")
    detached = losses.detach()
    weights = method.concept.weights(concepts, detached).to(losses.dtype)
    # DDP averages gradients over the processes; the sum over all of them divided by m is the batch's mean.
    loss = (weights * losses).sum() * (runtime.world_size / m)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    runtime.share_statistics(model)
    if scaler.get_scale() >= scale:  # a step that the scaler skips for an overflow is no step of Algorithm 1
        method.concept.update(detached, concepts)
    return detached


@torch.no_grad()
def evaluate(model: nn.Module, task: Task, runtime: Runtime, batch_size: int, example: Callable | None = None) -> dict:
    """Accuracy in percent and loss on the test part, each image once over all processes; also per concept.

    With ``example``, on images moved by it (Fig. 4): the model attacks its own images.
    """
    model.eval()
    K = len(task.names)
    correct, losses, total = torch.zeros(K, dtype=torch.float64), torch.zeros(K, dtype=torch.float64), 0
    class_concepts = task.concepts.to(runtime.device)
    outputs = []
    for images, y in task.test.eval_batches(batch_size, runtime.rank, runtime.world_size):
        x, y = runtime.images(images), y.to(runtime.device)
        with runtime.autocast():
            logits = model(example(model, x, y) if example else x).float()
        hits, loss = (logits.argmax(1) == y).double(), F.cross_entropy(logits, y, reduction="none").double()
        outputs.append(torch.stack([class_concepts[y].double(), hits, loss]))
    where, hits, loss = torch.cat(outputs, 1) if outputs else torch.zeros(3, 0, device=runtime.device)
    correct, total = concept_sums(hits, where.long(), K)
    losses, _ = concept_sums(loss, where.long(), K)
    counts = torch.bincount(task.concepts[task.test.labels], minlength=K).double()
    row = {"val_accuracy": 100 * float(correct.sum()) / total, "val_loss": float(losses.sum()) / total}
    for k, name in enumerate(task.names):
        if counts[k] == 0:  # the validation part has no image of this concept
            continue
        row[f"accuracy_{name}"] = 100 * float(correct[k] / counts[k])
        row[f"loss_{name}"] = float(losses[k] / counts[k])
    return row


def distribution(method: Method, task: Task) -> dict:
    """q over the concepts, and its entropy in nats."""
    q = method.concept.q
    row = {"q_entropy": float(torch.special.entr(q).sum())}
    return row | {f"q_{name}": float(share) for name, share in zip(task.names, q, strict=True)}
