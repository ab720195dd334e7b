"""Random splits in which every class is represented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from datamodules.base import split_count
from zoo.errors import DataError

T = TypeVar("T")


def hold_out_stratified(labels: Tensor, size: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the remaining and of the held-out samples, both sorted.

    The same fraction of each class is held out, rounded so that the counts add up to ``size``. If
    ``size`` permits, at least one sample of each class with two or more is held out.

    Args:
        labels: class of each sample, int64 (N,). With a single class, the split is that of
            :func:`~datamodules.base.hold_out`.
        size: samples to hold out: a count (≥ 1) or a fraction (< 1).
        seed: random seed of the choice.

    Raises:
        DataError: no sample would remain.
    """
    count = split_count(size, len(labels))
    if count >= len(labels):
        raise DataError(
            f"val_size={size:g} leaves none of {len(labels)} samples for training; lower it"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    counts = held_out_per_class(labels.bincount().tolist(), count)
    held_out = torch.cat([order[labels[order] == k][:n] for k, n in enumerate(counts)])
    remains = torch.ones(len(labels), dtype=torch.bool)
    remains[held_out] = False
    return remains.nonzero()[:, 0], held_out.sort().values


def choose_per_class(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the indices of ``count`` random samples of each class, and of all others; sorted.

    Args:
        labels: class of each sample, int64 (N,).
        count: number of samples of each class; a smaller class is chosen as a whole.
        seed: random seed of the choice.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    is_chosen = torch.zeros(len(labels), dtype=torch.bool)
    for k in labels.unique().tolist():
        is_chosen[order[labels[order] == k][:count]] = True
    return is_chosen.nonzero()[:, 0], (~is_chosen).nonzero()[:, 0]


def held_out_per_class(sizes: list[int], count: int) -> list[int]:
    """Return the number of samples to hold out of each class, ``count`` in total.

    The numbers are proportional to the sizes up to rounding by largest remainders. Classes with two
    or more samples get at least one, if ``count`` is large enough.

    Args:
        sizes: number of samples of each class.
        count: number of samples to hold out, at most their sum.
    """
    quotas = [count * size / max(1, sum(sizes)) for size in sizes]
    shared = [size >= 2 for size in sizes]
    least = [int(is_shared and count >= sum(shared)) for is_shared in shared]
    counts = [max(int(quota), minimum) for quota, minimum in zip(quotas, least, strict=True)]
    classes = range(len(sizes))
    while sum(counts) < count:
        counts[max(classes, key=lambda k: quotas[k] - counts[k])] += 1
    while sum(counts) > count:
        taken = [k for k in classes if counts[k] > least[k]]
        counts[min(taken, key=lambda k: quotas[k] - counts[k])] -= 1
    return counts


def take(items: Sequence[T], indices: Tensor) -> list[T]:
    """Return the items with these indices."""
    return [items[i] for i in indices.tolist()]
