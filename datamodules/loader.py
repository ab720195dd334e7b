"""Loaders that slice tensors: on the training device, split among processes, resumable mid-epoch.

``torch.utils.data.DataLoader`` fetches and collates samples one by one, which on small data takes
many times longer than the model. Here an epoch is one permutation, and a batch is one indexing
operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.errors import DataError, check_at_least

Batch = tuple[Tensor, ...]
Prepare = Callable[[Batch, torch.Generator], Batch]


class DistributedBatchSampler:
    """Index tensors of one process's batches in the current epoch.

    The permutation of an epoch depends only on ``seed`` and the epoch's number, so the batches are
    the same on every machine.

    Training (``shuffle=True``): the samples of a global batch, ``batch_size · world_size`` of them,
    are dealt out to the processes in turn. All processes take equally many steps with equally large
    batches, and no sample is used twice; up to ``world_size − 1`` samples of an epoch are left out.

    Evaluation (``shuffle=False``): every sample is in exactly one batch of exactly one process, and
    all processes have equally many batches. If the last batches would be empty, the other batches
    get one more sample.

    Args:
        num_samples: number of samples.
        batch_size: samples per batch and process.
        shuffle: whether to permute the samples in each epoch, for training; see above.
        seed: random seed of the permutations, default 0.
        drop_last: whether to drop the last training batch if it is not full, default False.
        rank: index of this process, default 0.
        world_size: number of processes, default 1.
        repeats: whether every epoch has the order and the random preparation of the first one, as
            the Trainer's ``overfit_batches`` needs; default False.

    Raises:
        InputError: ``batch_size`` is below 1.
        DataError: there are fewer samples than processes or none, or ``drop_last`` leaves no batch.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        repeats: bool = False,
    ) -> None:
        check_at_least(1, batch_size=batch_size)
        if num_samples == 0:
            raise DataError("the split has no samples")
        if num_samples < world_size:
            raise DataError(
                f"{num_samples} samples cannot be split among {world_size} processes: "
                "use fewer processes"
            )
        self.num_samples, self.batch_size = num_samples, batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.rank, self.world_size = rank, world_size
        self.repeats = repeats
        self.epoch = 0
        if len(self) == 0:
            raise DataError(
                f"{num_samples} samples do not fill a batch of {batch_size} on each of "
                f"{world_size} process(es): lower batch_size or set drop_last to false"
            )

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch_size * self.world_size)
        if not self.shuffle:
            return min(full + (rest > 0), self.num_samples // self.world_size)  # none is empty
        return full + (rest >= self.world_size and not self.drop_last)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._training_batches() if self.shuffle else self._evaluation_batches())

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch; Lightning calls this before each epoch."""
        self.epoch = epoch

    @property
    def seeded_epoch(self) -> int:
        """The epoch that random numbers depend on."""
        return 0 if self.repeats else self.epoch

    def make_order(self, generator: torch.Generator) -> Tensor:
        """Return the sample indices of a training epoch, in the order that batches are cut from."""
        return torch.randperm(self.num_samples, generator=generator)

    def _training_batches(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.seeded_epoch))
        order = self.make_order(generator)
        batches = []
        for batch in order.split(self.batch_size * self.world_size)[: len(self)]:
            even = len(batch) - len(batch) % self.world_size
            batches.append(batch[:even][self.rank :: self.world_size])
        return batches

    def _evaluation_batches(self) -> Sequence[Tensor]:
        indices = torch.arange(self.num_samples)
        if self.world_size == 1:
            return indices.split(self.batch_size)
        # sizes differ by at most one, so that every process gets a batch in every step
        batches = indices.tensor_split(len(self) * self.world_size)
        return batches[self.rank :: self.world_size]


class ResumableLoader:
    """Iterates over prepared batches and can resume in the middle of an epoch.

    Iteration starts at the sampler's current epoch: at its first batch or, after
    ``load_state_dict``, at the next batch due. Each complete pass advances to the next epoch.
    A pass over evaluation data always starts at the first batch.

    Lightning uses ``sampler`` to set the epoch, and ``state_dict`` and ``load_state_dict`` to save
    the position in a checkpoint. A subclass implements ``load_batches``.

    Args:
        sampler: indices of the samples in each batch.
        prepare: function (batch, generator) → batch that is applied to each batch, default none.
            The CPU generator's seed depends only on the seed, epoch, batch and process.
        is_random: whether ``prepare`` uses its generator, default True.
    """

    def __init__(
        self,
        sampler: DistributedBatchSampler,
        prepare: Callable[[Any, torch.Generator], Any] | None = None,
        is_random: bool = True,
    ) -> None:
        self.sampler = sampler
        self.batch_sampler = None  # Lightning reads this attribute as well as ``sampler``
        self.prepare = prepare
        self.is_random = is_random
        self._next, self._epoch = 0, sampler.epoch  # the next batch, and the epoch it belongs to

    def load_batches(self, batches: Sequence[Tensor]) -> Iterator[Any]:
        """Yield the batches with these sample indices, before preparation."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load_batches(batches)")

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        sampler = self.sampler
        # a pass that was cut short, by limit_train_batches or a sanity check, is not continued
        if self._next >= len(self) or self._epoch != sampler.epoch or not sampler.shuffle:
            self._next = 0
        self._epoch = sampler.epoch
        generator = torch.Generator()
        for batch in self.load_batches(list(sampler)[self._next :]):
            position, self._next = self._next, self._next + 1
            if self.is_random:
                seed = derive_seed(sampler.seed, sampler.seeded_epoch, position, sampler.rank)
                generator.manual_seed(seed)
            yield batch if self.prepare is None else self.prepare(batch, generator)
        sampler.epoch += 1
        self._next, self._epoch = 0, sampler.epoch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "next": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.epoch, self._next = state["epoch"], state["next"]
        self._epoch = self.sampler.epoch


class TensorLoader(ResumableLoader):
    """Batches of aligned tensors, as tuples on a device.

    Args:
        tensors: tensors of equal first dimension; they keep their types (uint8 stays uint8).
        sampler: indices of the samples in each batch, see :class:`DistributedBatchSampler`.
        device: device of the batches, default the CPU.
        prepare: function applied to each batch on the device, see :class:`ResumableLoader`.
        indices: rows of ``tensors`` that the sampler's indices refer to, default all rows.
        on_device: True (default) moves these rows to the device once; False leaves the tensors
            where they are, possibly memory-mapped on disk, and reads batches in worker processes.
        num_workers: number of worker processes where ``on_device`` is False, default 2.
        is_random: whether ``prepare`` uses its generator, default True.

    Raises:
        ValueError: the tensors, or the sampler and the rows, differ in their number of samples.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        sampler: DistributedBatchSampler,
        device: torch.device | str = "cpu",
        prepare: Prepare | None = None,
        indices: Tensor | None = None,
        on_device: bool = True,
        num_workers: int = 2,
        is_random: bool = True,
    ) -> None:
        super().__init__(sampler, prepare, is_random)
        counts = {len(t) for t in tensors}
        if len(counts) != 1:
            raise ValueError(f"tensors must have equally many samples, got {sorted(counts)}")
        self.indices = torch.arange(counts.pop()) if indices is None else indices
        if len(self.indices) != sampler.num_samples:
            raise ValueError(
                f"the sampler is for {sampler.num_samples} samples, got {len(self.indices)}"
            )
        self.device = torch.device(device)
        self.tensors = tuple(tensors)
        self._remaining = _RemainingBatches(self.indices)
        self._workers: DataLoader[Any] | None = None
        if on_device:
            self.tensors = tuple(t.index_select(0, self.indices).to(self.device) for t in tensors)
        else:
            self._workers = self._start_workers(num_workers)

    def load_batches(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        if self._workers is not None:
            self._remaining.batches = batches
            for batch in self._workers:
                yield tuple(t.to(self.device, non_blocking=True) for t in batch)
        elif batches:
            # one transfer of all indices is faster than one for each batch
            epoch = torch.cat(list(batches)).to(self.device)
            for indices in epoch.split([len(batch) for batch in batches]):
                yield tuple(t.index_select(0, indices) for t in self.tensors)

    def _start_workers(self, num_workers: int) -> DataLoader[Any]:
        return DataLoader(
            _BatchDataset(self.tensors),
            batch_sampler=self._remaining,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=self.device.type == "cuda",
            collate_fn=_identity,
            generator=torch.Generator(),  # otherwise each epoch would advance the global generator
        )


class _BatchDataset(Dataset[Any]):
    """Returns whole batches by their row indices; a worker reads memory-mapped tensors."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = torch.as_tensor(indices)
        return tuple(t.index_select(0, rows) for t in self.tensors)

    def __getitem__(self, index: int) -> Batch:
        return tuple(t[index] for t in self.tensors)


class _RemainingBatches:
    """Remaining batches of the current epoch, as the lists of rows that ``DataLoader`` requires."""

    def __init__(self, indices: Tensor) -> None:
        self.indices = indices
        self.batches: Sequence[Tensor] = ()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield self.indices[batch].tolist()


def _identity(batch: Any) -> Any:
    return batch


def process_settings(trainer: Any) -> dict[str, Any]:
    """Return the arguments of a sampler that depend on the Trainer; empty without a Trainer."""
    if trainer is None:
        return {}
    return {
        "rank": trainer.global_rank,
        "world_size": trainer.world_size,
        "repeats": bool(trainer.overfit_batches),
    }


def derive_seed(*numbers: int) -> int:
    """Return a 63-bit seed derived from several integers, by the mixing step of SplitMix64."""
    mask = (1 << 64) - 1
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1
