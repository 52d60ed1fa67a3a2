"""Sums over the processes of a run, each of which holds a part of the batch."""

from collections.abc import Callable

import torch
import torch.distributed as dist

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def by_concept(take: Callable[[torch.Tensor], torch.Tensor], concepts: torch.Tensor, K: int) -> torch.Tensor:
    """The result of ``take`` for the concepts as (b,) int64 indices; it must itself refuse others than 0 to K - 1.

    ``index_select`` and ``index_add_`` do: on a GPU, CUDA reports it later, so that nothing waits.

    Raises:
        TypeError: they are no integers.
        IndexError: one of them is not in 0 to K - 1.
    """
    if concepts.dtype not in INTEGERS:
        raise TypeError(f"concepts are indices from 0 to {K - 1}, of an integer type; got {concepts.dtype}")
    try:
        return take(concepts.long())
    except IndexError:
        low, high = map(int, concepts.aminmax())
        if low >= 0 and high < K:
            raise
        invalid = low if low < 0 else high
        raise IndexError(f"a concept is {invalid}; expected 0 to {K - 1}, the {K} of counts") from None


def concept_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of the losses by concept, (K,), and the batch size m, (), over all processes; float64 on their device."""
    sums = all_reduce(batch_sums(losses, concepts, K))
    return sums[:K], sums[K]


def batch_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> torch.Tensor:
    """(K + 1,) float64 on the losses' device: their sums per concept, then their number; of this process alone."""
    sums = torch.zeros(K + 1, dtype=torch.float64, device=losses.device)
    by_concept(lambda indices: sums[:K].index_add_(0, indices, losses.detach().double()), concepts, K)
    sums[K].fill_(len(losses))
    return sums


def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of ``tensor`` over all processes, in place; the tensor itself where there is one process."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def gather(values: torch.Tensor) -> tuple[torch.Tensor, slice]:
    """The (b,) values of all processes in one tensor, in the order of their ranks, and the slice of this process's.

    Sizes are exchanged by the CPU backend (gloo) where there is one, so that nothing waits for a GPU.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values, slice(0, len(values))
    device = "cpu" if "cpu:" in dist.get_backend_config() else values.device
    sizes = torch.zeros(dist.get_world_size(), dtype=torch.long, device=device)
    sizes[dist.get_rank()] = len(values)
    ends = all_reduce(sizes).cumsum(0).tolist()
    own_part = slice(ends[dist.get_rank()] - len(values), ends[dist.get_rank()])
    gathered = values.new_zeros(ends[-1])
    gathered[own_part] = values
    return all_reduce(gathered), own_part
