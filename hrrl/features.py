"""The features that a pretrained model is judged by: what its last linear layer gets."""

import numpy as np
import torch
from tqdm import tqdm

from hrrl.models import Classifier
from hrrl.runtime import Runtime

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
