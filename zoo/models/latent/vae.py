"""Variational autoencoders: plain, β, conditional."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import check_at_least, check_non_negative
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.models.latent.conditional import ClassConditional
from zoo.models.latent.likelihood import LikelihoodModel


class VAE(LikelihoodModel):
    """Variational autoencoder: a decoder p(x|z) with prior N(0, I) and an encoder q(z|x).

    Minimises the negative evidence lower bound, in nats per sample, summed over pixels and latent
    dimensions and averaged over the batch:

        −ELBO = −E_q[log p(x|z)] + KL(q(z|x) ‖ N(0, I)),   q(z|x) = N(μ(x), diag σ²(x)),

    with one draw z = μ + σ ε of the expectation. ``neg_elbo`` is always this number; the options
    below change what training minimises.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        kl_warmup: steps (≥ 1) or fraction of training (< 1) over which the weight of the KL grows
            from 0 to 1, default 0 (Bowman et al., 2016).
        free_bits: nats of KL that each latent dimension has for free, as a mean over the batch:
            Σ_d max(free_bits, KL_d); default 0 (Kingma et al., 2016, appendix C.8).
        **pixels: ``likelihood`` and ``binarization``, see :class:`zoo.models.latent.likelihood.LikelihoodModel`;
            ``network``, ``hidden_dims``, ``activation`` and the settings of :class:`zoo.core.task.Task`.

    Shapes: x (B, *input_shape), z (B, latent_dim).

    Raises:
        ValueError: a negative ``kl_warmup`` or ``free_bits``.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, section 3 and appendix C.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "kl": "KL(q(z|x) ‖ prior), nats per image",
        "loss": "the reconstruction and the KL as training weighs them",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        kl_warmup: float = 0.0,
        free_bits: float = 0.0,
        **pixels: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **pixels)
        check_non_negative(kl_warmup=kl_warmup, free_bits=free_bits)
        self._warmup_steps = 0.0  # known when training starts

    def build(self) -> None:
        super().build()
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()

    def make_encoder(self) -> nn.Module:
        """x (B, *input_shape) → μ and log σ² of q(z|x), side by side: (B, 2·latent_dim)."""
        return self.make_encoder_network(2 * self.latent_dim)

    def make_decoder(self) -> nn.Module:
        """z (B, latent_dim) → logits or means of the pixels, (B, *input_shape)."""
        return self.make_decoder_network(values=self.parameters_per_pixel())

    # -- distributions --------------------------------------------------------------------------

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """μ(x) and log σ²(x) of q(z|x), each (B, latent_dim)."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, log_var

    def reparameterize(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """z = μ + σ ε."""
        noise = torch.empty_like(mean).normal_(generator=self.rng)
        return mean + (0.5 * log_var).exp() * noise

    def kl(self, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
        """KL(q(z|x) ‖ p(z)) of each latent dimension, (B, D), or in one piece, (B, 1)."""
        return kl_standard_normal(mean, log_var)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) in nats, (B,)."""
        return gaussian_log_prob(torch.zeros_like(z), z.new_zeros(()), z)

    def log_weights(self, x: Tensor, label: Tensor | None = None, num_samples: int = 1) -> Tensor:
        """log w = log p(x, z) − log q(z|x) for draws of z, (draws, B).

        The mean over draws estimates the ELBO; log (1/K) Σ w estimates log p(x) from below.

        Args:
            x: pixels, binarised where the model has them so, (B, *input_shape).
            label: classes, (B,), of a conditional model.
            draws: for each x, default 1.
        """
        mean, log_var = self.posterior(x)  # (B, D)
        noise = torch.empty(num_samples, *mean.shape, dtype=mean.dtype, device=mean.device)
        z = mean + (0.5 * log_var).exp() * noise.normal_(generator=self.rng)
        log_q = gaussian_log_prob(mean, 0.5 * log_var, z)
        flat = z.flatten(0, 1)  # (draws·B, D)
        label = label if label is None else label.repeat(num_samples)
        decoded = self.decode_conditioned(flat, label).unflatten(0, (num_samples, len(x)))
        return self.log_prob(x, decoded) + self.log_prior(flat).view(num_samples, -1) - log_q

    # -- the contract ---------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(self.encoder_input(x))[0]

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood_mean(self.decoder(z))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (n, self.latent_dim)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    # -- training -------------------------------------------------------------------------------

    def kl_weight(self) -> float:
        """Weight of the KL in the loss: 1, or what the warm-up has reached in a Trainer's steps."""
        if not self.training or not self._warmup_steps:
            return 1.0
        return min(1.0, self.global_step / self._warmup_steps)

    def on_train_start(self) -> None:
        super().on_train_start()
        warmup = self.hparams["kl_warmup"]
        share = self.trainer.estimated_stepping_batches if warmup < 1 else 1
        self._warmup_steps = warmup * share

    def decode_conditioned(self, z: Tensor, label: Any) -> Tensor:
        """The decoder's output for draws of the codes of images with these labels."""
        return self.decoder(z)

    def step(self, batch: Any) -> dict[str, Tensor]:
        gray = batch[0]
        x = self.binarize(gray)
        mean, log_var = self.posterior(x)  # (B, D)
        z = self.reparameterize(mean, log_var)
        reconstruction = -self.log_prob(x, self.decode_conditioned(z, _label(batch))).mean()
        kl = self.kl(mean, log_var, z).mean(0)  # (D,)
        neg_elbo = reconstruction + kl.sum()
        free = self.hparams["free_bits"]
        counted = kl.clamp(min=free).sum() if free else kl.sum()
        loss = reconstruction + self.kl_weight() * counted
        parts = {
            "loss": loss, "neg_elbo": neg_elbo, "reconstruction": reconstruction, "kl": kl.sum(),
        }  # fmt: skip
        if not self.training:
            parts |= {
                "bits_per_dim": self.bits_per_dim(neg_elbo),
                "mse": F.mse_loss(self.reconstruct(gray), gray),
            }
        return parts


class BetaVAE(VAE):
    """A VAE whose KL weighs β in the loss: E_q[−log p(x|z)] + β KL.

    β > 1 trades likelihood for codes whose dimensions are independent and few; ``neg_elbo`` stays
    that of β = 1.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        beta: β, default 4.
        **vae: see :class:`VAE`.

    Raises:
        ValueError: a negative beta.

    Source: Higgins et al., β-VAE, 2017.
    """

    def __init__(
        self, input_shape: tuple[int, ...], latent_dim: int = 2, beta: float = 4.0, **vae: Any
    ) -> None:
        super().__init__(input_shape, latent_dim, **vae)
        check_non_negative(beta=beta)

    def kl_weight(self) -> float:
        return self.hparams["beta"] * super().kl_weight()


class ConditionalVAE(ClassConditional, VAE):
    """A VAE of images given their class: decoder p(x|z, y), prior N(0, I) for z, uniform for y.

    z holds what the class does not say. A code is z with the class behind it as K weights of one,
    (B, D + K): ``decode`` takes mixtures of classes too, so that a line between two codes leads
    from class to class. ``encode`` without labels finds the class by Bayes' rule, the y with the
    largest p(x|z, y), z the posterior mean.

    Args:
        input_shape: shape of one sample.
        num_classes: K.
        latent_dim: D, default 2.
        **vae: see :class:`VAE`.

    Batch: (x, y) with y int64 classes, (B,).

    Raises:
        InputError: a batch without labels.

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
        """(z, weights of the classes), (B, D + K) → the pixels' distribution."""
        size = self.latent_dim + self.hparams["num_classes"]
        return self.make_decoder_network(size, values=self.parameters_per_pixel())

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean and the class, given or found: (B, D + K)."""
        x = self.encoder_input(x)
        z = self.posterior(x)[0]
        return torch.cat([z, self.one_hot(self.classify(x, z) if y is None else y)], dim=1)

    def classify(self, x: Tensor, z: Tensor) -> Tensor:
        """argmax_y p(x|z, y), (B,)."""
        every = torch.arange(self.hparams["num_classes"], device=z.device)
        scores = [
            self.log_prob(x, self.decoder(torch.cat([z, self.one_hot(y.expand(len(z)))], dim=1)))
            for y in every
        ]
        return torch.stack(scores).argmax(0)

    def decode_conditioned(self, z: Tensor, label: Any) -> Tensor:
        return self.decoder(torch.cat([z, self.one_hot(self.classes_of(label))], dim=1))


def _label(batch: Any) -> Any:
    return batch[1] if len(batch) > 1 else None
