"""The loss gradient of images, at a fraction of a training step's cost.

The pass of the example axis (Theorem 2) needs neither gradients of parameters nor statistics of batches. So, for the
length of the pass, each batch norm is folded into the convolution before it (in evaluation mode it is an affine map
of constants), and on the CPU two kinds of convolution are computed in another, equal form, where oneDNN is slow: the
input gradient of the strided first layer, and images that are no larger than the kernel. It is the same function,
up to rounding. Whatever is not recognised, of any classifier, is computed by its own forward as it stands.
"""

from collections import Counter
from contextlib import contextmanager
from functools import cache
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import nn

_pairs = WeakKeyDictionary()  # classifier -> its (convolution, batch norm) pairs, found at its first pass


class Changed(Exception):
    """The classifier took another way than at its first pass."""


@contextmanager
def folded(model: nn.Module, x: torch.Tensor):
    """Inside, ``model(x)`` runs with its batch norms folded; the model is in evaluation mode. Afterwards as before.

    Parameters and statistics are read anew at each entry, and are constants to autograd.

    Raises:
        Changed: at the end of a pass that did not use each folded pair as at the model's first pass: its result is
            wrong. The next pass will look at the model again.
    """
    if model not in _pairs:
        _pairs[model] = _find_pairs(model, x)
    folds = [_Fold(conv, norm) for conv, norm in _pairs[model] if _untouched(conv) and _untouched(norm)]
    try:
        for fold in folds:
            fold.conv.forward, fold.norm.forward = fold.convolve, fold.normalise
        yield
        if any(fold.output is not None for fold in folds):
            raise Changed
    except Changed:
        del _pairs[model]
        raise
    finally:
        for fold in folds:
            del fold.conv.forward, fold.norm.forward


class _Fold:
    """A convolution that does the work of the batch norm after it, too."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d):
        self.conv, self.norm, self.output = conv, norm, None

    @torch.no_grad()
    def parameters(self, dtype):
        conv, norm = self.conv, self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        bias = bias * scale if norm.bias is None else torch.addcmul(norm.bias, bias, scale)
        return (conv.weight * scale.view(-1, 1, 1, 1)).to(dtype), bias.to(dtype)

    def convolve(self, x):
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.conv.weight.dtype
        self.output = _convolution(self.conv, x.to(dtype), *self.parameters(dtype))
        return self.output

    def normalise(self, x):
        if x is not self.output:
            raise Changed
        self.output = None
        return x


def _convolution(conv: nn.Conv2d, x, weight, bias):
    simple = x.device.type == "cpu" and conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    if simple and isinstance(conv.padding, tuple):
        kh, kw = conv.kernel_size
        if kh * kw > 1 and x.shape[2] * x.shape[3] <= kh * kw:
            return _dense(x, weight, bias, conv.stride, conv.padding)
        square = kh == kw and conv.stride[0] == conv.stride[1] > 1 and conv.padding[0] == conv.padding[1] < kh
        if square and conv.in_channels <= 4:
            return _Stem.apply(x, weight, bias, conv.stride[0], conv.padding[0])
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _dense(x, weight, bias, stride, padding):
    """The convolution as one matrix product, which takes every output from every input pixel.

    Less work than a convolution that mostly sees padding: a 3x3 kernel has 9 taps, but an image of 1x1 only 1 pixel.
    """
    (n, channels, H, W), kernel = x.shape, tuple(weight.shape[2:])
    taps, inside, size = _taps((H, W), kernel, stride, padding)
    matrix = weight.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, taps)
    if inside is not None:
        matrix = matrix * inside
    y = F.linear(
        x.permute(0, 2, 3, 1).reshape(n, -1),
        matrix.view(-1, H * W * channels),
        bias.repeat_interleave(size[0] * size[1]),
    )
    return y.view(n, -1, *size)


@cache
def _taps(image, kernel, stride, padding):
    """The place in the kernel (row major) that joins each output pixel to each input pixel, and where there is none.

    Returns:
        (outputs * inputs,) int64 places; (1, outputs * inputs, 1) bool of those inside the kernel, None where all
        are; the output's height and width.
    """
    places, inside = [], []
    size = [(image[d] + 2 * padding[d] - kernel[d]) // stride[d] + 1 for d in (0, 1)]
    for d in (0, 1):
        place = torch.arange(image[d]) - stride[d] * torch.arange(size[d]).view(-1, 1) + padding[d]
        inside.append((place >= 0) & (place < kernel[d]))
        places.append(place.clamp(0, kernel[d] - 1))
    taps = places[0][:, None, :, None] * kernel[1] + places[1][None, :, None, :]
    inside = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    return taps.flatten(), None if inside.all() else inside.view(1, -1, 1), size


class _Stem(torch.autograd.Function):
    """A convolution with stride s of few channels, whose input gradient is a convolution with stride 1.

    With kernel places k = s a + r, the gradient at input pixel s q + r - p is the sum over a of G[q - a] W[s a + r]:
    s^2 images, one per remainder r, interleaved.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding):
        ctx.save_for_backward(weight)
        ctx.geometry = x.shape, stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx, gradient):
        (weight,), ((_, channels, H, W), s, p) = ctx.saved_tensors, ctx.geometry
        a = -(-weight.shape[2] // s)  # ceil
        extra = a * s - weight.shape[2]
        weight = F.pad(weight, (0, extra, 0, extra)).view(-1, channels, a, s, a, s)
        weight = weight.permute(1, 3, 5, 0, 2, 4).flatten(0, 2).flip(2, 3)  # (channels s s, out, a, a)
        weight = weight.contiguous(memory_format=torch.channels_last)
        images = F.pixel_shuffle(F.conv2d(gradient, weight, padding=a - 1 - p // s), s)[:, :, p % s :, p % s :]
        missing = H - images.shape[2], W - images.shape[3]  # pixels at the end that no kernel place reaches
        return F.pad(images, (0, missing[1], 0, missing[0])), None, None, None, None


# ---------------------------------------------------------------------------------------------- what may be folded


def _find_pairs(model: nn.Module, x: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions whose output goes to one batch norm and nowhere else, found by running the model on ``x``."""
    calls, outputs, inputs = Counter(), {}, {}

    def record(module, args, output):
        calls[module] += 1
        if type(module) is nn.Conv2d:
            outputs[output.grad_fn] = module
        else:
            inputs[module] = args[0].grad_fn

    if any(module._compiled_call_impl or hasattr(module, "_orig_mod") for module in model.modules()):
        return []  # torch.compile would compile anew for every pass
    layers = [module for module in model.modules() if type(module) is nn.Conv2d or _is_affine(module)]
    hooks = [layer.register_forward_hook(record) for layer in layers if _untouched(layer)]
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            users = _users(model(x.detach().requires_grad_()).grad_fn)
    finally:
        for hook in hooks:
            hook.remove()
    pairs = [(outputs[node], norm) for norm, node in inputs.items() if node in outputs and users[node] == 1]
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


def _users(root) -> Counter:
    """How many results each node of the autograd graph went into."""
    users, seen, queue = Counter(), {root}, [root]
    while queue:
        for node, _ in queue.pop().next_functions:
            users[node] += 1
            if node is not None and node not in seen:
                seen.add(node)
                queue.append(node)
    return users


def _is_affine(module: nn.Module) -> bool:
    """A batch norm that is an affine map of constants in evaluation mode."""
    return type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm) and module.running_mean is not None


def _untouched(module: nn.Module) -> bool:
    """Calling the module is calling its class's forward, and no one else looks on."""
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
