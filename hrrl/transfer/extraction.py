"""Features of any network's images."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from hrrl.common.model_utils import evaluation_mode, unwrapped
from hrrl.train.models import features_of


@torch.no_grad()  # not inference_mode: some networks keep tensors, and are trained or moved against afterwards
def extract_features(
    model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[np.ndarray, np.ndarray]:
    """The features that the paper transfers, what a network's last linear layer gets, and the labels of all images.

    Any classifier of torchvision, timm or Hugging Face will do, also one that is wrapped by DDP or torch.compile; one
    without a head (timm's ``num_classes=0``) gives its features itself. It runs in evaluation mode and is left in the
    modes that it had. Call it under ``torch.autocast`` for another precision.

    Args:
        model: network that takes the batches' images; on its device.
        batches: (images, labels) pairs, such as a DataLoader's, with (b, 3, H, W) images as the model takes them.
    Returns:
        (n, d) float32 features and (n,) labels, in the order of the batches.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 4), torch.nn.Flatten(), torch.nn.Linear(16, 5))
    >>> x, y = extract_features(model, [(torch.rand(4, 3, 4, 4), torch.tensor([0, 1, 2, 3]))])
    >>> x.shape, y.tolist()
    ((4, 16), [0, 1, 2, 3])
    """
    model = unwrapped(model)
    device = next((parameter.device for parameter in model.parameters()), None)
    features, labels = [], []
    with evaluation_mode(model):
        for x, y in batches:
            features.append(features_of(model, x.to(device, non_blocking=True)).float().cpu())
            labels.append(torch.as_tensor(y))
    return torch.cat(features).numpy(), torch.cat(labels).cpu().numpy()
