"""The loss gradient of images, at a fraction of a training step's cost.

The pass of the example axis (Theorem 2) needs neither gradients of parameters nor statistics of batches. So, for the
length of the pass, each batch norm is folded into the convolution before it (in evaluation mode it is an affine map
of constants), and on the CPU two kinds of convolution are computed in another, equal form, where oneDNN is slow: the
input gradient of the strided first layer, and images that are no larger than the kernel. It is the same function,
up to rounding. Layers that are not recognised, of any classifier, run their own forward.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from hrrl.fast.convolution import Conv2d, is_simple, is_tiny, precision, product

Chain = tuple[nn.Module, ...]

# classifier -> its chains of layers that are computed as one, found at its first pass
_chains: WeakKeyDictionary[nn.Module, list[Chain]] = WeakKeyDictionary()


class Changed(Exception):
    """The classifier called its layers otherwise than at its first pass."""


@contextmanager
def folded(model: nn.Module, x: torch.Tensor) -> Iterator[None]:
    """Inside, ``model(x)`` runs with its batch norms folded; the model is in evaluation mode. Afterwards as before.

    Parameters and statistics are read anew at each entry, and are constants to autograd.

    Raises:
        Changed: at the end of a pass that did not use each chain as at the model's first pass: its result is wrong.
            The next pass will look at the model again.
    """
    if model not in _chains:
        _chains[model] = _find_chains(model, x)
    folds = [_Fold(*chain) for chain in _chains[model] if all(map(_untouched, chain))]
    try:
        for fold in folds:
            fold.enter()
        yield
        if any(fold.waiting for fold in folds):
            raise Changed
    except Changed:
        del _chains[model]
        raise
    finally:
        for fold in folds:
            fold.leave()


class _Fold:
    """A convolution that does the work of the layers after it, too: a batch norm, and of a stem the max pooling."""

    def __init__(self, conv: Any, norm: Any, *rest: Any):
        self.conv, self.norm, self.after = conv, norm, (norm, *rest)
        self.pool = rest[-1] if rest else None
        self.output: torch.Tensor | None = None
        self.waiting: list[nn.Module] = []  # the layers that have yet to be called with the output

    def enter(self) -> None:
        self.conv.forward = self.convolve
        for layer in self.after:
            layer.forward = partial(self.pass_on, layer)

    def leave(self) -> None:
        for layer in (self.conv, *self.after):
            del layer.forward

    def pass_on(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if x is not self.output or not self.waiting or self.waiting.pop(0) is not layer:
            raise Changed
        return x

    def convolve(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            scale, bias = self.affine()
        if _is_stem(self.conv):
            y = _Stem.apply(x, self.scaled(scale), bias, self.conv, self.pool, precision(x))
        elif is_tiny(self.conv, x):  # more weights than pixels: the pixels are scaled instead
            y = product(self.conv, x, self.conv.weight.detach(), None)
            y = torch.addcmul(bias.to(y.dtype).view(-1, 1, 1), y, scale.to(y.dtype).view(-1, 1, 1))
        else:
            dtype = precision(x)
            weight, bias, conv = self.scaled(scale).to(dtype), bias.to(dtype), self.conv
            y = F.conv2d(x.to(dtype), weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        self.output, self.waiting = y, list(self.after)
        return y

    def scaled(self, scale: torch.Tensor) -> torch.Tensor:
        return self.conv.weight.detach() * scale.view(-1, 1, 1, 1)

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift of the batch norm, for the convolution without its bias."""
        conv, norm = self.conv, self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        return scale, bias * scale if norm.bias is None else torch.addcmul(norm.bias, bias, scale)


def _is_stem(conv: nn.Conv2d) -> bool:
    """A convolution that halves (or more) images of few channels."""
    square = all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding))
    padding = 0 if isinstance(conv.padding, str) else conv.padding[0]
    strided = conv.stride[0] > 1 and padding < conv.kernel_size[0]
    return is_simple(conv) and square and strided and conv.in_channels <= 4


class _Stem(torch.autograd.Function):
    """A convolution with stride s of few channels, whose input gradient is a convolution with stride 1; then a max
    pooling and ReLU, where it has them.

    With kernel offsets k = s a + r, the gradient at input pixel s q + r - p is the sum over a of G[q - a] W[s a + r]:
    s^2 images, one per remainder r, interleaved. The convolution keeps the precision of the images: in 8 bits,
    neighbours in a smooth region are equal, and the pooling would send the gradient to the wrong one. ReLU keeps the
    order, so it may follow the pooling, which leaves it a quarter of the pixels.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        conv: nn.Conv2d,
        pool: nn.MaxPool2d | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.conv, ctx.pool, ctx.shape = conv, pool, x.shape
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv2d(x, weight, bias, conv.stride, conv.padding)
            if pool is None:
                ctx.save_for_backward(weight.to(dtype))
                return y
            ctx.outputs = y.shape
            y, indices = F.max_pool2d(y, *_geometry(pool), return_indices=True)
            y = y.relu_().to(dtype)
        ctx.save_for_backward(weight.to(dtype), y, indices)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, *pooled = ctx.saved_tensors
        dtype, gradient = gradient.dtype, gradient.to(weight.dtype)
        if pooled:
            y, indices = pooled
            gradient = _unpool(gradient, y, indices, ctx.pool, ctx.outputs)
        (_, channels, H, W), s, p = ctx.shape, ctx.conv.stride[0], ctx.conv.padding[0]
        a = -(-weight.shape[2] // s)  # ceil
        extra = a * s - weight.shape[2]
        weight = F.pad(weight, (0, extra, 0, extra)).view(-1, channels, a, s, a, s)
        weight = weight.permute(1, 3, 5, 0, 2, 4).flatten(0, 2).flip(2, 3)  # (channels s s, out, a, a)
        weight = weight.contiguous(memory_format=torch.channels_last)
        x_gradient = F.pixel_shuffle(F.conv2d(gradient, weight, padding=a - 1 - p // s), s)[:, :, p % s :, p % s :]
        missing = H - x_gradient.shape[2], W - x_gradient.shape[3]  # pixels at the end that the kernel does not reach
        return F.pad(x_gradient.to(dtype), (0, missing[1], 0, missing[0])), None, None, None, None, None


def _unpool(
    gradient: torch.Tensor, y: torch.Tensor, indices: torch.Tensor, pool: nn.MaxPool2d, shape: torch.Size
) -> torch.Tensor:
    """Gradient before ReLU and the pooling, of ``shape``, from the one after both, whose output is ``y``."""
    gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
    pool_input = torch.empty(  # for its shape
        shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
    )
    return torch.ops.aten.max_pool2d_with_indices_backward(gradient, pool_input, *_geometry(pool), indices)


def _geometry(pool: nn.MaxPool2d) -> tuple[Any, ...]:
    return pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode


# ---------------------------------------------------------------------------------------------- what may be folded


def _find_chains(model: nn.Module, x: torch.Tensor) -> list[Chain]:
    """Convolutions whose output goes to one batch norm and nowhere else, found by running the model on ``x``.

    Returns:
        (convolution, batch norm), or of a stem (convolution, batch norm, ReLU, max pooling), where it has them.
    """
    if any(module._compiled_call_impl or hasattr(module, "_orig_mod") for module in model.modules()):
        return []  # torch.compile would compile anew for every pass
    calls: Counter[nn.Module] = Counter()
    inputs: dict[nn.Module, int | None] = {}  # ids of the tensors
    outputs: dict[nn.Module, int] = {}
    alive: list[Any] = []
    uses = _Uses()

    def record(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls[module] += 1 if len(args) == 1 else 2  # 2: a layer called with keywords is not folded
        inputs[module], outputs[module] = id(args[0]) if args else None, id(output)
        alive.append((args, output))  # so that no later tensor gets their ids
        if not args or output is not args[0]:
            uses.of[id(output)] = []  # those recorded are of an earlier tensor with this id

    def next_layer(layer: nn.Module, is_kind: Callable[[nn.Module], bool]) -> nn.Module | None:
        return next((reader for reader in calls if is_kind(reader) and inputs[reader] == outputs[layer]), None)

    def is_exclusive(chain: Sequence[nn.Module]) -> bool:
        """Whether each layer is called once, and its output is used by the next one and by nothing else."""
        links = [inputs[layer] for layer in chain[1:]]  # an id comes twice where a layer works in place
        return all(calls[layer] == 1 for layer in chain) and all(len(uses.of[i]) == links.count(i) for i in links)

    kinds = (_is_plain_convolution, *_AFTER)
    layers = [module for module in model.modules() if any(is_kind(module) for is_kind in kinds) and _untouched(module)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        with torch.random.fork_rng([x.device] if x.is_cuda else []), torch.no_grad(), uses:
            model(x.detach())
    finally:
        for hook in hooks:
            hook.remove()
    chains: list[Chain] = []
    for conv in filter(_is_plain_convolution, calls):
        chain: list[nn.Module] = [conv]
        for is_kind in _AFTER:
            if (layer := next_layer(chain[-1], is_kind)) is None:
                break
            chain.append(layer)
        for length in (4, 2) if _is_stem(conv) else (2,):
            if len(chain) >= length and is_exclusive(chain[:length]):
                chains.append(tuple(chain[:length]))
                break
    return chains


class _Uses(TorchFunctionMode):
    """Which functions of torch each tensor was given to, by the tensor's id."""

    def __init__(self) -> None:
        super().__init__()
        self.of: defaultdict[int | None, list[Any]] = defaultdict(list)

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function not in (torch.Tensor.dim, torch.Tensor.size):
            for value in (*args, *kwargs.values()):
                for item in value if isinstance(value, (list, tuple)) else (value,):
                    self.of[id(item)].append(function)
        return function(*args, **kwargs)


def _is_plain_convolution(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return type(module) in (nn.Conv2d, Conv2d) and module.padding_mode == "zeros"


def _is_affine(module: nn.Module) -> bool:
    """A batch norm that is an affine map of constants in evaluation mode."""
    return type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm) and module.running_mean is not None


def _is_relu(module: nn.Module) -> bool:
    return type(module) is nn.ReLU


def _is_max_pooling(module: nn.Module) -> bool:
    return type(module) is nn.MaxPool2d and not module.return_indices


_AFTER = (_is_affine, _is_relu, _is_max_pooling)  # what may follow a convolution, in this order


def _untouched(module: nn.Module) -> bool:
    """Whether calling the module runs its class's ``forward`` and nothing else: no hooks."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "forward" not in vars(module) and not any(getattr(module, name) for name in names)
