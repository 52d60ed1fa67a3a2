"""Convolutions of tiny images as one matrix product, which on CPUs is several times faster than oneDNN's kernels.

A 3 x 3 kernel has 9 taps, but an image of 1 x 1 has only 1 pixel to multiply: the rest is padding. The last layers of
a ResNet see such images when it is trained on 32 or 64 pixels, and hold three quarters of its weights.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from hrrl.fast import is_on

Size = tuple[int, ...]  # height and width


class Conv2d(nn.Conv2d):
    """``nn.Conv2d``: the same parameters, the same function up to rounding."""

    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if is_on() and is_tiny(self, x):
            return product(self, x, weight, bias)
        return super()._conv_forward(x, weight, bias)


def speed_up(net: nn.Module) -> nn.Module:
    """Makes each convolution of ``net`` a :class:`Conv2d`, in place; parameters and their names stay."""
    for module in net.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = Conv2d
    return net


def is_simple(conv: nn.Conv2d) -> bool:
    """One group, no dilation, padded with a number of zeros."""
    zeros = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return conv.groups == 1 and conv.dilation == (1, 1) and zeros


def is_tiny(conv: nn.Conv2d, x: torch.Tensor) -> bool:
    """Whether the images have no more pixels than the kernel has taps: (B, C, H, W) on a CPU."""
    taps = conv.kernel_size[0] * conv.kernel_size[1]
    return x.device.type == "cpu" and x.ndim == 4 and x.shape[2] * x.shape[3] <= taps > 1 and is_simple(conv)


def precision(x: torch.Tensor) -> torch.dtype:
    """The dtype in which convolutions and matrix products of ``x`` run: autocast's where it is on."""
    return torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype


def product(conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The convolution as one product with the matrix that takes every input pixel to every output pixel."""
    n, channels, H, W = x.shape
    taps, inside, (h, w) = _taps((H, W), conv.kernel_size, conv.stride, conv.padding)
    matrix = weight.permute(0, 2, 3, 1).flatten(1, 2)  # (out, taps, in)
    if len(taps) < matrix.shape[1]:  # cast the smaller of both
        matrix = matrix.index_select(1, taps).to(precision(x))
    else:
        matrix = matrix.to(precision(x)).index_select(1, taps)
    if inside is not None:
        matrix = matrix * inside
    matrix = matrix.reshape(-1, H * W * channels)  # (out outputs, inputs in)
    pixels = x.to(matrix.dtype).permute(0, 2, 3, 1).reshape(n, -1)
    y = F.linear(pixels, matrix, None if bias is None else bias.to(matrix.dtype).repeat_interleave(h * w))
    return y.view(n, -1, h, w).clone(memory_format=torch.channels_last)  # what follows may change it in place


@cache
@torch.inference_mode(False)  # cached, they may become part of a graph
def _taps(image: Size, kernel: Size, stride: Size, padding: Size) -> tuple[torch.Tensor, torch.Tensor | None, Size]:
    """The tap of the kernel (row major) that joins each output pixel to each input pixel, and where there is none.

    Returns:
        (outputs * inputs,) int64 taps; (1, outputs * inputs, 1) bool of those inside the kernel, None where all are;
        the output's height and width.
    """
    taps, insides = [], []
    size = [(image[d] + 2 * padding[d] - kernel[d]) // stride[d] + 1 for d in (0, 1)]
    for d in (0, 1):
        tap = torch.arange(image[d]) - stride[d] * torch.arange(size[d]).view(-1, 1) + padding[d]
        insides.append((tap >= 0) & (tap < kernel[d]))
        taps.append(tap.clamp(0, kernel[d] - 1))
    joint = taps[0][:, None, :, None] * kernel[1] + taps[1][None, :, None, :]
    inside = insides[0][:, None, :, None] & insides[1][None, :, None, :]
    return joint.flatten(), None if inside.numpy().all() else inside.view(1, -1, 1), tuple(size)
