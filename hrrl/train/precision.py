"""The precision in which the network's passes are computed on this machine."""

from typing import Protocol

import torch


class Compute(Protocol):
    """The keys of the params section ``compute`` that decide it."""

    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...


def in_use(compute: Compute) -> str:
    """compute.precision, or "float32" in the place of "bfloat16" where the machine has no instructions for it.

    There PyTorch imitates them, at a fraction of float32's speed.
    """
    return "float32" if compute.precision == "bfloat16" and not _has_bfloat16(compute.device) else compute.precision


def _has_bfloat16(device: str) -> bool:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
