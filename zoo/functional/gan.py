"""What a critic and a generator minimise: objectives of adversarial training, and penalties.

An objective is a pair of functions of the critic's outputs, one number for each sample, in nats
where it is a likelihood. Their expectations are taken by whoever calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def logistic_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """−log σ(D(x)) on data, −log(1 − σ(D(x̃))) on samples: the critic's side of the minimax game.

    With D = log(p/q), the best there is, its expectation is log 4 − 2 JS(p ‖ q).

    Source: Goodfellow et al., Generative adversarial nets, 2014, equation 1 and theorem 1.
    """
    return F.softplus(-real), F.softplus(fake)


def minimax_generator_loss(fake: Tensor) -> Tensor:
    """log(1 − σ(D(x̃))), the generator's side of the same game.

    Its slope vanishes where the critic is sure. Source: Goodfellow et al., 2014, equation 1.
    """
    return -F.softplus(fake)


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """−log σ(D(x̃)), whose slope does not vanish. Source: Goodfellow et al., 2014, section 3."""
    return F.softplus(-fake)


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """½ (D(x) − 1)² on data, ½ D(x̃)² on samples.

    Source: Mao et al., Least squares generative adversarial networks, 2017, equation 9.
    """
    return 0.5 * (real - 1).square(), 0.5 * fake.square()


def least_squares_generator_loss(fake: Tensor) -> Tensor:
    """½ (D(x̃) − 1)². Source: Mao et al., 2017, equation 9."""
    return 0.5 * (fake - 1).square()


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """max(0, 1 − D(x)) on data, max(0, 1 + D(x̃)) on samples.

    Source: Lim and Ye, Geometric GAN, 2017, section 3; Miyato et al., 2018, equation 16.
    """
    return F.relu(1 - real), F.relu(1 + fake)


def wasserstein_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """−D(x) on data, D(x̃) on samples; over all D of slope at most 1, −W₁(p, q) at best.

    Source: Arjovsky et al., Wasserstein GAN, 2017, equation 2.
    """
    return -real, fake


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """−D(x̃): the generator of the hinge and of the Wasserstein objective."""
    return -fake


@dataclass(frozen=True)
class Objective:
    """A critic's and a generator's loss.

    Args:
        critic: (outputs on data, outputs on samples) → the losses of each.
        generator: outputs on samples → losses.
        threshold: output above which the critic takes a sample for data; None where only
            differences of outputs mean something.
    """

    discriminator: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    generator: Callable[[Tensor], Tensor]
    threshold: float | None = 0.0


OBJECTIVES = {
    "minimax": Objective(logistic_discriminator_loss, minimax_generator_loss),
    "non_saturating": Objective(logistic_discriminator_loss, non_saturating_generator_loss),
    "least_squares": Objective(least_squares_discriminator_loss, least_squares_generator_loss, 0.5),
    "hinge": Objective(hinge_discriminator_loss, wasserstein_generator_loss),
    "wasserstein": Objective(wasserstein_discriminator_loss, wasserstein_generator_loss, None),
}


# -- penalties on the critic's slope ---------------------------------------------------------------


def r1_penalty(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """½ E‖∇D(x)‖² on data.

    Args:
        critic: D, (B, ...) → (B,), each output a function of its own input.
        x: data, (B, ...).

    Source: Mescheder et al., Which training methods for GANs do actually converge?, 2018, equation
    9, with γ = 1.
    """
    return 0.5 * _slopes(discriminator, x).square().sum(1).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """E(‖∇D(x̂)‖ − 1)², x̂ uniform on the line between a sample of the data and a generated one.

    Args:
        critic: D, as in :func:`r1_penalty`.
        real, fake: (B, ...) each.
        generator: of the positions on the lines.

    Source: Gulrajani et al., Improved training of Wasserstein GANs, 2017, equation 3.
    """
    position = torch.empty(len(real), dtype=real.dtype, device=real.device)
    position = position.uniform_(generator=generator).view(-1, *[1] * (real.ndim - 1))
    slopes = _slopes(discriminator, torch.lerp(real, fake, position))
    # the root's own slope is infinite at zero
    return ((slopes.square().sum(1) + 1e-12).sqrt() - 1).square().mean()


def _slopes(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∇D(x), (B, numbers of a sample), differentiable in the critic's weights."""
    x = x.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return slopes.flatten(1)
