"""The loss gradient of images, at a fraction of a training step's cost.

The pass of the example axis (Theorem 2) needs neither gradients of parameters nor statistics of batches. So, for the
length of the pass, each batch norm is folded into the convolution before it (in evaluation mode it is an affine map
of constants), and on the CPU two kinds of convolution are computed in another, equal form, where oneDNN is slow: the
input gradient of the strided first layer, and images that are no larger than the kernel. It is the same function,
up to rounding. Whatever is not recognised, of any classifier, is computed by its own forward as it stands.
"""

from collections import Counter, defaultdict
from contextlib import contextmanager
from functools import cache
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

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

    def convolve(self, x):
        dtype = _precision(x, self.conv.weight.dtype)
        if _is_stem(self.conv):
            self.output = _Stem.apply(x, *self.parameters(x.dtype), self.conv, dtype)
        else:
            self.output = _convolution(self.conv, x.to(dtype), *self.parameters(dtype))
        return self.output

    @torch.no_grad()
    def parameters(self, dtype):
        conv, norm = self.conv, self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        bias = bias * scale if norm.bias is None else torch.addcmul(norm.bias, bias, scale)
        return (conv.weight * scale.view(-1, 1, 1, 1)).to(dtype), bias.to(dtype)

    def normalise(self, x):
        if x is not self.output:
            raise Changed
        self.output = None
        return x


def _precision(x, otherwise):
    """Of convolutions and matrix products, where autocast is on."""
    return torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else otherwise


def _convolution(conv: nn.Conv2d, x, weight, bias):
    small = x.shape[2] * x.shape[3] <= conv.kernel_size[0] * conv.kernel_size[1] > 1
    if small and x.device.type == "cpu" and _is_simple(conv):
        return _Dense.apply(x, weight, bias, conv.stride, conv.padding)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _is_simple(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 and conv.dilation == (1, 1) and not isinstance(conv.padding, str)


def _is_stem(conv: nn.Conv2d) -> bool:
    """A convolution that halves (or more) images of few channels."""
    square = all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding))
    strided = conv.stride[0] > 1 and conv.padding[0] < conv.kernel_size[0]
    return _is_simple(conv) and square and strided and conv.in_channels <= 4


class _Dense(torch.autograd.Function):
    """A convolution as one matrix product, which takes every output from every input pixel.

    Less work than a convolution that mostly sees padding: a 3x3 kernel has 9 taps, but an image of 1x1 only 1 pixel.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding):
        (n, channels, H, W), kernel = x.shape, tuple(weight.shape[2:])
        taps, inside, (h, w) = _taps((H, W), kernel, stride, padding)
        matrix = weight.permute(0, 2, 3, 1).flatten(1, 2)  # (out, places, in)
        if taps is not None:
            matrix = matrix.index_select(1, taps)
        if inside is not None:
            matrix = matrix * inside
        matrix = matrix.reshape(-1, H * W * channels)  # (out outputs, inputs in)
        ctx.save_for_backward(matrix)
        ctx.shape = n, H, W, channels
        y = F.linear(x.permute(0, 2, 3, 1).reshape(n, -1), matrix, bias.repeat_interleave(h * w))
        return y.view(n, -1, h, w).clone(memory_format=torch.channels_last)  # what follows may change it in place

    @staticmethod
    def backward(ctx, gradient):
        (matrix,) = ctx.saved_tensors
        return (gradient.reshape(-1, len(matrix)) @ matrix).view(ctx.shape).permute(0, 3, 1, 2), None, None, None, None


@cache
def _taps(image, kernel, stride, padding):
    """The place in the kernel (row major) that joins each output pixel to each input pixel, and where there is none.

    Returns:
        (outputs * inputs,) int64 places, None where they are all places once; (1, outputs * inputs, 1) bool of those
        inside the kernel, None where all are; the output's height and width.
    """
    places, inside = [], []
    size = [(image[d] + 2 * padding[d] - kernel[d]) // stride[d] + 1 for d in (0, 1)]
    for d in (0, 1):
        place = torch.arange(image[d]) - stride[d] * torch.arange(size[d]).view(-1, 1) + padding[d]
        inside.append((place >= 0) & (place < kernel[d]))
        places.append(place.clamp(0, kernel[d] - 1))
    taps = places[0][:, None, :, None] * kernel[1] + places[1][None, :, None, :]
    inside = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    everywhere = torch.equal(taps.flatten(), torch.arange(kernel[0] * kernel[1]))
    return None if everywhere else taps.flatten(), None if inside.all() else inside.view(1, -1, 1), size


class _Stem(torch.autograd.Function):
    """A convolution with stride s of few channels, whose input gradient is a convolution with stride 1.

    With kernel places k = s a + r, the gradient at input pixel s q + r - p is the sum over a of G[q - a] W[s a + r]:
    s^2 images, one per remainder r, interleaved. Forward keeps the precision of the images: in 8 bits, neighbours in
    a smooth region are equal, and the max pooling that follows would send the gradient to the wrong one.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, conv, dtype):
        ctx.save_for_backward(weight.to(dtype))
        ctx.conv, ctx.shape = conv, x.shape
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x, weight, bias, conv.stride, conv.padding)

    @staticmethod
    def backward(ctx, gradient):
        (weight,), (_, channels, H, W), s, p = ctx.saved_tensors, ctx.shape, ctx.conv.stride[0], ctx.conv.padding[0]
        dtype, gradient = gradient.dtype, gradient.to(weight.dtype)
        a = -(-weight.shape[2] // s)  # ceil
        extra = a * s - weight.shape[2]
        weight = F.pad(weight, (0, extra, 0, extra)).view(-1, channels, a, s, a, s)
        weight = weight.permute(1, 3, 5, 0, 2, 4).flatten(0, 2).flip(2, 3)  # (channels s s, out, a, a)
        weight = weight.contiguous(memory_format=torch.channels_last)
        images = F.pixel_shuffle(F.conv2d(gradient, weight, padding=a - 1 - p // s), s)[:, :, p % s :, p % s :]
        missing = H - images.shape[2], W - images.shape[3]  # pixels at the end that no kernel place reaches
        return F.pad(images.to(dtype), (0, missing[1], 0, missing[0])), None, None, None, None


# ---------------------------------------------------------------------------------------------- what may be folded


def _find_pairs(model: nn.Module, x: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions whose output goes to one batch norm and nowhere else, found by running the model on ``x``."""
    if any(module._compiled_call_impl or hasattr(module, "_orig_mod") for module in model.modules()):
        return []  # torch.compile would compile anew for every pass
    calls, outputs, inputs, uses = Counter(), {}, {}, _Uses()

    def record(module, args, output):
        calls[module] += 1
        if type(module) is nn.Conv2d:
            outputs[id(output)] = module, output  # kept, so that no later tensor gets its id
            uses.of[id(output)] = []  # what is there was an earlier tensor's
        else:
            inputs[module] = id(args[0])

    layers = [module for module in model.modules() if _is_plain_convolution(module) or _is_affine(module)]
    hooks = [layer.register_forward_hook(record) for layer in layers if _untouched(layer)]
    try:
        with torch.random.fork_rng(), torch.no_grad(), uses:
            model(x.detach())
    finally:
        for hook in hooks:
            hook.remove()
    pairs = [(*outputs[i], norm) for norm, i in inputs.items() if i in outputs]
    return [
        (conv, norm)
        for conv, output, norm in pairs
        if uses.of[id(output)] == [F.batch_norm] and calls[conv] == calls[norm] == 1
    ]


class _Uses(TorchFunctionMode):
    """Which functions of torch each tensor was given to, by the tensor's id."""

    def __init__(self):
        super().__init__()
        self.of = defaultdict(list)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function not in (torch.Tensor.dim, torch.Tensor.size):
            for value in (*args, *kwargs.values()):
                for item in value if isinstance(value, (list, tuple)) else (value,):
                    self.of[id(item)].append(function)
        return function(*args, **kwargs)


def _is_plain_convolution(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros"


def _is_affine(module: nn.Module) -> bool:
    """A batch norm that is an affine map of constants in evaluation mode."""
    return type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm) and module.running_mean is not None


def _untouched(module: nn.Module) -> bool:
    """Calling the module is calling its class's forward, and no one else looks on."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "forward" not in vars(module) and not any(getattr(module, name) for name in names)
