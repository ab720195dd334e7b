"""Generative adversarial network."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.errors import (
    InputError,
    check_at_least,
    check_choice,
    check_non_negative,
    check_positive,
    check_probability,
)
from zoo.functional.gan import GAN_OBJECTIVES, gradient_penalty, r1_penalty
from zoo.metrics.samples import MixtureModeMetric, PrecisionRecallDensityCoverage
from zoo.models.latent.adversarial import DISCRIMINATOR, GENERATOR, AdversarialTask
from zoo.networks import MLP
from zoo.networks.ema import EMA
from zoo.networks.gan import (
    DCGANGenerator,
    Discriminator,
    ResidualGenerator,
    has_batch_norm,
    make_dcgan_features,
    make_mlp_features,
    make_residual_features,
    to_pixel_range,
    to_symmetric_range,
)

if TYPE_CHECKING:
    from torchmetrics import Metric

PENALTIES = ("none", "r1", "gradient")
MIN_COVERAGE = 0.5  # coverage, or fraction of modes found, below which there is mode collapse
MIN_DENSITY = 0.1  # density, or fraction of high-quality samples, below which training has diverged
MAX_ACCURACY = 0.995  # discriminator's accuracy above which the generator stops learning


class GAN(AdversarialTask):
    """Generative adversarial network: a generator G, trained against a discriminator D.

    A step of the discriminator minimizes

        E[f(D(x))] + E[g(D(G(z)))] + penalty,   z ~ N(0, I).

    After ``discriminator_steps`` of them, a step of the generator minimizes E[h(D(G(z)))] on the
    same z with the updated discriminator. ``objective`` selects f, g and h. The Trainer counts the
    steps of the discriminator, one per batch unless batches are accumulated. ``decode``, ``sample``
    and evaluation use an exponential moving average (EMA) of the generator's weights.

    Args:
        input_shape: shape of one sample: an image with pixels in [0, 1], (C, H, W), or a vector,
            (F,).
        latent_dim: dimension of z, D, default 64.
        objective: ``minimax``, ``non_saturating`` (default), ``least_squares``, ``hinge`` or
            ``wasserstein``; see :mod:`zoo.functional.gan`.
        penalty: penalty on the discriminator's gradient with respect to its input: ``none``
            (default), ``r1`` (at the data) or ``gradient`` (between data and samples; with the
            objective ``wasserstein``, WGAN-GP).
        penalty_weight: weight of the penalty in the loss, default 10.
        penalty_every: number of discriminator steps from one penalty to the next, default 1. The
            penalty is multiplied by it, so its mean over the steps does not change (Karras et al.,
            StyleGAN2, 2020, section 3.1).
        discriminator_hidden_dims: ``hidden_dims`` of the discriminator, default the generator's.
        normalization: normalization layers of the generator, default ``none``; see
            :mod:`zoo.networks.normalization`.
        discriminator_normalization: normalization layers of the discriminator, default ``none``.
        spectral_norm: whether the discriminator's weights are divided by their largest singular
            value, default no.
        ema_decay: decay of the EMA of the generator's weights, default 0.999; 0 uses the current
            weights.
        modes: centers of the data's modes where they are known, default none; evaluation then
            counts the modes that samples reach.
        mode_std: standard deviation of the data around each mode; required with ``modes``.
        **adversarial: see :class:`~zoo.models.latent.adversarial.AdversarialTask`. ``network`` is
            ``mlp`` (default; samples of any shape), ``dcgan`` or ``residual`` (images).
            ``hidden_dims`` are the widths or channels of the discriminator, from sample to score,
            and of the generator in reverse; a convolutional generator doubles the image once for
            each. ``activation`` applies to the generator.

    Shapes: z (B, latent_dim), x (B, *input_shape), scores (B,).

    Raises:
        InputError: unknown choices or numbers out of range; a network that does not fit
            ``input_shape``; a penalty together with batch normalization in the discriminator;
            ``modes`` without ``mode_std``.

    Source: Goodfellow et al., Generative adversarial nets, 2014, algorithm 1.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "loss of the discriminator: objective and penalties",
        "discriminator_loss": "objective of the discriminator, without penalties",
        "generator_loss": "objective of the generator",
        "accuracy_real": "fraction of data that the discriminator classifies as data",
        "accuracy_fake": "fraction of samples that the discriminator classifies as generated",
        "discriminator_gradient_norm": "norm of the discriminator's gradient, before clipping",
        "generator_gradient_norm": "norm of the generator's gradient, before clipping",
        "discriminator_penalty": "weighted penalty on the discriminator's gradient, part of loss",
        "high_quality": "fraction of samples within three standard deviations of a mode",
        "density": "number of data neighborhoods that contain a sample, divided by k, mean over "
        "samples; about 1 for real data (k = 5 neighbors, raw values)",
        "coverage": "fraction of data neighborhoods that contain a sample (k = 5 neighbors, "
        "raw values)",
    }
    network_types = ("mlp", "dcgan", "residual")
    allows_overcomplete = True

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        objective: str = "non_saturating",
        penalty: str = "none",
        penalty_weight: float = 10.0,
        penalty_every: int = 1,
        discriminator_hidden_dims: tuple[int, ...] | None = None,
        normalization: str = "none",
        discriminator_normalization: str = "none",
        spectral_norm: bool = False,
        ema_decay: float = 0.999,
        modes: tuple[tuple[float, ...], ...] | None = None,
        mode_std: float | None = None,
        **adversarial: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **adversarial)
        check_choice("objective", objective, GAN_OBJECTIVES)
        check_choice("penalty", penalty, PENALTIES)
        check_at_least(1, penalty_every=penalty_every)
        check_non_negative(penalty_weight=penalty_weight)
        check_probability(ema_decay=ema_decay)
        check_positive(mode_std=mode_std)
        check_at_least(1, discriminator_hidden_dims=discriminator_hidden_dims)
        if modes is not None and mode_std is None:
            raise InputError("modes needs mode_std, the standard deviation around each mode")
        self.objective = GAN_OBJECTIVES[objective]
        # codes and labels of the batches since the last step of a network
        self._accumulated: list[tuple[Tensor, Tensor | None]] = []

    # -- networks -------------------------------------------------------------------------------

    def build(self) -> None:
        self.discriminator = self.make_discriminator()
        self.generator = self.make_generator()
        self.ema = EMA(self.generator, self.hparams["ema_decay"])
        self._has_batch_norm = has_batch_norm(self.discriminator)
        penalty = self.hparams["penalty"]
        if penalty != "none" and self._has_batch_norm:
            raise InputError(
                f"penalty={penalty!r} needs the discriminator's gradient at each sample, and batch "
                "normalization mixes the samples of a batch: choose discriminator_normalization="
                "'layer', 'instance' or 'none', or penalty='none'"
            )

    def make_generator(self) -> nn.Module:
        """Create the generator, z (B, latent_dim) → (B, *input_shape).

        Its outputs are unbounded; :meth:`output_activation` maps them to samples.
        """
        hp, size = self.hparams, self.code_size()
        norm = hp["normalization"]
        if hp["network"] == "mlp":
            sizes = [size, *reversed(hp["hidden_dims"]), math.prod(self.input_shape)]
            network = MLP(sizes, hp["activation"], normalization=norm)
            return nn.Sequential(network, nn.Unflatten(1, self.input_shape))
        make = DCGANGenerator if hp["network"] == "dcgan" else ResidualGenerator
        return make(self.input_shape, hp["hidden_dims"], size, hp["activation"], norm)

    def make_discriminator(self) -> nn.Module:
        """Create the discriminator, x (B, *input_shape) → scores (B,).

        In a conditional model it also takes class indices, (B,).
        """
        hp = self.hparams
        make = {
            "mlp": make_mlp_features,
            "dcgan": make_dcgan_features,
            "residual": make_residual_features,
        }
        widths = hp["discriminator_hidden_dims"] or hp["hidden_dims"]
        features = make[hp["network"]](self.input_shape, widths, hp["discriminator_normalization"])
        return Discriminator(features, self.input_shape, hp.get("num_classes"), hp["spectral_norm"])

    def code_size(self) -> int:
        """Return the size of the generator's input."""
        return self.latent_dim

    def output_activation(self, outputs: Tensor) -> Tensor:
        """Map the generator's outputs to samples: pixels in [0, 1], or vectors unchanged."""
        return to_pixel_range(outputs) if len(self.input_shape) == 3 else outputs

    # -- codes and samples ----------------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        return self.output_activation(self.ema(z))

    def discriminate(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Compute the discriminator's scores, (B,): the higher, the more likely x is data.

        Args:
            x: samples, (B, *input_shape).
            y: class indices, (B,), for a conditional model.
        """
        return self.discriminator(to_symmetric_range(x) if len(self.input_shape) == 3 else x, y)

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (n, self.latent_dim)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    def sample_latent_given(self, n: int, y: Tensor | None) -> Tensor:
        """Sample the codes of one step, (n, …).

        Args:
            n: number of codes.
            y: labels of the batch, (n,), which the codes of a conditional model contain.
        """
        noise = torch.empty(n, self.latent_dim, device=self.device, dtype=self.dtype)
        return self.rng.normal_like(noise)

    def forward(self, z: Tensor) -> Tensor:
        return self.decode(z)

    def forward_inputs(self, batch: Any) -> tuple[Any, ...]:
        return (self.sample_latent_given(len(batch[0]), self.labels(batch)),)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        samples = self.sample(len(batch[0]))
        return {"sample": samples, "score": self.discriminate(batch[0], self.labels(batch))}

    # -- losses ---------------------------------------------------------------------------------

    def scores(self, x: Tensor, fake: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute the discriminator's scores of data and of samples, (B,) each.

        Args:
            x: data, (B, *input_shape).
            fake: samples, (B, *input_shape).
            y: labels of both, (B,).
        """
        if self._has_batch_norm:  # data and samples are normalized separately
            return self.discriminate(x, y), self.discriminate(fake, y)
        y_both = None if y is None else torch.cat([y, y])
        real_scores, fake_scores = self.discriminate(torch.cat([x, fake]), y_both).chunk(2)
        return real_scores, fake_scores

    def discriminator_losses(self, x: Tensor, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Compute the discriminator's loss and its accuracies; see :meth:`scores`."""
        real_scores, fake_scores = self.scores(x, fake, y)
        losses = self.objective.discriminator_loss(real_scores, fake_scores)
        loss = losses[0].mean() + losses[1].mean()
        threshold: Tensor | float | None = self.objective.threshold
        if threshold is None:  # scores have no absolute meaning: halfway between the means
            threshold = 0.5 * (real_scores.detach().mean() + fake_scores.detach().mean())
        return {
            "loss": loss, "discriminator_loss": loss,
            "accuracy_real": (real_scores > threshold).to(loss).mean(),
            "accuracy_fake": (fake_scores < threshold).to(loss).mean(),
        }  # fmt: skip

    def generator_loss(self, fake: Tensor, y: Tensor | None) -> Tensor:
        """Compute the generator's loss on samples, (B, *input_shape), with labels ``y``, (B,)."""
        return self.objective.generator_loss(self.discriminate(fake, y)).mean()

    def discriminator_penalty(self, x: Tensor, fake: Tensor, y: Tensor | None) -> Tensor | None:
        """Compute the weighted penalty on the discriminator's gradient; see :meth:`scores`.

        Returns:
            A scalar; None without a penalty, or between two steps that have one.
        """
        hp = self.hparams
        if hp["penalty"] == "none" or self.global_step % hp["penalty_every"]:
            return None
        discriminator = partial(self.discriminate, y=y)
        # squares of small gradients underflow in low precision
        with torch.autocast(self.device.type, enabled=False):
            if hp["penalty"] == "r1":
                value = r1_penalty(discriminator, x)
            else:
                value = gradient_penalty(discriminator, x, fake.to(x.dtype))
        return hp["penalty_weight"] * hp["penalty_every"] * value

    def step(self, batch: Any) -> dict[str, Any]:
        """Compute both losses of one batch without a penalty; evaluation uses the EMA generator.

        Training uses :meth:`training_step` instead, which updates the discriminator before it
        computes the generator's loss.
        """
        x, y = batch[0], self.labels(batch)
        codes = self.sample_latent_given(len(x), y)
        fake = (
            self.output_activation(self.generator(codes)) if self.training else self.decode(codes)
        )
        parts: dict[str, Any] = self.discriminator_losses(x, fake.detach(), y)
        return parts | {"generator_loss": self.generator_loss(fake, y), "outputs": (fake, x)}

    # -- training -------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        hp = self.hparams
        x, y = batch[0], self.labels(batch)
        window = hp["accumulate_grad_batches"]
        is_due = (batch_idx + 1) % window == 0 or self.trainer.is_last_batch
        trains_generator = is_due and (self.global_step + 1) % hp["discriminator_steps"] == 0
        codes = self.sample_latent_given(len(x), y)
        # The generator trains on the same samples as the discriminator. Samples of accumulated
        # batches are generated again, so that their graphs do not have to be kept in memory.
        with torch.set_grad_enabled(trains_generator and window == 1):
            fake = self.output_activation(self.generator(codes))
        self._accumulated.append((codes, y))
        # None, unless the generator takes a step
        parts: dict[str, Any] = dict.fromkeys(("generator_loss", "generator_gradient_norm"))
        with self.train_only(DISCRIMINATOR):
            parts |= self.discriminator_losses(x, fake.detach(), y)
            penalty = self.discriminator_penalty(x, fake.detach(), y)
            if penalty is not None:
                parts["loss"] = parts["loss"] + penalty
            parts = self._penalized(parts)
            self.manual_backward(parts["loss"] / window)
            if is_due:
                self.update_network(DISCRIMINATOR)
        if hp["penalty"] != "none":
            parts["discriminator_penalty"] = penalty
        if trains_generator:
            parts["generator_loss"] = self._train_generator(fake if window == 1 else None)
        parts |= {
            "discriminator_gradient_norm": self._gradient_norms[DISCRIMINATOR],
            "generator_gradient_norm": self._gradient_norms[GENERATOR],
        }
        if is_due:
            self._accumulated, self._gradient_norms = [], [None, None]
        self.record(parts, batch)

    def _train_generator(self, fake: Tensor | None) -> Tensor:
        """Update the generator and its EMA, on the codes of the discriminator's last step.

        Args:
            fake: samples for these codes, with their graph; None to generate them here.

        Returns:
            Mean loss of the batches.
        """
        window = self.hparams["accumulate_grad_batches"]
        losses = []
        with self.train_only(GENERATOR):
            for codes, y in self._accumulated:
                samples = self.output_activation(self.generator(codes)) if fake is None else fake
                parts = self._penalized({"loss": self.generator_loss(samples, y)})
                self.manual_backward(parts["loss"] / window)
                losses.append(parts["loss"].detach())
            self.update_network(GENERATOR)
        self.ema.update(self.generator, self.global_step // self.hparams["discriminator_steps"] - 1)
        return torch.stack(losses).mean()

    # -- metrics --------------------------------------------------------------------------------

    def make_metrics(self) -> dict[str, Metric]:
        hp = self.hparams
        if hp["modes"] is None:
            names = ("density", "coverage")
            return {name: PrecisionRecallDensityCoverage(name) for name in names}
        names = ("modes_found", "high_quality")
        return {name: MixtureModeMetric(name, hp["modes"], hp["mode_std"]) for name in names}

    def describe_metrics(self) -> dict[str, str]:
        notes = super().describe_metrics()
        if modes := self.hparams["modes"]:
            notes["modes_found"] = (
                f"number of modes (of {len(modes)}) with a sample within three standard deviations"
            )
        return notes

    def remarks(self, metrics: dict[str, float]) -> list[str]:
        """Return remarks on mode collapse, divergence, or a perfect discriminator."""
        modes = self.hparams["modes"]
        coverage, density = metrics.get("coverage"), metrics.get("density")
        if modes and "modes_found" in metrics:
            coverage, density = metrics["modes_found"] / len(modes), metrics["high_quality"]
        lines = []
        if density is not None and density < MIN_DENSITY:
            lines.append("diverged: hardly any samples are near the data")
        elif coverage is not None and coverage < MIN_COVERAGE:
            lines.append(f"mode collapse: samples cover only {coverage:.0%} of the data's variety")
        accuracy = min(metrics.get("accuracy_real", 0.0), metrics.get("accuracy_fake", 0.0))
        if accuracy >= MAX_ACCURACY:
            lines.append(
                "the discriminator separates all samples from the data: the generator no longer "
                "learns"
            )
        return lines
