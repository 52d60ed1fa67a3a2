"""What is measured on a pretrained model, apart from the linear SVM (hrrl.svm) and fine-tuning (hrrl.training)."""

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from hrrl.models import Classifier
from hrrl.objective import Gradient, concept_sums
from hrrl.runtime import Runtime
from hrrl.training import Task, evaluate

BATCH = 256


@torch.inference_mode()
def features(model: Classifier, source, runtime: Runtime, title: str = "features") -> np.ndarray:
    """(n, d) float32 features of all images of a source, in its order: the input of the last linear layer."""
    model.to(runtime.device, memory_format=runtime.memory_format).eval()
    batches = tqdm(source.eval_batches(BATCH), total=-(-len(source) // BATCH), desc=title, leave=False, mininterval=1)
    parts = []
    for images, _ in batches:
        with runtime.autocast():
            parts.append(model.features(runtime.images(images)).float().cpu())
    return torch.cat(parts).numpy()


def augmented_accuracy(model: Classifier, task: Task, runtime: Runtime, steps: list[float]) -> list[dict]:
    """Accuracy on the validation images, each moved by a step size along its loss gradient (Fig. 4).

    The model attacks its own images; step size 0 leaves them as they are.

    Returns:
        One row per step size, as :func:`hrrl.training.evaluate` gives it.
    """
    model.to(runtime.device, memory_format=runtime.memory_format)
    bar = tqdm(steps, desc="step sizes", leave=False)
    return [{"step_size": step} | evaluate(model, task, runtime, BATCH, Gradient(step)) for step in bar]


@torch.inference_mode()
def gradient_norms(model: Classifier, task: Task, runtime: Runtime, schedule, batches: int, seed: int) -> np.ndarray:
    """Norms of q's stochastic gradient at q = q0 on several training mini-batches; mu of Theorem 3 bounds them.

    At q0 the regulariser's gradient is 0, so these are norms of ``1/m sum_j N/N_k l_j`` (Eq. 6), for any lam.
    """
    model.to(runtime.device, memory_format=runtime.memory_format).eval()
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
