"""A loader that slices tensors: on the training device, sharded by itself, resumable in mid-epoch.

``torch.utils.data.DataLoader`` fetches samples one by one and collates them, which on small data
costs many times the model. Here an epoch is one permutation and a batch is one indexing operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.errors import DataError

Batch = tuple[Tensor, ...]
Prepare = Callable[[Batch, torch.Generator], Batch]


class BatchPlan:
    """Which samples make up which batch of which epoch, on which process.

    The same numbers give the same batches on every machine: the permutation of an epoch depends on
    ``seed`` and the epoch's number alone.

    Training (``shuffle=True``): a global batch of ``batch_size · world_size`` samples is dealt out
    to the processes in turn, so that every process makes the same number of equally large steps and
    no sample comes twice; at most ``world_size − 1`` samples of an epoch are left out.

    Evaluation (``shuffle=False``): every sample comes exactly once on exactly one process, in
    equally many batches on each.

    Args:
        samples: how many there are.
        batch_size: samples per batch and process.
        shuffle: see above.
        seed: of the permutations, default 0.
        drop_last: leaves out a last training batch that is not full, default no.
        rank: number of this process, default 0.
        world_size: number of processes, default 1.

    Raises:
        DataError: fewer samples than processes, or none left after ``drop_last``.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        if samples < world_size:
            raise DataError(f"{samples} samples cannot be shared out to {world_size} processes")
        self.samples, self.batch_size, self.shuffle, self.seed = samples, batch_size, shuffle, seed
        self.drop_last, self.rank, self.world_size = drop_last, rank, world_size
        self.epoch = 0
        if len(self) == 0:
            raise DataError(
                f"{samples} samples make no full batch of {batch_size} on each of {world_size} "
                "process(es): lower batch_size or leave drop_last off"
            )

    def __len__(self) -> int:
        full, rest = divmod(self.samples, self.batch_size * self.world_size)
        if not self.shuffle:
            return full + (rest > 0)
        return full + (rest >= self.world_size and not self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def batches(self) -> list[Tensor]:
        """Indices of this process's batches in the current epoch."""
        if self.shuffle:
            return self._training_batches()
        indices = torch.arange(self.samples)
        if self.world_size == 1:
            return list(indices.split(self.batch_size))
        # sizes differ by one at most, so that no process is left without a batch
        return list(indices.tensor_split(len(self) * self.world_size))[self.rank :: self.world_size]

    def order(self, generator: torch.Generator) -> Tensor:
        """The samples of a training epoch, in the order in which batches are cut from them."""
        return torch.randperm(self.samples, generator=generator)

    def _training_batches(self) -> list[Tensor]:
        order = self.order(torch.Generator().manual_seed(hash_seed(self.seed, self.epoch)))
        batches = []
        for batch in order.split(self.batch_size * self.world_size)[: len(self)]:
            even = len(batch) - len(batch) % self.world_size
            batches.append(batch[:even][self.rank :: self.world_size])
        return batches


class PlannedLoader:
    """Batches in the order of a plan, ready for a model; knows where in the epoch it is.

    Iterating starts at the current epoch of the plan, in the middle of it after
    ``load_state_dict``; each complete pass moves on to the next epoch. A pass over evaluation data
    always starts at its first batch. Lightning sees ``sampler`` (to set the epoch) and
    ``state_dict``/``load_state_dict`` (to checkpoint the position).

    A subclass implements ``fetch``.

    Args:
        plan: which samples make up which batch.
        prepare: ``(batch, generator) → batch``: what is done to each batch. The generator (CPU)
            depends on seed, epoch, batch and process alone.
        random: whether ``prepare`` draws from its generator, default yes.
    """

    def __init__(
        self,
        plan: BatchPlan,
        prepare: Callable[[Any, torch.Generator], Any] | None = None,
        random: bool = True,
    ) -> None:
        self.sampler = plan
        self.batch_sampler = None  # Lightning asks for it beside ``sampler``
        self.prepare = prepare
        self.random = random
        self._next, self._epoch = 0, plan.epoch  # the next batch, and the epoch it belongs to

    def fetch(self) -> Iterator[Any]:
        """The batches of the epoch from ``self._next`` on."""
        raise NotImplementedError(f"{type(self).__name__} has no fetch()")

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        # a pass that was cut short (limit_train_batches, a sanity check) is not taken up again
        if self._next >= len(self) or self._epoch != self.sampler.epoch or not self.sampler.shuffle:
            self._next = 0
        self._epoch = self.sampler.epoch
        generator = torch.Generator()
        for batch in self.fetch():
            position, self._next = self._next, self._next + 1
            if self.random:
                plan = self.sampler
                generator.manual_seed(hash_seed(plan.seed, plan.epoch, position, plan.rank))
            if self.prepare is not None:
                batch = self.prepare(batch, generator)
            yield batch
        self.sampler.epoch += 1
        self._next, self._epoch = 0, self.sampler.epoch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "next": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.epoch, self._next = state["epoch"], state["next"]
        self._epoch = self.sampler.epoch


class TensorLoader(PlannedLoader):
    """Batches of aligned tensors, tuples, on the device.

    Args:
        tensors: equal first dimensions; kept as they are (uint8 stays uint8).
        plan, prepare, random: see :class:`PlannedLoader`; ``prepare`` works on the device.
        device: where batches are wanted, default the CPU.
        rows: of the tensors that the plan's numbers stand for, default all.
        resident: True (default) moves those rows to the device once; False leaves the tensors
            where they are, memory-mapped maybe, and lets ``num_workers`` processes fetch batches.
        num_workers: of the ``DataLoader`` that serves when not resident, default 2.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        plan: BatchPlan,
        device: torch.device | str = "cpu",
        prepare: Prepare | None = None,
        rows: Tensor | None = None,
        resident: bool = True,
        num_workers: int = 2,
        random: bool = True,
    ) -> None:
        super().__init__(plan, prepare, random)
        lengths = {len(t) for t in tensors}
        if len(lengths) != 1:
            raise DataError(f"tensors of {sorted(lengths)} samples do not belong together")
        self.rows = torch.arange(lengths.pop()) if rows is None else rows
        if len(self.rows) != plan.samples:
            raise DataError(f"{len(self.rows)} samples, but a plan for {plan.samples}")
        self.device = torch.device(device)
        self.tensors = tuple(tensors)
        if resident:
            self.tensors = tuple(t.index_select(0, self.rows).to(self.device) for t in tensors)
        self._streams = None if resident else self._make_streams(num_workers)

    def fetch(self) -> Iterator[Batch]:
        if self._streams is not None:
            for batch in self._streams:
                yield tuple(t.to(self.device, non_blocking=True) for t in batch)
            return
        batches = self.sampler.batches()[self._next :]
        if not batches:
            return
        # one transfer for the epoch, not one for each batch
        epoch = torch.cat(batches).to(self.device)
        for indices in epoch.split([len(batch) for batch in batches]):
            yield tuple(t.index_select(0, indices) for t in self.tensors)

    def _make_streams(self, num_workers: int) -> DataLoader[Any]:
        return DataLoader(
            _Rows(self.tensors),
            batch_sampler=_Remaining(self),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=self.device.type == "cuda",
            collate_fn=_identity,
            generator=torch.Generator(),  # else each epoch would draw from the global one
        )


class _Rows(Dataset[Any]):
    """Whole batches by their indices; memory-mapped tensors are read in the worker."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = torch.as_tensor(indices)
        return tuple(t.index_select(0, rows) for t in self.tensors)

    def __getitem__(self, index: int) -> Batch:
        return tuple(t[index] for t in self.tensors)


class _Remaining:
    """What is left of the current epoch, as the lists of indices that ``DataLoader`` wants."""

    def __init__(self, loader: TensorLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[list[int]]:
        for indices in self.loader.sampler.batches()[self.loader._next :]:
            yield self.loader.rows[indices].tolist()


def _identity(batch: Any) -> Any:
    return batch


def hash_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (the mixing step of SplitMix64)."""
    mask = (1 << 64) - 1
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1
