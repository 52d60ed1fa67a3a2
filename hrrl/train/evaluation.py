"""What a run trains on and is measured on, and the measurement: accuracy and loss, in total and per concept."""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from hrrl.common.distributed import concept_sums
from hrrl.data.loading import Source
from hrrl.train.runtime import Runtime


@dataclass
class GroupedData:
    """What a run trains on: labelled images, each in one of K concepts, which are WILDS's and group DRO's groups.

    Attributes:
        train: images to train on, or another cut of their epochs (hrrl.train.fixed_step_batches.FixedStepBatches).
        test: those of the accuracy per epoch.
        train_concepts, test_concepts: int64, the concept of each of their images, in their order.
        names: the K concepts' names.
    """

    train: Source
    test: Source
    train_concepts: torch.Tensor
    test_concepts: torch.Tensor
    names: list[str]

    @classmethod
    def by_class(cls, train: Source, test: Source, concepts: torch.Tensor, names: list[str]) -> Self:
        """With the concept of each of the C classes, (C,) int64, for all of its images."""
        return cls(train, test, concepts[train.labels], concepts[test.labels], names)

    @property
    def counts(self) -> torch.Tensor:
        """N_k, (K,) training images per concept."""
        return torch.bincount(self.train_concepts, minlength=len(self.names))


@torch.no_grad()
def evaluate(model: nn.Module, task: GroupedData, runtime: Runtime, batch_size: int) -> dict[str, Any]:
    """Accuracy in percent and loss on the test part, each image once over all processes; also per concept.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    model.eval()
    K = len(task.names)
    concepts = task.test_concepts.tensor_split(runtime.world_size)[runtime.rank].to(runtime.device)
    outputs = []
    for x, y in runtime.feed(task.test.eval_batches(batch_size, runtime.rank, runtime.world_size)):
        with runtime.autocast():
            logits = model(x).float()
        hits, loss = (logits.argmax(1) == y).double(), F.cross_entropy(logits, y, reduction="none").double()
        outputs.append(torch.stack([hits, loss]))
    hits, loss = torch.cat(outputs, 1) if outputs else torch.zeros(2, 0, device=runtime.device)
    correct, total = (sums.cpu() for sums in concept_sums(hits, concepts, K))
    losses = concept_sums(loss, concepts, K)[0].cpu()
    if not losses.isfinite().all():
        raise FloatingPointError(
            "the loss on the held-out images is not finite: the network has diverged; lower lr or the method's strength"
        )
    counts = torch.bincount(task.test_concepts, minlength=K).double()
    row = {"val_accuracy": 100 * float(correct.sum()) / float(total), "val_loss": float(losses.sum()) / float(total)}
    for k, name in enumerate(task.names):
        if counts[k] == 0:  # the validation part has no image of this concept
            continue
        row[f"accuracy_{name}"] = 100 * float(correct[k] / counts[k])
        row[f"loss_{name}"] = float(losses[k] / counts[k])
    return row
