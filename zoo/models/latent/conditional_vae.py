"""Conditional VAE."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import check_at_least
from zoo.models.latent.conditional import ClassConditional
from zoo.models.latent.vae import VAE


class ConditionalVAE(ClassConditional, VAE):
    """Conditional VAE: a VAE whose decoder p(x|z, y) is also given the class y of the sample.

    z, with prior N(0, I), describes what the class does not determine. A code is z followed by the
    one-hot class, of size D + K; see :class:`~zoo.models.latent.conditional.ClassConditional`.
    Without labels, ``encode`` infers the class by Bayes' rule with a uniform prior, as the y with
    the largest p(x|z, y), where z is the posterior mean.

    Args:
        input_shape: shape of one sample.
        num_classes: number of classes, K.
        latent_dim: dimension of z, D, default 2.
        **vae: see :class:`~zoo.models.latent.vae.VAE`.

    Batch: (x, y) with y int64 class indices, (B,).

    Raises:
        InputError: fewer than two classes; a batch without class indices.

    Source: Kingma et al., Semi-supervised learning with deep generative models, 2014, section 3
    (the model M2 with all labels known); Sohn et al., 2015.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, latent_dim: int = 2, **vae: Any
    ) -> None:
        super().__init__(input_shape, latent_dim, **vae)
        check_at_least(2, num_classes=num_classes)
        self.num_classes = num_classes

    def make_decoder(self) -> nn.Module:
        """Create the decoder, z and one-hot class (B, D + K) → logits or means of the pixels."""
        size = self.latent_dim + self.num_classes
        return self.make_decoder_network(size, outputs_per_value=self.parameters_per_value())

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the posterior mean followed by the one-hot class, (B, D + K).

        Args:
            x: samples, (B, *input_shape).
            y: class indices, (B,), default those that :meth:`classify` infers.
        """
        x = self.prepare_input(x)
        z = self.posterior(x)[0]
        return torch.cat([z, self.one_hot(self.classify(x, z) if y is None else y)], dim=1)

    def classify(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the most likely class, argmax_y p(x|z, y), (B,)."""
        classes = torch.arange(self.num_classes, device=z.device)
        scores = [
            self.log_prob(x, self.likelihood_parameters(z, y.expand(len(z)))) for y in classes
        ]
        return torch.stack(scores).argmax(0)

    def likelihood_parameters(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.decoder(torch.cat([z, self.one_hot(self.check_labels(y))], dim=1))
