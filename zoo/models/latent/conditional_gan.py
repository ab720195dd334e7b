"""Conditional GAN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import check_at_least
from zoo.models.latent.conditional import ClassConditional
from zoo.models.latent.gan import GAN


class ConditionalGAN(ClassConditional, GAN):
    """Conditional GAN: a generator G(z, y) of samples of a class, and a discriminator D(x, y).

    The generator takes a code, which is z followed by the one-hot class; its first layer therefore
    contains an embedding of each class. The discriminator adds the inner product of a class
    embedding and its features to the score (projection).

    Args:
        input_shape: shape of one sample: an image, (C, H, W), or a vector, (F,).
        num_classes: number of classes, K.
        latent_dim: dimension of z, D, default 64.
        **gan: see :class:`~zoo.models.latent.gan.GAN`.

    Batch: (x, y) with y int64 class indices, (B,).

    Shapes: codes (B, D + K); see :class:`~zoo.models.latent.conditional.ClassConditional`.

    Raises:
        InputError: fewer than two classes; a batch without class indices.

    Source: Mirza and Osindero, Conditional generative adversarial nets, 2014; Miyato and Koyama,
    cGANs with projection discriminator, 2018.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, latent_dim: int = 64, **gan: Any
    ) -> None:
        super().__init__(input_shape, latent_dim, **gan)
        check_at_least(2, num_classes=num_classes)
        self.num_classes = num_classes

    def code_size(self) -> int:
        return self.latent_dim + self.num_classes

    def sample_latent_given(self, n: int, y: Tensor | None) -> Tensor:
        z = super().sample_latent_given(n, y)
        return torch.cat([z, self.one_hot(self.check_labels(y))], dim=1)
