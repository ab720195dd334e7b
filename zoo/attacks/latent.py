"""On-manifold attacks, which perturb the latent code of a generative model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import ScoreFunction, frozen_eval
from zoo.attacks.goals import Goal
from zoo.attacks.gradient import PGD, FeasibleSet
from zoo.functional.norm_balls import project_to_ball, uniform_in_ball
from zoo.functional.rng import SampleRNG


@dataclass(frozen=True)
class LatentFeasibleSet(FeasibleSet):
    """Latent codes z in a ball; they represent the samples decode(z) + residual, clipped.

    Args:
        x: latent codes of the samples, (B, D).
        attack: see :class:`~zoo.attacks.gradient.FeasibleSet`.
        model: see :class:`~zoo.attacks.gradient.FeasibleSet`.
        residual: reconstruction residual of each sample, x − decode(encode(x)), (B, ...).
        autoencoder: model with ``encode`` and ``decode``.
    """

    residual: Tensor
    autoencoder: Any

    def to_samples(self, point: Tensor) -> Tensor:
        return self.attack.clip(self.residual + self.autoencoder.decode(point))

    def project(self, point: Tensor) -> Tensor:
        return self.x + project_to_ball(point - self.x, self.attack.eps, self.attack.norm)


@dataclass(frozen=True, kw_only=True)
class LatentPGD(PGD):
    """PGD on latent codes: x′ = x + decode(z + δ) − decode(z) with z = encode(x) and ‖δ‖ ≤ ε.

    Perturbations follow the learned data manifold: they change the strokes of a digit rather than
    add noise. The reconstruction residual x − decode(z) is kept, so δ = 0 gives x itself.

    Args:
        autoencoder: a model with ``encode`` and ``decode``, such as a
            :class:`~zoo.models.latent.base.LatentModel`; it is left unchanged.
        eps: radius ε of the ball, in the units of the codes.
        norm: norm of δ, ``l2`` (default) or ``linf``.
        bounds: bounds of the samples; see :class:`~zoo.attacks.base.BoundedAttack`.
        **pgd: see :class:`~zoo.attacks.gradient.PGD`.

    Source: Stutz, Hein and Schiele, Disentangling adversarial robustness and generalization, 2019,
    section 3.3, equation 5 (on-manifold adversarial examples).
    """

    autoencoder: Any
    norm: str = "l2"

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        if not self.steps or not bool(torch.as_tensor(self.eps).any()) or not len(x):
            return x
        with frozen_eval(self.autoencoder):
            with torch.no_grad():
                z = self.autoencoder.encode(x)
                residual = x - self.autoencoder.decode(z)
            start = z
            if self.random_start:
                start = z + uniform_in_ball(SampleRNG(x, self.seed), z, self.eps, self.norm)
            feasible = LatentFeasibleSet(z, self, model, residual, self.autoencoder)
            return feasible.to_samples(self.ascend(model, feasible, start, goal)).detach()
