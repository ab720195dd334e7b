"""Generative adversarial networks."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least, check_choice, check_non_negative
from zoo.functional.gan import GAN_OBJECTIVES, gradient_penalty, r1_penalty
from zoo.metrics.samples import MixtureModeMetric, PrecisionRecallDensityCoverage
from zoo.models.latent.adversarial import AdversarialTask
from zoo.models.latent.conditional import ClassConditional
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
COLLAPSED = 0.5  # share of the modes, or coverage, below which a generator has collapsed
ASTRAY = 0.1  # share of samples, or density, below which they are no likeness of the data
CERTAIN = 0.995  # accuracy from which the critic has won


class GAN(AdversarialTask):
    """A generator G of samples and a critic D that tells them from data, one against the other.

    On every batch the critic minimises E[f(D(x))] + E[g(D(G(z)))] + penalty, and after every
    ``discriminator_steps`` of them the generator E[h(D(G(z)))] on the same z ~ N(0, I), with the critic's new
    weights; the functions are those of ``objective``. One batch is one step of the Trainer. Samples
    and figures come from a running mean of the generator's weights.

    Args:
        input_shape: shape of one sample: images in [0, 1], (C, H, W), or vectors, (F,).
        latent_dim: D, dimensions of z, default 64.
        objective: ``minimax``, ``non_saturating`` (default), ``least_squares``, ``hinge`` or
            ``wasserstein``; see :mod:`zoo.functional.gan`.
        penalty: on the critic's slope: ``none`` (default), ``r1`` on data, or ``gradient`` between
            data and samples (with ``wasserstein``, WGAN-GP).
        penalty_weight: default 10.
        penalty_every: critic's steps from one penalty to the next, which then weighs as much as all
            that were left out, default 1 (Karras et al., StyleGAN2, 2020, section 3.1).
        network: ``mlp`` (default; any sample), ``dcgan`` or ``residual`` (images).
        hidden: widths, or channels, of the critic from input to score; the generator mirrors them.
            Images are halved once for each. Default (256, 256).
        critic_hidden: other widths for the critic, default those of ``hidden_dims``.
        normalization: of the generator, default ``none``; see :mod:`zoo.networks.normalization`.
        discriminator_normalization: of the critic, default ``none``.
        spectral_norm: whether the critic's weights are divided by their largest singular values,
            default no.
        ema_decay: of the mean of the generator's weights, default 0.999; 0 for the newest ones.
        modes, mode_std: of the data where they are known: figures then count the modes found.
        **players: ``discriminator_steps``, ``discriminator_lr``, ``weight_clip`` (with ``wasserstein``, the first
            WGAN), ``gradient_clip_val`` and ``accumulate_grad_batches``, which take the place of
            the Trainer's: see :class:`zoo.models.latent.adversarial.AdversarialTask`; ``activation`` of the
            generator and the settings of :class:`zoo.core.task.Task`.

    Shapes: z (B, latent_dim), x (B, *input_shape), scores (B,).

    Raises:
        ValueError: unknown names; a network that cannot make such samples; a penalty of a critic
            with batch normalisation, whose slope at one sample would depend on the others.

    Source: Goodfellow et al., Generative adversarial nets, 2014, algorithm 1.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "what the critic minimises",
        "discriminator_loss": "the critic's objective, without penalties",
        "generator_loss": "the generator's objective",
        "accuracy_real": "share of data that the critic takes for data",
        "accuracy_fake": "share of samples that the critic finds out",
        "discriminator_gradient_norm": "norm of the critic's gradient, before clipping",
        "generator_gradient_norm": "norm of the generator's gradient, before clipping",
        "discriminator_penalty": "penalty on the critic's slope, as the loss has it",
        "high_quality": "share of samples within three standard deviations of a mode",
        "density": "balls around data that a sample lies in (5 neighbours, raw values): 1 for data",
        "coverage": "share of balls around data with a sample inside (5 neighbours, raw values)",
    }
    networks = ("mlp", "dcgan", "residual")
    overcomplete = True

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
        **players: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **players)
        check_choice("objective", objective, GAN_OBJECTIVES)
        check_choice("penalty", penalty, PENALTIES)
        check_at_least(1, penalty_every=penalty_every)
        check_non_negative(penalty_weight=penalty_weight)
        self.objective = GAN_OBJECTIVES[objective]
        self._window: list[tuple[Tensor, Tensor | None]] = []  # codes and classes since a step

    # -- networks -------------------------------------------------------------------------------

    def build(self) -> None:
        self.discriminator = self.make_discriminator()
        self.generator = self.make_generator()
        self.ema = EMA(self.generator, self.hparams["ema_decay"])
        self._has_batch_norm = has_batch_norm(self.discriminator)
        penalty = self.hparams["penalty"]
        if penalty != "none" and self._has_batch_norm:
            raise InputError(
                f"penalty={penalty!r} needs the discriminator's gradient at each sample by itself, "
                "and batch normalization mixes the samples of a batch: choose "
                "discriminator_normalization='layer', 'instance' or 'none', or penalty='none'"
            )

    def make_generator(self) -> nn.Module:
        """z (B, latent_dim) → numbers (B, *input_shape), which ``output_activation`` turns into a sample."""
        hp, size = self.hparams, self.code_size()
        norm = hp["normalization"]
        if hp["network"] == "mlp":
            sizes = [size, *reversed(hp["hidden_dims"]), math.prod(self.input_shape)]
            network = MLP(sizes, hp["activation"], normalization=norm)
            return nn.Sequential(network, nn.Unflatten(1, self.input_shape))
        make = DCGANGenerator if hp["network"] == "dcgan" else ResidualGenerator
        return make(self.input_shape, hp["hidden_dims"], size, hp["activation"], norm)

    def make_discriminator(self) -> nn.Module:
        """x (B, *input_shape) → scores (B,); with the class too in a conditional model."""
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
        """Numbers that the generator takes."""
        return self.latent_dim

    def output_activation(self, numbers: Tensor) -> Tensor:
        """The generator's numbers as a sample: pixels in [0, 1], or a vector as it is."""
        return to_pixel_range(numbers) if len(self.input_shape) == 3 else numbers

    # -- the contract ---------------------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        return self.output_activation(self.ema(z))

    def discriminate(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's scores, (B,): the larger, the more it takes x for data.

        Args:
            x: samples, (B, *input_shape).
            y: their classes, of a conditional model.
        """
        return self.discriminator(to_symmetric_range(x) if len(self.input_shape) == 3 else x, y)

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (n, self.latent_dim)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    def forward(self, z: Tensor) -> Tensor:
        return self.decode(z)

    def forward_inputs(self, batch: Any) -> tuple[Any, ...]:
        return (self.sample_latent(len(batch[0]), self.rng),)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        samples = self.sample(len(batch[0]))
        return {"sample": samples, "score": self.discriminate(batch[0], self.labels(batch))}

    # -- losses ---------------------------------------------------------------------------------

    def labels(self, batch: Any) -> Tensor | None:
        """Classes that the networks are told; none here."""
        return None

    def sample_codes(self, n: int, y: Tensor | None) -> Tensor:
        """Codes of a training step, (n, …), of the classes ``y`` where the model has any."""
        return self.sample_latent(n, self.rng)

    def scores(self, x: Tensor, fake: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """D of data and of samples of the same classes, (B,) each."""
        if self._has_batch_norm:  # each kind is normalised by itself
            return self.discriminate(x, y), self.discriminate(fake, y)
        both = None if y is None else torch.cat([y, y])
        real, false = self.discriminate(torch.cat([x, fake]), both).chunk(2)
        return real, false

    def discriminator_losses(self, x: Tensor, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """The critic's loss and how often it is right."""
        real, false = self.scores(x, fake, y)
        losses = self.objective.discriminator_loss(real, false)
        loss = losses[0].mean() + losses[1].mean()
        middle: Tensor | float | None = self.objective.threshold
        if middle is None:  # only differences mean something: halfway between the means
            middle = 0.5 * (real.detach().mean() + false.detach().mean())
        return {
            "loss": loss, "discriminator_loss": loss,
            "accuracy_real": (real > middle).to(loss).mean(),
            "accuracy_fake": (false < middle).to(loss).mean(),
        }  # fmt: skip

    def generator_loss(self, fake: Tensor, y: Tensor | None) -> Tensor:
        """The generator's loss on samples."""
        return self.objective.generator_loss(self.discriminate(fake, y)).mean()

    def discriminator_penalty(self, x: Tensor, fake: Tensor, y: Tensor | None) -> Tensor | None:
        """The weighted penalty on the critic's slope, in the steps that are due."""
        hp = self.hparams
        if hp["penalty"] == "none" or self.global_step % hp["penalty_every"]:
            return None
        discriminator = partial(self.discriminate, y=y)
        with torch.autocast(self.device.type, enabled=False):  # squares of small slopes
            if hp["penalty"] == "r1":
                value = r1_penalty(discriminator, x)
            else:
                value = gradient_penalty(discriminator, x, fake.to(x.dtype), self.rng)
        return hp["penalty_weight"] * hp["penalty_every"] * value

    def step(self, batch: Any) -> dict[str, Any]:
        """Both losses on one batch. Evaluation is of the averaged generator; a training step
        computes the same, but lets the critic move before the generator."""
        x, y = batch[0], self.labels(batch)
        codes = self.sample_codes(len(x), y)
        fake = (
            self.output_activation(self.generator(codes)) if self.training else self.decode(codes)
        )
        parts: dict[str, Any] = self.discriminator_losses(x, fake.detach(), y)
        return parts | {"generator_loss": self.generator_loss(fake, y), "outputs": (fake, x)}

    # -- optimisation: the critic on each batch, the generator on some --------------------------

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        hp = self.hparams
        x, y = batch[0], self.labels(batch)
        every = hp["accumulate_grad_batches"]
        due = (batch_idx + 1) % every == 0 or self.trainer.is_last_batch
        follows = due and (self.global_step + 1) % hp["discriminator_steps"] == 0
        codes = self.sample_codes(len(x), y)
        # the samples that the critic sees serve the generator too, unless they are of many batches
        with torch.set_grad_enabled(follows and every == 1):
            fake = self.output_activation(self.generator(codes))
        self._window.append((codes, y))
        parts: dict[str, Any] = dict.fromkeys(("generator_loss", "generator_gradient_norm"))
        with self._only(0):
            parts |= self.discriminator_losses(x, fake.detach(), y)
            penalty = self.discriminator_penalty(x, fake.detach(), y)
            if penalty is not None:
                parts["loss"] = parts["loss"] + penalty
            parts = self._penalized(parts)
            self.manual_backward(parts["loss"] / every)
            if due:
                self._step(0)
        if hp["penalty"] != "none":
            parts["discriminator_penalty"] = penalty
        if follows:
            parts["generator_loss"] = self._train_generator(fake if every == 1 else None)
        parts |= {
            "discriminator_gradient_norm": self._norms[0],
            "generator_gradient_norm": self._norms[1],
        }
        if due:
            self._window, self._norms = [], [None, None]
        self.record(parts, batch)

    def _train_generator(self, fake: Tensor | None) -> Tensor:
        """A step of the generator on the codes that the critic has just seen decoded; its loss."""
        every = self.hparams["accumulate_grad_batches"]
        losses = []
        with self._only(1):
            for codes, y in self._window:
                samples = self.output_activation(self.generator(codes)) if fake is None else fake
                parts = self._penalized({"loss": self.generator_loss(samples, y)})
                self.manual_backward(parts["loss"] / every)
                losses.append(parts["loss"].detach())
            self._step(1)
        self.ema.update(self.generator, self.global_step // self.hparams["discriminator_steps"] - 1)
        return torch.stack(losses).mean()

    # -- figures --------------------------------------------------------------------------------

    def make_metrics(self) -> dict[str, Metric]:
        hp = self.hparams
        if hp["modes"] is None:
            names = ("density", "coverage")
            return {name: PrecisionRecallDensityCoverage(name) for name in names}
        names = ("modes_found", "high_quality")
        return {name: MixtureModeMetric(name, hp["modes"], hp["mode_std"]) for name in names}

    def describe_metrics(self) -> dict[str, str]:
        modes = self.hparams["modes"]
        found = f"of {len(modes)} modes, with a sample within three deviations" if modes else ""
        return super().describe_metrics() | {"modes_found": found}

    def remarks(self, metrics: dict[str, float]) -> list[str]:
        """Whether the run has collapsed or diverged, by the figures of an evaluation."""
        modes = self.hparams["modes"]
        lines = []
        covered, near = metrics.get("coverage"), metrics.get("density")
        if modes and "modes_found" in metrics:
            covered, near = metrics["modes_found"] / len(modes), metrics["high_quality"]
        if near is not None and near < ASTRAY:
            lines.append("diverged: hardly any sample lies where the data does")
        elif covered is not None and covered < COLLAPSED:
            lines.append(f"collapsed: samples reach only {covered:.0%} of the data's variety")
        right = min(metrics.get("accuracy_real", 0.0), metrics.get("accuracy_fake", 0.0))
        if right >= CERTAIN:
            lines.append("the critic tells all samples from data: the generator learns no more")
        return lines


class ConditionalGAN(ClassConditional, GAN):
    """A GAN of samples of a chosen class: G(z, y) and D(x, y).

    The generator is given the class behind z: the columns of its first layer that belong to the
    classes are their embeddings. The critic is a projection of the class on its features.

    Args:
        input_shape: see :class:`GAN`.
        num_classes: K.
        latent_dim: dimensions of z, default 64.
        **gan: see :class:`GAN`.

    Shapes: codes (B, latent_dim + K); see :class:`zoo.models.latent.conditional.ClassConditional`.

    Raises:
        InputError: a batch without classes.

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
        return self.latent_dim + self.hparams["num_classes"]

    def labels(self, batch: Any) -> Tensor | None:
        return self.classes_of(batch[1] if len(batch) > 1 else None)

    def sample_codes(self, n: int, y: Tensor | None) -> Tensor:
        return self.sample_latent(n, self.rng, y)
