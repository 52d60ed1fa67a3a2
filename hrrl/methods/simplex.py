"""Euclidean projection on the probability simplex (Duchi et al. 2008), step 4 of Algorithm 1."""

import torch


def project_simplex(v: torch.Tensor) -> torch.Tensor:
    """Nearest point to ``v`` of the simplex {w : sum w = 1, w >= 0}, in L2 (Eq. 6; Duchi et al. 2008, Fig. 1).

    Args:
        v: (K,) floating-point tensor, K >= 1, finite.
    Returns:
        (K,) tensor of the dtype and device of ``v``.
    Raises:
        ValueError: ``v`` is not a vector of at least one number.

    >>> project_simplex(torch.tensor([0.75, 0.5, -1.0]))
    tensor([0.6250, 0.3750, 0.0000])
    """
    if v.ndim != 1 or len(v) == 0:
        raise ValueError(f"project_simplex takes a vector of at least one number, got shape {tuple(v.shape)}")
    # The projection does not change when all entries move together; without it, large entries would cancel.
    u = v.double() - v.max()
    descending = u.sort(descending=True).values
    sums = descending.cumsum(0) if u.device.type == "cpu" else prefix_sums(descending)
    excess = (sums - 1) / torch.arange(1, len(u) + 1, device=u.device, dtype=u.dtype)
    support = (descending > excess).sum()  # a prefix: the entries that stay positive
    return (u - excess.take(support - 1)).clamp_(min=0).to(v.dtype)


def prefix_sums(v: torch.Tensor) -> torch.Tensor:
    """(K,) sums of the first 1, 2, ..., K entries of (K,) numbers; CUDA's own ``cumsum`` is not deterministic."""
    return v.expand(len(v), -1).tril().sum(1)
