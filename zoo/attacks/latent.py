"""Attacks that move along what a generative model knows of the data."""

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
    """Points are codes: x + decode(z) − decode(encode(x)), inside the bounds.

    Args:
        x: codes of the samples, (B, D).
        rest: what a decoder leaves out of each sample, (B, ...).
        codes: the model of codes.
    """

    rest: Tensor
    codes: Any

    def samples(self, point: Tensor) -> Tensor:
        return self.attack.clip(self.rest + self.codes.decode(point))

    def inside(self, point: Tensor) -> Tensor:
        return self.x + project_to_ball(point - self.x, self.attack.eps, self.attack.norm)


@dataclass(frozen=True, kw_only=True)
class LatentPGD(PGD):
    """PGD on the code of a sample: x′ = x + decode(z + δ) − decode(z), z = encode(x), ‖δ‖ ≤ ε.

    Changes are those that the generative model knows: other strokes, not noise. What its decoder
    cannot draw of x is kept as it is, so that δ = 0 gives x itself.

    Args:
        codes: a model with ``encode`` and ``decode``, such as a
            :class:`~zoo.models.latent.base.LatentModel`; it is not changed.
        eps: radius ε, in the units of codes.
        norm: of codes, ``l2`` (default) or ``linf``.
        bounds: of samples.
        **pgd: see :class:`~zoo.attacks.gradient.PGD`.

    Source: Stutz, Hein and Schiele, Disentangling adversarial robustness and generalization, 2019,
    section 3.3, equation 5 (on-manifold adversarial examples).
    """

    codes: Any
    norm: str = "l2"

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        if not self.steps or not self.eps or not len(x):
            return x
        with frozen_eval(self.codes):
            with torch.no_grad():
                z = self.codes.encode(x)
                rest = x - self.codes.decode(z)
            start = z
            if self.random_start:
                start = z + uniform_in_ball(SampleRNG(x, self.seed), z, self.eps, self.norm)
            ball = LatentFeasibleSet(z, self, rest, self.codes)
            return ball.samples(self.climb(model, ball, start, goal)).detach()
