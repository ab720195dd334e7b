"""What models of images of a chosen class share: codes that carry the class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError
from zoo.models.latent.base import LatentModel


class ClassConditional(LatentModel):
    """A latent model whose codes are z with the class behind it, as K weights of one, (B, D + K).

    ``decode`` takes mixtures of classes too, so that a line between two codes leads from class to
    class. The class that mixes this in has an argument ``num_classes`` and a ``sample_latent`` of z
    alone further down.
    """

    def one_hot(self, y: Tensor) -> Tensor:
        """Classes as weights: (B,) → (B, K)."""
        return F.one_hot(y, self.hparams["num_classes"]).to(self.device, self.dtype)

    def sample_latent(
        self, n: int, generator: torch.Generator | None = None, y: Tensor | None = None
    ) -> Tensor:
        """``n`` codes, (n, D + K), of the classes ``y``, (n,), or of all in turn."""
        z = super().sample_latent(n, generator)
        if y is None:
            y = torch.arange(n, device=z.device) % self.hparams["num_classes"]
        return torch.cat([z, self.one_hot(y.to(z.device))], dim=1)

    def classes_of(self, label: Any) -> Tensor:
        """A batch's labels, if they are classes.

        Raises:
            InputError: they are not.
        """
        if not isinstance(label, Tensor) or label.is_floating_point() or label.ndim != 1:
            raise InputError(
                "a conditional model needs a class for each image, and the data has none: choose "
                "data with classes"
            )
        return label
