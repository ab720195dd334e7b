"""Normalisation layers by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.errors import InputError

NORMALIZATIONS = ("none", "batch", "layer", "instance", "group")
GROUPS = 32  # at most; the largest divisor of the width that is not larger is taken


class BatchOfOneError(InputError):
    """A training batch of one sample has no variance to normalize by."""


class BatchNorm1d(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` that says what to do about a training batch of one sample."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.ndim == 2 and len(x) == 1:
            raise BatchOfOneError(
                "batch normalisation cannot train on a batch of one sample: choose a batch_size "
                "that leaves none over, drop_last=True, or normalization='layer'"
            )
        return super().forward(x)


class InstanceNormVector(nn.Module):
    """Each sample's vector to mean 0 and variance 1, then one scale and shift for all units.

    Instance normalisation of a signal with one channel.

    Shapes: (B, F) → (B, F).
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[1:], eps=self.eps) * self.weight + self.bias


def check_normalization(name: str) -> None:
    """Raises ValueError for an unknown name."""
    if name not in NORMALIZATIONS:
        raise ValueError(f"unknown normalization {name!r}; choose from {', '.join(NORMALIZATIONS)}")


def groups_for(width: int) -> int:
    """The largest divisor of ``width`` up to ``GROUPS`` that leaves two units or more a group."""
    fitting = [g for g in range(1, min(GROUPS, width // 2) + 1) if width % g == 0]
    return max(fitting, default=1)


def vector_norm(name: str, width: int) -> list[nn.Module]:
    """The layer, or none, that normalises vectors (B, width)."""
    check_normalization(name)
    if name == "batch":
        return [BatchNorm1d(width)]
    if name == "layer":
        return [nn.LayerNorm(width)]
    if name == "instance":
        return [InstanceNormVector()]
    if name == "group":
        return [nn.GroupNorm(groups_for(width), width)]
    return []


def image_norm(name: str, channels: int) -> list[nn.Module]:
    """The layer, or none, that normalises images (B, channels, H, W)."""
    check_normalization(name)
    if name == "batch":
        return [nn.BatchNorm2d(channels)]
    if name == "layer":
        return [nn.GroupNorm(1, channels)]
    if name == "instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    if name == "group":
        return [nn.GroupNorm(groups_for(channels), channels)]
    return []


def removes_bias(name: str, image: bool) -> bool:
    """Whether a unit's bias before the normalisation makes no difference after it.

    It does not where each unit's own mean is subtracted: over the batch, or over the pixels. Layer
    and group normalisation subtract a mean over several units, which leaves their differences.
    """
    return name == "batch" or (name == "instance" and image)


class Normalize(nn.Module):
    """(x − mean) / std per channel, with fixed numbers: pixels in [0, 1] become what nets like.

    Args:
        mean, std: one number for all channels, or one for each.

    Shapes: (B, C, ...) → the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0
    ) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            column = torch.atleast_1d(torch.tensor(value, dtype=torch.float32))
            self.register_buffer(name, column.view(1, -1, 1, 1), persistent=False)
        if not bool((self.std > 0).all()):
            raise ValueError(f"std must be positive, got {std}")

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


def conv_output_size(side: int, kernel: int, stride: int, padding: int) -> int:
    """Side of a feature map after a convolution or pooling."""
    return math.floor((side + 2 * padding - kernel) / stride) + 1
