"""Random numbers of which every sample has its own.

What is drawn for a sample depends on the sample and a seed, and not on its place in a batch, on the
others there or on the device: the numbers are hashes of a key and a count, as in Salmon et al.,
Parallel random numbers: as easy as 1, 2, 3, 2011, with the mixing function of Steele et al., Fast
splittable pseudorandom number generators, 2014 (SplitMix64).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GOLDEN = -7046029254386353131  # 2⁶⁴ divided by the golden ratio, as a signed number
FIRST, SECOND = -4658895280553007687, -7723592293110705685  # multipliers of SplitMix64
MASK = 2**63 - 1


class SampleRNG:
    """A stream of random numbers for each sample of a batch.

    Args:
        x: the samples, (B, ...), any floating type.
        seed: further part of every key, default 0.
    """

    def __init__(self, x: Tensor, seed: int = 0) -> None:
        self.keys = sample_keys(x, seed)
        self._drawn = 0

    def rows(self, chosen: Tensor) -> SampleRNG:
        """The streams of some samples, by their numbers or a mask, from where they are."""
        part = object.__new__(SampleRNG)
        part.keys, part._drawn = self.keys[chosen], self._drawn
        return part

    def integers(self, *shape: int) -> Tensor:
        """63 random bits each, int64 (B, *shape)."""
        self._drawn += 1
        keys = splitmix64(self.keys + torch.tensor(self._drawn, device=self.keys.device) * GOLDEN)
        counts = torch.arange(math.prod(shape), device=keys.device) * GOLDEN
        return (splitmix64(keys[:, None] + counts) & MASK).view(len(keys), *shape)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """In [0, 1), (B, *shape)."""
        bits = 53 if dtype == torch.float64 else 24
        return (self.integers(*shape) >> (63 - bits)).to(dtype) * 2.0**-bits

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Mean 0 and variance 1, (B, *shape), by Box and Muller's method."""
        radius = (-2 * torch.log1p(-self.uniform(*shape, dtype=dtype))).sqrt()
        return radius * (2 * math.pi * self.uniform(*shape, dtype=dtype)).cos()

    def signs(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """−1 or 1, (B, *shape)."""
        return (self.integers(*shape) & 1).to(dtype) * 2 - 1


def sample_keys(x: Tensor, seed: int) -> Tensor:
    """A number for each sample that its values and the seed decide, int64 (B,)."""
    values = x.detach().flatten(1) + 0.0  # −0 and 0 are the same value
    if values.dtype != torch.float64:
        values = values.float()
    bits = values.contiguous().view(torch.int64 if values.dtype == torch.float64 else torch.int32)
    places = torch.arange(1, bits.shape[1] + 1, device=x.device) * GOLDEN
    content = splitmix64(bits.long() + places).sum(1)
    return splitmix64(content + splitmix64(torch.tensor(seed, device=x.device) * GOLDEN + FIRST))


def splitmix64(z: Tensor) -> Tensor:
    """SplitMix64's bijection of 64 bits, elementwise; near numbers go far apart."""
    z = (z ^ _right(z, 30)) * FIRST
    z = (z ^ _right(z, 27)) * SECOND
    return z ^ _right(z, 31)


def _right(z: Tensor, count: int) -> Tensor:
    """Shift to the right that brings zeros in, where ``>>`` repeats the sign."""
    return (z >> count) & ((1 << (64 - count)) - 1)
