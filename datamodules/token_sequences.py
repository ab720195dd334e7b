"""Token sequences of different lengths, bucketed by length and padded to the longest in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from datamodules.base import TensorDataModule, hold_out, stage_splits
from datamodules.loader import Batch, DistributedBatchSampler
from zoo.functional.tokenization import PAD_ID

BATCHES_PER_POOL = 50

T = TypeVar("T")


class BucketBatchSampler(DistributedBatchSampler):
    """A sampler whose training batches contain sequences of nearly equal length.

    Each epoch's permutation is divided into pools of 50 batches. Each pool is sorted by length and
    cut into batches, and the batches are shuffled. Both the sequences in a batch and the order of
    the batches remain random.

    Args:
        lengths: lengths of the sequences (N,).
        **sampler: see :class:`~datamodules.loader.DistributedBatchSampler`.
    """

    def __init__(self, lengths: Tensor, **sampler: Any) -> None:
        super().__init__(len(lengths), **sampler)
        self.lengths = lengths

    def make_order(self, generator: torch.Generator) -> Tensor:
        order = super().make_order(generator)
        size = self.batch_size * self.world_size
        # the stable sort keeps sequences of equal length in their random order
        pools = [
            pool[self.lengths[pool].argsort(stable=True)]
            for pool in order.split(BATCHES_PER_POOL * size)
        ]
        batches = list(torch.cat(pools).split(size))
        full = batches if len(batches[-1]) == size else batches[:-1]
        shuffled = torch.randperm(len(full), generator=generator).tolist()
        return torch.cat([*(full[i] for i in shuffled), *batches[len(full) :]])


class TokenSequenceDataModule(TensorDataModule):
    """Token sequences of different lengths, padded with 0 to the longest in the batch.

    A subclass implements ``load_sequences(split)``. Batches are tuples: one matrix of tokens, int64
    (B, T), for each list of sequences, and the other tensors.
    """

    def load_sequences(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        """Return the lists of sequences of a split, and other tensors such as labels.

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement load_sequences(split)")

    def hold_out_examples(
        self, examples: list[T], size: float, argument: str
    ) -> tuple[list[T], list[T]]:
        """Return the remaining and the held-out examples, chosen by the seed.

        Args:
            examples: examples to choose from.
            size: examples to hold out: a count (≥ 1) or a fraction (< 1).
            argument: name of the argument that gave ``size``, for the error message.

        Raises:
            DataError: no example would remain.
        """
        kept, held_out = hold_out(len(examples), size, self.seed, argument)
        return [examples[i] for i in kept.tolist()], [examples[i] for i in held_out.tolist()]

    def setup(self, stage: str | None = None) -> None:
        for name in stage_splits(stage):
            if name not in self._splits:
                sequences, others = self.load_sequences(name)
                tensors = (*map(pad, sequences), *others)
                self._splits[name] = tensors, torch.arange(len(tensors[0]))

    def make_sampler(
        self, split: str, num_samples: int, **settings: Any
    ) -> DistributedBatchSampler:
        if split != "train":
            return super().make_sampler(split, num_samples, **settings)
        # of several matrices, the last one determines the cost: it is the one that is predicted
        matrices = [t for t in self._splits[split][0] if t.ndim == 2]
        return BucketBatchSampler((matrices[-1] != PAD_ID).sum(1), **settings)

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        return tuple(trim_padding(t).long() if t.ndim == 2 else t for t in batch)


def pad(sequences: Sequence[Sequence[int]]) -> Tensor:
    """Return sequences as a matrix int32 (N, T), padded with 0 to the longest."""
    if not sequences:
        return torch.empty(0, 0, dtype=torch.int32)
    rows = [torch.tensor(sequence, dtype=torch.int32) for sequence in sequences]
    return pad_sequence(rows, batch_first=True, padding_value=PAD_ID)


def trim_padding(tokens: Tensor) -> Tensor:
    """Return tokens (B, T) without the last columns that contain only padding, but at least one."""
    return tokens[:, : max(1, int((tokens != PAD_ID).sum(1).max()))]
