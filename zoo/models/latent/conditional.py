"""ClassConditional: the base class of latent models that generate samples of a chosen class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError
from zoo.models.latent.base import LatentModel


class ClassConditional(LatentModel):
    """A latent model whose codes contain a class: z followed by a one-hot vector, (B, D + K).

    ``decode`` also takes mixtures of classes instead of one-hot vectors, so a straight line between
    two codes changes one class gradually into another.

    Inherit from this class first and then from the unconditional model, whose ``sample_latent``
    samples z: ``class ConditionalVAE(ClassConditional, VAE)``. The subclass sets ``num_classes``.
    """

    #: number of classes, K
    num_classes: int

    def one_hot(self, y: Tensor) -> Tensor:
        """Convert class indices to one-hot vectors, (B,) → (B, K)."""
        return F.one_hot(y, self.num_classes).to(self.device, self.dtype)

    def sample_latent(
        self, n: int, generator: torch.Generator | None = None, y: Tensor | None = None
    ) -> Tensor:
        """Sample ``n`` codes, (n, D + K).

        Args:
            n: number of codes.
            generator: random generator on the model's device, default the global one.
            y: class index of each code, (n,), default 0, 1, …, K − 1 in turn.
        """
        z = super().sample_latent(n, generator)
        if y is None:
            y = torch.arange(n, device=z.device) % self.num_classes
        return torch.cat([z, self.one_hot(y.to(z.device))], dim=1)

    def labels(self, batch: Any) -> Tensor:
        """Return the class indices of a batch, (B,).

        Raises:
            InputError: a batch without class indices.
        """
        return self.check_labels(batch[1] if len(batch) > 1 else None)

    def check_labels(self, y: Any) -> Tensor:
        """Return ``y`` unchanged; raise :class:`InputError` unless it contains class indices."""
        if not isinstance(y, Tensor) or y.is_floating_point() or y.ndim != 1:
            raise InputError(
                f"{type(self).__name__} needs a class index for each sample, and the data has "
                "none: choose data with classes"
            )
        return y
