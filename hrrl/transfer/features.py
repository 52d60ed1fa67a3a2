"""The features that a pretrained model is judged by: what its last linear layer gets."""

import numpy as np
from tqdm import tqdm

from hrrl.data.loading import Source
from hrrl.train.models import Classifier
from hrrl.train.runtime import Runtime
from hrrl.transfer.extraction import extract_features

BATCH = 256


def features(
    model: Classifier, source: Source, runtime: Runtime, title: str = "features", rows: np.ndarray | None = None
) -> np.ndarray:
    """(n, d) float32 features of a source's images, all or those of ``rows``: the input of the last linear layer.

    Raises:
        FloatingPointError: they are not finite.
    """
    runtime.to_device(model)
    batches = source.eval_batches(BATCH, rows=rows)
    n_batches = -(-(len(source) if rows is None else len(rows)) // BATCH)
    batches = tqdm(batches, total=n_batches, desc=title, leave=False, mininterval=1)
    with runtime.autocast():
        x = extract_features(model, ((runtime.images(images), y) for images, y in batches))[0]
    if not np.isfinite(x).all():
        raise FloatingPointError(f"{title}: features are not finite; set compute.precision to bfloat16 or float32")
    return x
