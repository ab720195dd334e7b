"""Objectives against what their authors prove of them, on distributions over finitely many values.

The critic is a free number for each value, so that the best one is known.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.functional.divergences import jensen_shannon, kl_categorical
from zoo.functional.gan import OBJECTIVES, Objective, gradient_penalty, r1_penalty

D = torch.float64


def distributions(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.rand(7, generator=generator, dtype=D) for _ in range(2))
    return p / p.sum(), q / q.sum()


def discriminator_loss(objective: Objective, score: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """E_p of the loss on data and E_q of that on samples."""
    real, fake = objective.discriminator(score, score)
    return (p * real).sum() + (q * fake).sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_minimax_value_at_the_best_critic_is_jensen_shannon(seed: int) -> None:
    p, q = distributions(seed)
    score = (p / q).log()  # σ(score) = p/(p + q)
    value = -discriminator_loss(OBJECTIVES["minimax"], score, p, q)
    expected = 2 * jensen_shannon(p, q) - math.log(4)
    assert float((value - expected).abs()) < 1e-10
    # and no critic has a higher one
    for _ in range(20):
        other = score + torch.randn(7, dtype=D)
        assert -discriminator_loss(OBJECTIVES["minimax"], other, p, q) < value


def test_the_divergence_is_zero_exactly_when_the_distributions_are_equal() -> None:
    p, q = distributions(0)
    equal = -discriminator_loss(OBJECTIVES["minimax"], (p / p).log(), p, p) + math.log(4)
    different = -discriminator_loss(OBJECTIVES["minimax"], (p / q).log(), p, q) + math.log(4)
    assert abs(float(equal)) < 1e-15
    assert jensen_shannon(p, p) == 0
    assert float(different) > 1e-3
    assert float(jensen_shannon(p, q)) > 1e-3


def test_divergences_of_known_distributions() -> None:
    p, q = torch.tensor([1.0, 0.0], dtype=D), torch.tensor([0.0, 1.0], dtype=D)
    assert float(jensen_shannon(p, q)) == pytest.approx(math.log(2))
    assert float(kl_categorical(p, q)) == math.inf
    half = torch.tensor([0.5, 0.5], dtype=D)
    assert float(kl_categorical(p, half)) == pytest.approx(math.log(2))


@pytest.mark.parametrize("seed", range(3))
def test_the_minimax_and_the_non_saturating_generator_pull_the_same_way(seed: int) -> None:
    """Both lower their loss by raising the score; only the second keeps its slope."""
    score = torch.linspace(-20, 20, 9, dtype=D, requires_grad=True)
    slopes = {}
    for name in ("minimax", "non_saturating"):
        (slopes[name],) = torch.autograd.grad(OBJECTIVES[name].generator(score).sum(), score)
    probability = score.detach().sigmoid()
    torch.testing.assert_close(slopes["minimax"], -probability)
    torch.testing.assert_close(slopes["non_saturating"], probability - 1)
    assert OBJECTIVES["minimax"].generator(torch.tensor(-50.0)).abs() < 1e-12  # not −log σ


def test_the_generator_of_the_minimax_game_plays_against_the_critic() -> None:
    _, q = distributions(1)
    score = torch.randn(7, dtype=D)
    _, fake = OBJECTIVES["minimax"].discriminator(score, score)
    torch.testing.assert_close(
        (q * fake).sum(), -(q * OBJECTIVES["minimax"].generator(score)).sum()
    )


@pytest.mark.parametrize("seed", range(3))
def test_least_squares_at_the_best_critic(seed: int) -> None:
    """D = p/(p + q), and the loss ½ Σ pq/(p + q)."""
    p, q = distributions(seed)
    best = p / (p + q)
    loss = discriminator_loss(OBJECTIVES["least_squares"], best, p, q)
    torch.testing.assert_close(loss, 0.5 * (p * q / (p + q)).sum())
    assert loss < discriminator_loss(OBJECTIVES["least_squares"], best + 0.1, p, q)
    generator = OBJECTIVES["least_squares"].generator(best)
    torch.testing.assert_close(generator, 0.5 * (q / (p + q)).square())


@pytest.mark.parametrize("seed", range(3))
def test_hinge_at_the_best_critic_is_total_variation(seed: int) -> None:
    """D = sign(p − q), and the loss 2 − 2 TV(p, q)."""
    p, q = distributions(seed)
    loss = discriminator_loss(OBJECTIVES["hinge"], (p - q).sign(), p, q)
    variation = 0.5 * (p - q).abs().sum()
    torch.testing.assert_close(loss, 2 - 2 * variation)


@pytest.mark.parametrize("seed", range(3))
def test_wasserstein_at_the_best_critic_is_the_earth_movers_distance(seed: int) -> None:
    """On values 0, 1, 2, … the distance is Σ |F_p − F_q|; the best critic climbs by its sign."""
    p, q = distributions(seed)
    gap = (p - q).cumsum(0)
    steps = -gap[:-1].sign()  # of slope one
    discriminator = torch.cat([torch.zeros(1, dtype=D), steps.cumsum(0)])
    loss = discriminator_loss(OBJECTIVES["wasserstein"], discriminator, p, q)
    torch.testing.assert_close(-loss, gap.abs().sum())


# -- penalties -----------------------------------------------------------------------------------


def test_r1_of_a_quadratic_critic() -> None:
    """D = ½ xᵀAx has the slope Ax."""
    a = torch.randn(3, 3, dtype=D)
    a = (a + a.mT).requires_grad_()
    x = torch.randn(5, 3, dtype=D)

    def discriminator(x: Tensor) -> Tensor:
        return 0.5 * ((x @ a) * x).sum(1)

    value = r1_penalty(discriminator, x)
    torch.testing.assert_close(value, 0.5 * (x @ a).square().sum(1).mean())
    (slope,) = torch.autograd.grad(value, a)
    assert slope.abs().sum() > 0


def test_the_gradient_penalty_of_a_linear_critic() -> None:
    """Its slope is w everywhere: (‖w‖ − 1)²."""
    w = torch.tensor([3.0, 4.0], dtype=D, requires_grad=True)
    real, fake = torch.randn(4, 2, dtype=D), torch.randn(4, 2, dtype=D)
    value = gradient_penalty(lambda x: x @ w, real, fake)
    torch.testing.assert_close(value, torch.tensor(16.0, dtype=D))
    (slope,) = torch.autograd.grad(value, w)
    torch.testing.assert_close(slope, 2 * 4 * w.detach() / 5)


def test_the_gradient_penalty_looks_at_each_line_between_data_and_sample() -> None:
    real, fake = torch.zeros(1000, 1, dtype=D), torch.full((1000, 1), 2.0, dtype=D)
    seen: list[Tensor] = []

    def discriminator(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x[:, 0]

    gradient_penalty(discriminator, real, fake, torch.Generator().manual_seed(0))
    assert 0 < float(seen[0].min()) < 0.02
    assert 1.98 < float(seen[0].max()) < 2
    assert float(seen[0].mean()) == pytest.approx(1, abs=0.05)


def test_a_flat_critic_has_a_finite_slope() -> None:
    w = torch.zeros(2, dtype=D, requires_grad=True)
    value = gradient_penalty(lambda x: x @ w, torch.ones(3, 2, dtype=D), torch.zeros(3, 2, dtype=D))
    (slope,) = torch.autograd.grad(value, w)
    assert slope.isfinite().all()
