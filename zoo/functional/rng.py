"""Random numbers for a batch: from PyTorch's generators, or one stream for each sample.

The stream of a sample depends only on the sample's values and a seed, not on its index in the
batch, the rest of the batch, the process or the device. Its random numbers are hashes of a key and
a counter, as in Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011, with the mixing
function of Steele et al., Fast splittable pseudorandom number generators, 2014 (SplitMix64).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

GOLDEN = -7046029254386353131  # 2⁶⁴ divided by the golden ratio, as a signed integer
FIRST, SECOND = -4658895280553007687, -7723592293110705685  # multipliers of SplitMix64
MASK = 2**63 - 1  # clears the sign bit


class TorchRNG:
    """A generator of PyTorch with the methods of :class:`SampleRNG` that models use.

    Args:
        generator: random generator on the device of the numbers, default the global one.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def normal_like(self, x: Tensor, batch_dim: int = 0) -> Tensor:
        """Return standard normal numbers with the shape, type and device of ``x``."""
        return torch.empty_like(x).normal_(generator=self.generator)

    def uniform_like(self, x: Tensor, batch_dim: int = 0) -> Tensor:
        """Return uniform numbers in [0, 1) with the shape, type and device of ``x``."""
        return torch.empty_like(x).uniform_(generator=self.generator)

    def bernoulli(self, p: Tensor) -> Tensor:
        """Return 1 with probability ``p``, else 0, in the shape, type and device of ``p``."""
        return torch.bernoulli(p, generator=self.generator)


class SampleRNG:
    """Random number generator with one stream per sample.

    All methods return a different value for each sample, along a leading batch dimension unless
    they have an argument ``batch_dim``.

    Args:
        x: samples whose values seed the streams, (B, ...), of any real type.
        seed: random seed, added to the key of every sample, default 0.
    """

    def __init__(self, x: Tensor, seed: int = 0) -> None:
        self.keys = sample_keys(x, seed)
        self._counter = 0

    def select(self, index: Tensor) -> SampleRNG:
        """Return a generator that continues the streams of the samples at an index or mask."""
        selected = object.__new__(SampleRNG)
        selected.keys, selected._counter = self.keys[index], self._counter
        return selected

    def integers(self, *shape: int) -> Tensor:
        """Return uniform integers of 63 bits, int64 (B, *shape)."""
        self._counter += 1
        keys = splitmix64(self.keys + torch.tensor(self._counter, device=self.keys.device) * GOLDEN)
        counts = torch.arange(math.prod(shape), device=keys.device) * GOLDEN
        return (splitmix64(keys[:, None] + counts) & MASK).view(len(keys), *shape)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return uniform numbers in [0, 1), (B, *shape)."""
        bits = 53 if dtype == torch.float64 else 24
        return (self.integers(*shape) >> (63 - bits)).to(dtype) * 2.0**-bits

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standard normal numbers by the Box–Muller transform, (B, *shape)."""
        radius = (-2 * torch.log1p(-self.uniform(*shape, dtype=dtype))).sqrt()
        return radius * (2 * math.pi * self.uniform(*shape, dtype=dtype)).cos()

    def signs(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return random signs, −1 or 1, (B, *shape)."""
        return (self.integers(*shape) & 1).to(dtype) * 2 - 1

    def normal_like(self, x: Tensor, batch_dim: int = 0) -> Tensor:
        """Return standard normal numbers with the shape, type and device of ``x``.

        Args:
            x: tensor whose dimension ``batch_dim`` has the size B.
            batch_dim: dimension of the samples, default 0.

        Raises:
            ValueError: the dimension has another size.
        """
        return self._like(self.normal, x, batch_dim)

    def uniform_like(self, x: Tensor, batch_dim: int = 0) -> Tensor:
        """Return uniform numbers in [0, 1) with the shape of ``x``; see :meth:`normal_like`."""
        below_one = 1 - torch.finfo(x.dtype).eps / 2  # to which half precision rounds down from 1
        return self._like(self.uniform, x, batch_dim).clamp(max=below_one)

    def bernoulli(self, p: Tensor) -> Tensor:
        """Return 1 with probability ``p``, (B, ...), else 0; see :meth:`normal_like`."""
        wide = torch.promote_types(p.dtype, torch.float32)  # in which no uniform number is 1
        return (self.uniform_like(p.to(wide)) < p).to(p.dtype)

    def _like(self, draw: Callable[..., Tensor], x: Tensor, batch_dim: int) -> Tensor:
        """Draw in float32 at least, so that the precision changes the numbers by rounding only."""
        if x.shape[batch_dim] != len(self.keys):
            raise ValueError(
                f"there are {len(self.keys)} samples with a random stream, but dimension "
                f"{batch_dim} of the shape {tuple(x.shape)} has another size"
            )
        shape = list(x.shape)
        del shape[batch_dim]
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        return draw(*shape, dtype=dtype).movedim(0, batch_dim).to(x.dtype)


def sample_keys(x: Tensor, seed: int) -> Tensor:
    """Hash the values of each sample and the seed into one key per sample, int64 (B,).

    Args:
        x: samples, (B, ...), of any real type.
        seed: random seed.
    """
    bits = _bits(x.detach().reshape(len(x), math.prod(x.shape[1:])))
    positions = torch.arange(1, bits.shape[1] + 1, device=x.device) * GOLDEN
    content = splitmix64(bits.long() + positions).sum(1)
    return splitmix64(content + splitmix64(torch.tensor(seed, device=x.device) * GOLDEN + FIRST))


def _bits(x: Tensor) -> Tensor:
    """Return integers that are equal where numbers are equal."""
    if not x.is_floating_point():
        return x.long()
    x = x + 0.0  # turns −0 into 0
    if x.dtype == torch.float64:
        return x.contiguous().view(torch.int64)
    return x.float().contiguous().view(torch.int32)


def splitmix64(z: Tensor) -> Tensor:
    """Apply SplitMix64's mixing function elementwise, a bijection of 64-bit integers."""
    z = (z ^ _logical_right_shift(z, 30)) * FIRST
    z = (z ^ _logical_right_shift(z, 27)) * SECOND
    return z ^ _logical_right_shift(z, 31)


def _logical_right_shift(z: Tensor, count: int) -> Tensor:
    """Shift right and fill with zeros; ``>>`` of a signed integer repeats the sign bit."""
    return (z >> count) & ((1 << (64 - count)) - 1)
