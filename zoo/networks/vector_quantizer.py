"""Vector quantisation with a codebook that follows the vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VectorQuantizer(nn.Module):
    """The nearest of K vectors, e_k = argmin ‖h − e_k‖; the vectors are running means of theirs.

    In training N_k ← γ N_k + (1−γ) n_k and m_k ← γ m_k + (1−γ) Σ h over the n_k vectors nearest to
    e_k, and e_k = m_k / N_k; over all processes. A vector whose N_k has fallen below
    ``revive_below`` is set anew to one of the batch's, drawn at random; the first batch sets all.

    Args:
        num_codes: K.
        dim: length of the vectors.
        decay: γ, default 0.99.
        revive_below: expected uses a batch below which a code counts as dead, default 0.5.

    Shapes: h (..., dim) → quantised (..., dim), indices (...) int64.

    Source: van den Oord et al., Neural discrete representation learning, 2017, appendix A.1; the
    revival is that of Dhariwal et al., Jukebox, 2020, section 3.1.
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
        start = torch.randn(num_codes, dim)
        self.register_buffer("vectors", start)
        self.register_buffer("sums", start.clone())
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("started", torch.tensor(False))
        self._known_started = False  # so that the device is asked once

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        flat = h.flatten(0, -2)  # (N, dim)
        if self.training and not self._known_started:
            self._start(flat.detach())
        indices = self.nearest(flat)
        quantized = self.vectors[indices]
        if self.training:
            self._follow(flat.detach(), indices)
        return quantized.view_as(h), indices.view(h.shape[:-1])

    def nearest(self, flat: Tensor) -> Tensor:
        """Index of the nearest vector: (N, dim) → (N,)."""
        # ‖h − e‖² without ‖h‖², which is the same for all
        distances = self.vectors.square().sum(1) - 2 * flat @ self.vectors.mT
        return distances.argmin(1)

    def _start(self, flat: Tensor) -> None:
        """Sets all vectors from the first batch, unless a checkpoint has brought them."""
        self._known_started = True
        if bool(self.started):
            return
        self.vectors.copy_(self._draw(flat, torch.ones_like(self.counts, dtype=torch.bool)))
        self.sums.copy_(self.vectors)
        self.started.fill_(True)

    def _follow(self, flat: Tensor, indices: Tensor) -> None:
        chosen = F.one_hot(indices, len(self.vectors)).to(flat)  # (N, K)
        counts, sums = _all_reduce(chosen.sum(0)), _all_reduce(chosen.mT @ flat)
        self.counts.lerp_(counts.to(self.counts), 1 - self.decay)
        self.sums.lerp_(sums.to(self.sums), 1 - self.decay)
        # compared without asking the device: revived ones take vectors of the batch
        dead = self.counts < self.revive_below
        fresh = self._draw(flat, dead)
        self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))
        self.counts.copy_(torch.where(dead, torch.ones_like(self.counts), self.counts))
        self.vectors.copy_(self.sums / self.counts[:, None])

    def _draw(self, flat: Tensor, wanted: Tensor) -> Tensor:
        """A vector of the batch for each code, the same on every process."""
        rows = torch.randint(len(flat), (len(wanted),), device=flat.device)
        return _broadcast(flat[rows].to(self.vectors))

    def extra_repr(self) -> str:
        count, dim = self.vectors.shape
        return f"num_codes={count}, dim={dim}, decay={self.decay}"


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _all_reduce(total: Tensor) -> Tensor:
    if _distributed():
        torch.distributed.all_reduce(total)
    return total


def _broadcast(values: Tensor) -> Tensor:
    values = values.contiguous()
    if _distributed():
        torch.distributed.broadcast(values, 0)
    return values
