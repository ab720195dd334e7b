"""Vector quantization with a codebook learned by exponential moving averages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VectorQuantizer(nn.Module):
    """Vector quantization: the nearest of K codebook vectors, e_k with k = argmin ‖h − e_k‖.

    In training, N_k ← γ N_k + (1−γ) n_k and m_k ← γ m_k + (1−γ) Σ h over the n_k vectors nearest to
    e_k on all processes, and e_k = m_k / N_k. A codebook vector whose N_k falls below
    ``revive_below`` is replaced by a random vector of the batch. The first batch sets all codebook
    vectors.

    Args:
        num_codes: number of codebook vectors, K.
        dim: dimension of the vectors.
        decay: decay of the moving averages, γ, default 0.99.
        revive_below: average uses per batch, N_k, below which a codebook vector is replaced,
            default 0.5.

    Shapes: h (..., dim) → quantized (..., dim), indices (...) int64.

    Source: van den Oord et al., Neural discrete representation learning, 2017, appendix A.1;
    replacement of unused vectors as in Dhariwal et al., Jukebox, 2020, section 3.1.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(
        self, num_codes: int, dim: int, decay: float = 0.99, revive_below: float = 0.5
    ) -> None:
        super().__init__()
        self.decay, self.revive_below = decay, revive_below
        vectors = torch.randn(num_codes, dim)
        self.register_buffer("vectors", vectors)
        self.register_buffer("sums", vectors.clone())
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("started", torch.tensor(False))
        # a copy of ``started`` on the host, which is read from the device only once
        self._is_initialized = False

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        flat = h.flatten(0, -2)  # (N, dim)
        if self.training and not self._is_initialized:
            self._initialize(flat.detach())
        indices = self.nearest(flat)
        quantized = self.vectors[indices]
        if self.training:
            self._update(flat.detach(), indices)
        return quantized.view_as(h), indices.view(h.shape[:-1])

    def nearest(self, flat: Tensor) -> Tensor:
        """Return the index of the nearest codebook vector: (N, dim) → (N,)."""
        # ‖h − e‖² without ‖h‖², which does not change the order
        distances = self.vectors.square().sum(1) - 2 * flat @ self.vectors.mT
        return distances.argmin(1)

    def _initialize(self, flat: Tensor) -> None:
        """Set the codebook from the first batch, unless it was loaded from a checkpoint."""
        self._is_initialized = True
        if bool(self.started):
            return
        self.vectors.copy_(self._sample_vectors(flat))
        self.sums.copy_(self.vectors)
        self.started.fill_(True)

    def _update(self, flat: Tensor, indices: Tensor) -> None:
        one_hot = F.one_hot(indices, len(self.vectors)).to(flat)  # (N, K)
        counts, sums = _all_reduce(one_hot.sum(0)), _all_reduce(one_hot.mT @ flat)
        self.counts.lerp_(counts.to(self.counts), 1 - self.decay)
        self.sums.lerp_(sums.to(self.sums), 1 - self.decay)
        # sampled in every step, needed or not: asking for dead codes would synchronize the device
        is_dead = self.counts < self.revive_below
        samples = self._sample_vectors(flat)
        self.sums.copy_(torch.where(is_dead[:, None], samples, self.sums))
        self.counts.copy_(torch.where(is_dead, torch.ones_like(self.counts), self.counts))
        self.vectors.copy_(self.sums / self.counts[:, None])

    def _sample_vectors(self, flat: Tensor) -> Tensor:
        """Sample a vector of the batch for each code, the same on all processes: (K, dim)."""
        rows = torch.randint(len(flat), (len(self.vectors),), device=flat.device)
        return _broadcast(flat[rows].to(self.vectors))

    def extra_repr(self) -> str:
        num_codes, dim = self.vectors.shape
        return f"num_codes={num_codes}, dim={dim}, decay={self.decay}"


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _all_reduce(total: Tensor) -> Tensor:
    if _is_distributed():
        torch.distributed.all_reduce(total)
    return total


def _broadcast(values: Tensor) -> Tensor:
    values = values.contiguous()
    if _is_distributed():
        torch.distributed.broadcast(values, 0)
    return values
