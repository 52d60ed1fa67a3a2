"""How large q's stochastic gradient is, which Theorem 3 bounds by mu."""

import numpy as np
import torch
import torch.nn.functional as F

from hrrl.data.images import Batches
from hrrl.distributed import concept_sums
from hrrl.evaluation import Task
from hrrl.models import Classifier
from hrrl.runtime import Runtime


@torch.inference_mode()
def gradient_norms(
    model: Classifier, task: Task, runtime: Runtime, schedule: Batches, batches: int, seed: int
) -> np.ndarray:
    """Norms of q's stochastic gradient at q = q0 on several training mini-batches; mu of Theorem 3 bounds them.

    At q0 the regulariser's gradient is 0, so these are norms of ``1/m sum_j N/N_k l_j`` (Eq. 6), for any lam.
    """
    runtime.place(model).eval()
    share = task.counts.double() / task.counts.sum()
    concepts, norms = task.concepts.to(runtime.device), []
    for images, y, _ in task.train.train_batches(schedule.batch_size, schedule.augment, seed, 0):
        y = y.to(runtime.device)
        with runtime.autocast():
            losses = F.cross_entropy(model(runtime.images(images)).float(), y, reduction="none")
        sums, m = concept_sums(losses, concepts[y], len(share))
        norms.append(float((sums / m / share).norm()))
        if len(norms) == batches:
            break
    return np.array(norms)
