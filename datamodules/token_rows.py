"""Rows of tokens of unequal length: padded as little as possible, batched with their likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.loader import Batch, BatchPlan
from zoo.errors import DataError

PAD = 0  # number of the padding in every tokenizer that has specials
POOL = 50  # batches whose rows are sorted by length together


class BucketPlan(BatchPlan):
    """A plan whose training batches hold rows of nearly equal length.

    Each epoch's permutation is cut into pools of fifty batches; each pool is sorted by length and
    cut into batches, and the batches change places. Which rows meet in a batch, and in which order
    batches come, stays random.

    Args:
        lengths: of the rows.
        **plan: see :class:`~datamodules.loader.BatchPlan`.
    """

    def __init__(self, lengths: Tensor, **plan: Any) -> None:
        super().__init__(len(lengths), **plan)
        self.lengths = lengths

    def order(self, generator: torch.Generator) -> Tensor:
        order = super().order(generator)
        size = self.batch_size * self.world_size
        # a stable sort of a random order leaves rows of equal length in random order
        pools = [pool[self.lengths[pool].argsort(stable=True)] for pool in order.split(POOL * size)]
        batches = list(torch.cat(pools).split(size))
        full = batches if len(batches[-1]) == size else batches[:-1]
        places = torch.randperm(len(full), generator=generator).tolist()
        return torch.cat([*(full[place] for place in places), *batches[len(full) :]])


class TokenRows(TensorDataModule):
    """Rows of token numbers, one or several matrices of them, padded with 0 to the batch's longest.

    A data set gives ``load_rows(split)``: lists of numbers for each matrix, and tensors with what
    else belongs to each row.
    """

    def load_rows(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        """For ``train``, ``val`` or ``test``: rows of each matrix, and labels if there are any."""
        raise NotImplementedError(f"{type(self).__name__} has no load_rows(split)")

    def held_out(self, pairs: list[Any], size: float) -> tuple[list[Any], list[Any]]:
        """What is left of training pairs, and a part cut from them by the seed.

        Raises:
            DataError: nothing would be left.
        """
        count = int(size if size >= 1 else round(size * len(pairs)))
        if count >= len(pairs):
            raise DataError(f"{size:g} of {len(pairs)} texts leaves none for training")
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(pairs), generator=generator).tolist()
        return [pairs[i] for i in sorted(order[count:])], [pairs[i] for i in sorted(order[:count])]

    def setup(self, stage: str | None = None) -> None:
        wanted = {"fit": ("train", "val"), "validate": ("val",)}.get(stage or "", ("test",))
        for name in ("train", "val", "test") if stage is None else wanted:
            if name not in self._splits:
                rows, others = self.load_rows(name)
                tensors = (*map(padded, rows), *others)
                self._splits[name] = tensors, torch.arange(len(tensors[0]))

    def make_plan(self, split: str, samples: int, **settings: Any) -> BatchPlan:
        if split != "train":
            return super().make_plan(split, samples, **settings)
        # of several matrices the last is the costliest, as it is what is predicted
        matrices = [t for t in self._splits[split][0] if t.ndim == 2]
        return BucketPlan((matrices[-1] != PAD).sum(1), **settings)

    def _prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        return self._prepare_evaluation(batch, generator)

    def _prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        return tuple(trimmed(t).long() if t.ndim == 2 else t for t in batch)


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows as one matrix, int32, with 0 behind the shorter ones."""
    matrix = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.int32)
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = torch.tensor(row, dtype=torch.int32)
    return matrix


def trimmed(rows: Tensor) -> Tensor:
    """Rows (B, T) without the columns that hold padding alone, one column at least."""
    return rows[:, : max(1, int((rows != PAD).sum(1).max()))]
