"""GAN objectives against the results that their authors prove, on categorical distributions.

The discriminator has one free output per category, so its optimum is known.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.functional.divergences import jensen_shannon, kl_categorical
from zoo.functional.gan import GAN_OBJECTIVES, GANObjective, gradient_penalty, r1_penalty

D = torch.float64


def distributions(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.rand(7, generator=generator, dtype=D) for _ in range(2))
    return p / p.sum(), q / q.sum()


def discriminator_loss(objective: GANObjective, score: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Return E_p of the loss on data plus E_q of the loss on samples."""
    real, fake = objective.discriminator_loss(score, score)
    return (p * real).sum() + (q * fake).sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_minimax_value_at_the_best_discriminator_is_jensen_shannon(seed: int) -> None:
    p, q = distributions(seed)
    score = (p / q).log()  # σ(score) = p/(p + q)
    value = -discriminator_loss(GAN_OBJECTIVES["minimax"], score, p, q)
    expected = 2 * jensen_shannon(p, q) - math.log(4)
    assert float((value - expected).abs()) < 1e-10
    # no discriminator has a higher value
    for _ in range(20):
        other = score + torch.randn(7, dtype=D)
        assert -discriminator_loss(GAN_OBJECTIVES["minimax"], other, p, q) < value


def test_the_divergence_is_zero_only_for_equal_distributions() -> None:
    p, q = distributions(0)
    equal = -discriminator_loss(GAN_OBJECTIVES["minimax"], (p / p).log(), p, p) + math.log(4)
    different = -discriminator_loss(GAN_OBJECTIVES["minimax"], (p / q).log(), p, q) + math.log(4)
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
def test_gradients_of_the_minimax_and_the_non_saturating_generator(seed: int) -> None:
    """Both decrease with the score; only the non-saturating loss keeps a slope at low scores."""
    score = torch.linspace(-20, 20, 9, dtype=D, requires_grad=True)
    gradients = {}
    for name in ("minimax", "non_saturating"):
        loss = GAN_OBJECTIVES[name].generator_loss(score).sum()
        (gradients[name],) = torch.autograd.grad(loss, score)
    probability = score.detach().sigmoid()
    torch.testing.assert_close(gradients["minimax"], -probability)
    torch.testing.assert_close(gradients["non_saturating"], probability - 1)
    # at a score of −50 the minimax loss is saturated, while −log σ is 50
    assert GAN_OBJECTIVES["minimax"].generator_loss(torch.tensor(-50.0)).abs() < 1e-12


def test_the_minimax_game_is_zero_sum() -> None:
    _, q = distributions(1)
    score = torch.randn(7, dtype=D)
    _, fake = GAN_OBJECTIVES["minimax"].discriminator_loss(score, score)
    torch.testing.assert_close(
        (q * fake).sum(), -(q * GAN_OBJECTIVES["minimax"].generator_loss(score)).sum()
    )


@pytest.mark.parametrize("seed", range(3))
def test_least_squares_at_the_best_discriminator(seed: int) -> None:
    """The optimum is D = p/(p + q), with the loss ½ Σ pq/(p + q)."""
    p, q = distributions(seed)
    best = p / (p + q)
    loss = discriminator_loss(GAN_OBJECTIVES["least_squares"], best, p, q)
    torch.testing.assert_close(loss, 0.5 * (p * q / (p + q)).sum())
    assert loss < discriminator_loss(GAN_OBJECTIVES["least_squares"], best + 0.1, p, q)
    generator = GAN_OBJECTIVES["least_squares"].generator_loss(best)
    torch.testing.assert_close(generator, 0.5 * (q / (p + q)).square())


@pytest.mark.parametrize("seed", range(3))
def test_hinge_at_the_best_discriminator_is_total_variation(seed: int) -> None:
    """The optimum is D = sign(p − q), with the loss 2 − 2 TV(p, q)."""
    p, q = distributions(seed)
    loss = discriminator_loss(GAN_OBJECTIVES["hinge"], (p - q).sign(), p, q)
    variation = 0.5 * (p - q).abs().sum()
    torch.testing.assert_close(loss, 2 - 2 * variation)


@pytest.mark.parametrize("seed", range(3))
def test_wasserstein_at_the_best_discriminator_is_the_earth_movers_distance(seed: int) -> None:
    """On 0, 1, 2, … the distance is Σ |F_p − F_q|, and the best D has slopes sign(F_q − F_p)."""
    p, q = distributions(seed)
    gap = (p - q).cumsum(0)
    steps = -gap[:-1].sign()
    discriminator = torch.cat([torch.zeros(1, dtype=D), steps.cumsum(0)])
    loss = discriminator_loss(GAN_OBJECTIVES["wasserstein"], discriminator, p, q)
    torch.testing.assert_close(-loss, gap.abs().sum())


# -- penalties -----------------------------------------------------------------------------------


def test_r1_penalty_of_a_quadratic_discriminator() -> None:
    """D = ½ xᵀAx has the gradient Ax."""
    a = torch.randn(3, 3, dtype=D)
    a = (a + a.mT).requires_grad_()
    x = torch.randn(5, 3, dtype=D)

    def discriminator(x: Tensor) -> Tensor:
        return 0.5 * ((x @ a) * x).sum(1)

    value = r1_penalty(discriminator, x)
    torch.testing.assert_close(value, 0.5 * (x @ a).square().sum(1).mean())
    (gradient,) = torch.autograd.grad(value, a)
    assert gradient.abs().sum() > 0


def test_gradient_penalty_of_a_linear_discriminator() -> None:
    """Its gradient is w everywhere, and the penalty (‖w‖ − 1)²."""
    w = torch.tensor([3.0, 4.0], dtype=D, requires_grad=True)
    real, fake = torch.randn(4, 2, dtype=D), torch.randn(4, 2, dtype=D)
    value = gradient_penalty(lambda x: x @ w, real, fake)
    torch.testing.assert_close(value, torch.tensor(16.0, dtype=D))
    (gradient,) = torch.autograd.grad(value, w)
    torch.testing.assert_close(gradient, 2 * 4 * w.detach() / 5)


def test_gradient_penalty_covers_the_segments_between_data_and_samples() -> None:
    real, fake = torch.zeros(1000, 1, dtype=D), torch.full((1000, 1), 2.0, dtype=D)
    seen: list[Tensor] = []

    def discriminator(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x[:, 0]

    gradient_penalty(discriminator, real, fake, torch.Generator().manual_seed(0))
    assert 0 < float(seen[0].min()) < 0.02
    assert 1.98 < float(seen[0].max()) < 2
    assert float(seen[0].mean()) == pytest.approx(1, abs=0.05)


def test_gradient_penalty_of_a_constant_discriminator_has_a_finite_gradient() -> None:
    w = torch.zeros(2, dtype=D, requires_grad=True)
    value = gradient_penalty(lambda x: x @ w, torch.ones(3, 2, dtype=D), torch.zeros(3, 2, dtype=D))
    (gradient,) = torch.autograd.grad(value, w)
    assert gradient.isfinite().all()


def test_gradient_penalty_at_the_positions_of_its_generator() -> None:
    """E (‖∇D(x̂)‖ − 1)² of D(x) = Σ x³, whose gradient is 3 x²."""
    real, fake = torch.rand(2, 6, 4, dtype=D)
    found = gradient_penalty(
        lambda x: x.pow(3).sum(1), real, fake, torch.Generator().manual_seed(2)
    )
    t = torch.rand(6, 1, dtype=D, generator=torch.Generator().manual_seed(2))
    norms = (3 * ((1 - t) * real + t * fake).square()).norm(dim=1)
    torch.testing.assert_close(found, (norms - 1).square().mean(), rtol=1e-9, atol=0)
