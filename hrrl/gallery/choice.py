"""Which images are shown, drawn by a seed, and their pixels."""

from collections.abc import Iterable

import numpy as np
import torch

from hrrl.data.images import Images


def spread(random: np.random.Generator, labels: np.ndarray, classes: list[int], n: int) -> np.ndarray:
    """Positions of up to n images, as evenly over the classes as there are images, in the classes' order.

    Args:
        labels: (N,) class of each image.
        classes: those to draw from.
    """
    shuffled = random.permutation(len(labels))
    pools = {c: [i for i in shuffled if labels[i] == c] for c in classes}
    chosen = [int(pool[k]) for k in range(n) for pool in pools.values() if k < len(pool)][:n]
    return np.array(sorted(chosen, key=lambda i: classes.index(int(labels[i]))), np.int64)


def some(random: np.random.Generator, items: list, n: int) -> list:
    """n of the items, all where there are fewer, in their order."""
    chosen = random.permutation(len(items))[:n]
    return [items[i] for i in sorted(chosen)]


def evenly(items: list, n: int) -> list:
    """n of the items at even distances, the first and the last among them; all where there are fewer."""
    positions = np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)
    return [items[i] for i in positions]


def pixels(source: Images, indices: Iterable[int]) -> torch.Tensor:
    """(n, 3, S, S) images of a source, uint8, as an evaluation sees them."""
    rows = np.fromiter(indices, np.int64)
    return next(source.eval_batches(len(rows), rows=rows))[0]
