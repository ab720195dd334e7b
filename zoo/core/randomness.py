"""Random numbers that a model draws: free in training, reproducible in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.functional.rng import SampleRNG, TorchRNG

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule as Base
else:
    Base = object

EVALUATION_SEED = 1


class RandomNumbers(Base):
    """Mixin that gives a model its source of random numbers, ``rng``.

    Training draws from the global generator. In evaluation each sample has its own stream, so that
    metrics depend neither on the size or order of batches nor on the number of processes.
    """

    _rng: TorchRNG | SampleRNG | Callable[[], SampleRNG] = TorchRNG()

    @property
    def rng(self) -> TorchRNG | SampleRNG:
        """Random numbers for ``step`` and the methods that it calls."""
        if callable(self._rng):
            self._rng = self._rng()
        return self._rng

    @contextmanager
    def seeded(self, seed: int, samples: Tensor | None = None) -> Iterator[None]:
        """Make ``rng`` return the same random numbers in each use of this context.

        Args:
            seed: random seed.
            samples: data of a batch, (B, ...), whose values select the stream of each sample;
                without them, a generator on the model's device is seeded.
        """
        before = self._rng
        if samples is None:
            self._rng = TorchRNG(torch.Generator(self.device).manual_seed(seed))
        else:  # the samples are hashed only if the model needs random numbers
            self._rng = partial(SampleRNG, samples, seed)
        try:
            yield
        finally:
            self._rng = before

    def seeded_for(self, batch: Any, batch_idx: int) -> AbstractContextManager[None]:
        """Seed ``rng`` for a batch of an evaluation.

        The values of ``batch[0]`` select the streams. A batch without such a tensor, such as
        one of graphs, is seeded by its index among the batches of all processes.
        """
        samples = batch[0] if isinstance(batch, tuple | list) else None
        if isinstance(samples, Tensor):
            return self.seeded(EVALUATION_SEED, samples)
        processes = self.trainer.world_size if self._trainer else 1
        return self.seeded(batch_idx * processes + self.global_rank)
