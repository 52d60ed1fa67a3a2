"""Sums over the processes of a run: each holds its part of a batch."""

import torch
import torch.distributed as dist


def concept_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> tuple[torch.Tensor, float]:
    """Sum of the losses per concept, (K,) float64 on the CPU, and the batch size m; both over all processes."""
    sums = all_reduce(batch_sums(losses, concepts, K)).cpu()
    return sums[:K], float(sums[K])


def batch_sums(losses: torch.Tensor, concepts: torch.Tensor, K: int) -> torch.Tensor:
    """(K + 1,) float64 where the losses are: their sums per concept, and last their number; of this process alone."""
    sums = torch.zeros(K + 1, dtype=torch.float64, device=losses.device)
    sums.index_add_(0, concepts, losses.detach().double())
    sums[K] = len(losses)
    return sums


def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of ``tensor`` over all processes, in place; the tensor itself where there is one process."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def gather(values: torch.Tensor) -> tuple[torch.Tensor, slice]:
    """The (b,) values of all processes in one tensor, in the order of their ranks, and where this process's are."""
    if not (dist.is_available() and dist.is_initialized()):
        return values, slice(0, len(values))
    sizes = torch.zeros(dist.get_world_size(), dtype=torch.long, device=values.device)
    sizes[dist.get_rank()] = len(values)
    ends = all_reduce(sizes).cumsum(0).tolist()
    mine = slice(ends[dist.get_rank()] - len(values), ends[dist.get_rank()])
    everyone = values.new_zeros(ends[-1])
    everyone[mine] = values
    return all_reduce(everyone), mine
