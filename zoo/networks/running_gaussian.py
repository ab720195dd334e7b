"""Running estimate of a Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.functional.precision import without_autocast


class RunningGaussian(nn.Module):
    """Mean and covariance of a stream of vectors, as exponential moving averages.

    m ← (1−a) m + a·mean(z),  C ← (1−a) C + a·mean[(z−m)(z−m)ᵀ]; the first batch sets both.

    Args:
        dim: dimension of the vectors, D.
        momentum: weight of the latest batch, a, default 0.05.
    """

    mean: Tensor
    covariance: Tensor
    batches: Tensor

    def __init__(self, dim: int, momentum: float = 0.05) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("covariance", torch.eye(dim))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def update(self, z: Tensor) -> None:
        """Update the averages with a batch of vectors, (B, D)."""
        z = z.to(self.mean.dtype)
        # torch.where instead of an if: reading the count on the host would synchronize the device
        weight = torch.where(self.batches == 0, 1.0, self.momentum).to(z.dtype)
        self.mean.lerp_(z.mean(0), weight)
        centered = z - self.mean
        with without_autocast([z.device.type]):
            self.covariance.lerp_(centered.T @ centered / len(z), weight)
        self.batches += 1

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``n`` vectors from N(m, C), (n, D).

        Args:
            n: number of samples.
            generator: random number generator on the module's device, default the global one.
        """
        noise = torch.randn(
            n, len(self.mean), generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        # eigendecomposition instead of Cholesky: a collapsed latent dimension makes C singular
        values, vectors = torch.linalg.eigh(self.covariance)
        return self.mean + (noise * values.clamp(min=0).sqrt()) @ vectors.T
