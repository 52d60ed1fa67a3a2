"""Where and how a run computes: device, precision, memory layout, threads, processes."""

import ctypes
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from hrrl import arithmetic, fast
from hrrl.common.distributed import all_reduce
from hrrl.errors import UserError
from hrrl.train import gpu, launch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions of which one is enough; the last is ARM's
AGREED = 10  # steps between two exchanges of several processes on whether one is asked to stop
KEPT = 1 << 30  # bytes: larger tensors, and what is free at the heap's end beyond, are given back

Module = TypeVar("Module", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The section ``compute`` of params.yaml."""

    arithmetic: Literal["portable", "native"]  # the same bytes on every x86-64 CPU with AVX2; or the machine's fastest
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16", "float16"]  # bfloat16: float32 where the machine has no such instructions
    channels_last: bool
    compile: bool
    sync_batchnorm: bool
    fast: bool  # hrrl/fast: the same functions up to rounding, faster
    tf32: bool  # on GPUs: float32 products by TF32, ten bits of each factor
    cudnn_benchmark: bool  # on GPUs: the fastest convolutions by trying, which may be others in the next run
    threads: int  # of one process, on the CPU

    def precision_in_use(self) -> str:
        """The precision, but float32 where bfloat16 would be emulated, at a fraction of float32's speed."""
        return "float32" if self.precision == "bfloat16" and not _has_bfloat16(self.device) else self.precision


def _has_bfloat16(device: str) -> bool:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return torch.backends.mkldnn.is_available() and any(capabilities.get(name) for name in BFLOAT16)


@dataclass(frozen=True)
class Runtime:
    """The settings of ``compute``, resolved on this machine, and this process's place among the others."""

    device: torch.device
    precision: torch.dtype
    memory_format: torch.memory_format
    compile: bool
    sync_batchnorm: bool
    rank: int
    world_size: int
    is_writer: bool  # whether this process writes the outputs: the first one of each node, or of a job
    stop_asked: threading.Event = field(default_factory=threading.Event)  # by SIGUSR2 to stop

    def from_first(self, function: Callable[[], T]) -> T:
        """What ``function()`` returns in the first process, in all of them."""
        if self.world_size == 1:
            return function()
        box: list[Any] = [function() if self.rank == 0 else None]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def from_all(self, value: T) -> list[T]:
        """Each process's value, by rank, in all of them."""
        values: list[Any] = [value] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(values, value)
        return values

    def random_state(self) -> list[torch.Tensor]:
        """Of torch's generators that this process draws from: the CPU's, and the GPU's where there is one."""
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else states

    def set_random_state(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.cuda.set_rng_state(state, self.device)

    def should_stop(self, step: int) -> bool:
        """Whether the run stops after so many steps of an epoch, as SIGUSR2 asks one of its processes; all agree."""
        asked = self.stop_asked.is_set()
        if self.world_size == 1:
            return asked
        return step % AGREED == 0 and bool(all_reduce(torch.tensor(int(asked))))

    def to_device(self, model: Module) -> Module:
        """The model itself, moved to the device in the memory layout."""
        return model.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def feed(self, batches: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Batches (images, labels, ...) on the device, the images as :meth:`images` makes them.

        On a GPU each is copied from pinned memory, on a stream of its own, while the one before is computed with.
        """
        if self.device.type != "cuda":
            for images, y, *rest in batches:
                yield self.images(images), y.to(self.device), *rest
            return
        copies, ready = torch.cuda.Stream(self.device), None
        for images, y, *rest in batches:
            with torch.cuda.stream(copies):
                x = self.images(images.contiguous().pin_memory())
                y = y.pin_memory().to(self.device, non_blocking=True)
            if ready is not None:
                yield ready
            computing = torch.cuda.current_stream(self.device)
            computing.wait_stream(copies)
            for tensor in (x, y):
                tensor.record_stream(computing)
            ready = x, y, *rest
        if ready is not None:
            yield ready

    def images(self, batch: torch.Tensor) -> torch.Tensor:
        """(b, 3, S, S) uint8 images to float32 in [0, 1] on the device."""
        batch = batch.to(self.device, non_blocking=True).float().div_(255)
        return batch.contiguous(memory_format=self.memory_format)

    def autocast(self) -> torch.autocast:
        """The precision of the network's passes; parameters, losses and q keep theirs."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model as gradients are taken through it: compiled and synchronised, where the settings say so."""
        if self.sync_batchnorm and self.world_size > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        net: nn.Module = torch.compile(model) if self.compile else model  # type: ignore[assignment]
        if self.world_size > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            # share_statistics copies buffers
            net = nn.parallel.DistributedDataParallel(net, device_ids=devices, forward_sync_buffers=False)
        return net

    def share_statistics(self, model: nn.Module) -> None:
        """Gives every process the first one's batch norm statistics, in place.

        DDP would do so at the next training pass: too late for the input gradient and the evaluation before it. All
        begin with the same ones: networks are built from the run's seed, or read.
        """
        if self.world_size > 1 and (buffers := [b for b in model.buffers() if b.is_floating_point()]):
            values = torch.cat([buffer.flatten() for buffer in buffers])
            dist.broadcast(values, 0)
            for buffer, value in zip(buffers, values.split([buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(value.view_as(buffer))


def check(compute: Compute, nproc: int, nnodes: int) -> None:
    """Whether this machine can compute as the params section ``compute`` says, in ``nproc`` of the processes.

    Raises:
        UserError: it has no such device, not as many, or PyTorch cannot do this on it.
    """
    cuda = uses_cuda(compute)
    if compute.arithmetic == "native" and compute.device != "cpu" and (problem := gpu.unusable()):
        raise UserError(f"compute.device: {problem}")
    if compute.device == "cuda" and not cuda:
        raise UserError("compute.device: this machine has no CUDA device; use auto or cpu")
    if cuda and nproc > torch.cuda.device_count():
        raise UserError(f"launch.nproc: takes at most {torch.cuda.device_count()}, one for each GPU; got {nproc}")
    if compute.sync_batchnorm and nproc * nnodes > 1 and not cuda:
        raise UserError("compute.sync_batchnorm: PyTorch has it on CUDA only; set it to false on the CPU")
    if compute.compile and not cuda and not shutil.which(os.environ.get("CXX", "g++")):
        raise UserError("compute.compile: needs a C++ compiler (g++) on the CPU; install one, or set it to false")


def uses_cuda(compute: Compute) -> bool:
    """Whether a network is on a GPU: portable arithmetic is the CPU's, also where there is one."""
    return compute.arithmetic == "native" and compute.device != "cpu" and torch.cuda.is_available()


def computed(compute: Compute) -> str:
    """What decides the bytes of results beside code and settings: nothing of the machine where they are portable."""
    if compute.arithmetic == "portable" and not arithmetic.cpu_lacks():
        return "portable"
    return f"{compute.precision_in_use()} on {device_name(compute)}"


def device_name(compute: Compute) -> str:
    """The GPU or the CPU that networks are on, by its maker's name."""
    return torch.cuda.get_device_name() if uses_cuda(compute) else arithmetic.cpu()


@contextmanager
def start(compute: Compute) -> Iterator[Runtime]:
    """Sets up torch for the params section ``compute``, joins the launcher's other processes, and yields a Runtime.

    Raises:
        UserError: the device is not there, or cannot compute in the precision; arithmetic is to be portable, and this
            process loaded torch without :func:`hrrl.arithmetic.use_portable`.
    """
    if compute.arithmetic == "portable":
        arithmetic.use_portable()
    ranks = launch.ranks()
    check(compute, ranks.local_world_size, ranks.world_size // ranks.local_world_size)
    device = torch.device("cuda", ranks.local_rank) if uses_cuda(compute) else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A tenth of a step, and we read none of it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # On recent GPUs PyTorch rounds convolutions' float32 inputs to TF32's ten bits: too coarse for a step of tau 0.01.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = compute.tf32
    torch.backends.cudnn.benchmark = compute.cudnn_benchmark
    torch.set_num_threads(compute.threads)
    _keep_freed_memory()
    if ranks.world_size > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    if ranks.rank == 0:
        print(f"computing in {compute.precision_in_use()} on {device_name(compute)}", flush=True)
    runtime = Runtime(
        device=device,
        precision=getattr(torch, compute.precision_in_use()),
        memory_format=torch.channels_last if compute.channels_last else torch.contiguous_format,
        compile=compute.compile,
        sync_batchnorm=compute.sync_batchnorm,
        rank=ranks.rank,
        world_size=ranks.world_size,
        is_writer=(ranks.rank if "HRRL_JOB" in os.environ else ranks.local_rank) == 0,
    )
    handler = signal.signal(signal.SIGUSR2, lambda *_: runtime.stop_asked.set())
    try:
        with fast.switched(compute.fast):
            yield runtime
    finally:
        signal.signal(signal.SIGUSR2, handler)
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _keep_freed_memory() -> None:
    """Lets the C library keep what tensors free, for the next step's, where it can be told to (glibc's malloc).

    Given back and asked for anew, each of its pages is faulted in again: up to a third of a pass on small images.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(option, KEPT)
