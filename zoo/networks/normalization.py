"""Normalization layers by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_choice, check_finite, check_positive

NORMALIZATIONS = ("none", "batch", "layer", "instance", "group")
MAX_GROUPS = 32  # largest number of groups in group normalization


class BatchOfOneError(InputError):
    """A training batch of one sample has no variance to normalize by."""


class VectorBatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` with an error that explains how to avoid training batches of one sample.

    Shapes: (B, F) → (B, F).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.ndim == 2 and len(x) == 1:
            raise BatchOfOneError(
                "batch normalization cannot train on a batch of one sample: choose a batch_size "
                "that does not leave a last batch of one, drop_last=True, or normalization='layer'"
            )
        return super().forward(x)


class VectorInstanceNorm(nn.Module):
    """Instance normalization of vectors, each taken as a signal with one channel.

    Every vector gets mean 0 and variance 1, then one learned scale and shift for all features.

    Shapes: (B, F) → (B, F).
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:], eps=self.eps) * self.weight + self.bias


def choose_num_groups(width: int) -> int:
    """Return the largest divisor of ``width`` up to 32 that leaves 2 or more features in a group.

    A single feature is a group of its own.
    """
    divisors = [g for g in range(1, min(MAX_GROUPS, width // 2) + 1) if width % g == 0]
    return max(divisors, default=1)


def make_vector_norm(normalization: str, width: int) -> list[nn.Module]:
    """Create a list with the layer that normalizes vectors (B, width), empty for ``none``.

    Raises:
        InputError: unknown normalization.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    if normalization == "batch":
        return [VectorBatchNorm(width)]
    if normalization == "layer":
        return [nn.LayerNorm(width)]
    if normalization == "instance":
        return [VectorInstanceNorm()]
    if normalization == "group":
        return [nn.GroupNorm(choose_num_groups(width), width)]
    return []


def make_image_norm(normalization: str, channels: int) -> list[nn.Module]:
    """Create a list with the layer that normalizes maps (B, channels, H, W), empty for ``none``.

    Raises:
        InputError: unknown normalization.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    if normalization == "batch":
        return [nn.BatchNorm2d(channels)]
    if normalization == "layer":
        return [nn.GroupNorm(1, channels)]
    if normalization == "instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    if normalization == "group":
        return [nn.GroupNorm(choose_num_groups(channels), channels)]
    return []


def cancels_bias(normalization: str, is_image: bool) -> bool:
    """Return whether a normalization cancels the bias of the layer before it.

    It does if each feature's own mean is subtracted, over the batch or over the pixels. Layer and
    group normalization subtract a mean over several features, so differences between biases remain.

    Args:
        normalization: name of the normalization.
        is_image: whether the features are maps (B, C, H, W) rather than vectors (B, F).
    """
    return normalization == "batch" or (normalization == "instance" and is_image)


class Normalize(nn.Module):
    """(x − mean) / std per channel, with constant mean and std, for pixels in [0, 1].

    Args:
        mean: mean of the pixels, one value for all channels or one for each; default 0.
        std: standard deviation of the pixels, one value for all channels or one for each;
            default 1.

    Shapes: (B, C, H, W) → the same.

    Raises:
        InputError: a standard deviation that is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0
    ) -> None:
        super().__init__()
        check_finite(pixel_mean=mean)
        check_positive(pixel_std=std)
        for name, value in (("mean", mean), ("std", std)):
            values = torch.atleast_1d(torch.tensor(value, dtype=torch.float32))
            self.register_buffer(name, values.view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"
