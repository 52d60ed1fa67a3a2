"""Sums over the processes of a run: each holds its part of a batch."""

from collections.abc import Callable

import torch
import torch.distributed as dist

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def by_concept(take: Callable[[torch.Tensor], torch.Tensor], concepts: torch.Tensor, K: int) -> torch.Tensor:
    """What ``take`` gives for the concepts as (b,) int64 indices, and itself refuses others than 0 to K - 1.

    So does ``index_select``, on a GPU where nothing waits for it, too: CUDA says so there.

    Raises:
        TypeError: they are no integers.
        IndexError: one of them is none of 0 to K - 1.
    """
    if concepts.dtype not in INTEGERS:
        raise TypeError(f"concepts are indices from 0 to {K - 1}, of an integer type; got {concepts.dtype}")
    try:
        return take(concepts.long())
    except IndexError:
        low, high = map(int, concepts.aminmax())
        if low >= 0 and high < K:
            raise
        found = low if low < 0 else high
        raise IndexError(f"a concept is {found}; expected 0 to {K - 1}, the {K} of counts") from None


def concept_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of the losses by concept, (K,), and the batch size m, (), over all processes; float64 on their device."""
    sums = all_reduce(batch_sums(losses, concepts, K))
    return sums[:K], sums[K]


def batch_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> torch.Tensor:
    """(K + 1,) float64 where the losses are: their sums per concept, and last their number; of this process alone."""
    sums = torch.zeros(K + 1, dtype=torch.float64, device=losses.device)
    by_concept(lambda where: sums[:K].index_add_(0, where, losses.detach().double()), concepts, K)
    sums[K].fill_(len(losses))
    return sums


def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of ``tensor`` over all processes, in place; the tensor itself where there is one process."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def gather(values: torch.Tensor) -> tuple[torch.Tensor, slice]:
    """The (b,) values of all processes in one tensor, in the order of their ranks, and where this process's are.

    Their numbers are exchanged by way of the CPUs where the processes have one (gloo): no GPU is waited for.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values, slice(0, len(values))
    where = "cpu" if "cpu:" in dist.get_backend_config() else values.device
    sizes = torch.zeros(dist.get_world_size(), dtype=torch.long, device=where)
    sizes[dist.get_rank()] = len(values)
    ends = all_reduce(sizes).cumsum(0).tolist()
    mine = slice(ends[dist.get_rank()] - len(values), ends[dist.get_rank()])
    everyone = values.new_zeros(ends[-1])
    everyone[mine] = values
    return all_reduce(everyone), mine
