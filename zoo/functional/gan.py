"""Objectives of GANs and gradient penalties of the discriminator.

The losses are elementwise functions of the discriminator's outputs, one per sample, in nats where
they are likelihoods; the caller averages them. D(x) is the output on data, D(x̃) that on generated
samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def logistic_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute −log σ(D(x)) and −log(1 − σ(D(x̃))), the discriminator's loss of the minimax game.

    At the optimum D = log(p/q) its expectation is log 4 − 2 JS(p ‖ q).

    Source: Goodfellow et al., Generative adversarial nets, 2014, equation 1 and theorem 1.
    """
    return F.softplus(-real), F.softplus(fake)


def minimax_generator_loss(fake: Tensor) -> Tensor:
    """Compute log(1 − σ(D(x̃))), the generator's loss of the minimax game.

    Its gradient vanishes where the discriminator rejects a sample with confidence.

    Source: Goodfellow et al., 2014, equation 1.
    """
    return -F.softplus(fake)


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """Compute −log σ(D(x̃)), whose gradient does not vanish on rejected samples.

    Source: Goodfellow et al., 2014, section 3.
    """
    return F.softplus(-fake)


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute ½ (D(x) − 1)² and ½ D(x̃)².

    Source: Mao et al., Least squares generative adversarial networks, 2017, equation 9.
    """
    return 0.5 * (real - 1).square(), 0.5 * fake.square()


def least_squares_generator_loss(fake: Tensor) -> Tensor:
    """Compute ½ (D(x̃) − 1)².

    Source: Mao et al., 2017, equation 9.
    """
    return 0.5 * (fake - 1).square()


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute max(0, 1 − D(x)) and max(0, 1 + D(x̃)).

    Source: Lim and Ye, Geometric GAN, 2017, section 3; Miyato et al., 2018, equation 16.
    """
    return F.relu(1 - real), F.relu(1 + fake)


def wasserstein_discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute −D(x) and D(x̃).

    The minimum of their expectation, over all 1-Lipschitz D, is −W₁(p, q).

    Source: Arjovsky et al., Wasserstein GAN, 2017, equation 2.
    """
    return -real, fake


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """Compute −D(x̃), the generator's loss of both the hinge and the Wasserstein objective."""
    return -fake


@dataclass(frozen=True)
class GANObjective:
    """A pair of losses, the discriminator's and the generator's.

    Args:
        discriminator_loss: (outputs on data, outputs on samples) → the elementwise losses of each.
        generator_loss: outputs on samples → elementwise losses.
        threshold: output above which the discriminator classifies its input as data, default 0;
            None if only differences of outputs are meaningful.
    """

    discriminator_loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    generator_loss: Callable[[Tensor], Tensor]
    threshold: float | None = 0.0


GAN_OBJECTIVES = {
    "minimax": GANObjective(logistic_discriminator_loss, minimax_generator_loss),
    "non_saturating": GANObjective(logistic_discriminator_loss, non_saturating_generator_loss),
    "least_squares": GANObjective(
        least_squares_discriminator_loss, least_squares_generator_loss, threshold=0.5
    ),
    "hinge": GANObjective(hinge_discriminator_loss, wasserstein_generator_loss),
    "wasserstein": GANObjective(
        wasserstein_discriminator_loss, wasserstein_generator_loss, threshold=None
    ),
}


# -- gradient penalties of the discriminator -----------------------------------------------------


def r1_penalty(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute ½ E‖∇D(x)‖² on data.

    Args:
        discriminator: D, (B, ...) → (B,), each output a function only of the input at its index.
        x: data, (B, ...).

    Returns:
        a scalar, differentiable in the discriminator's parameters.

    Source: Mescheder et al., Which training methods for GANs do actually converge?, 2018, equation
    9, with γ = 1.
    """
    return 0.5 * _gradients(discriminator, x).square().sum(1).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Compute E(‖∇D(x̂)‖ − 1)² with x̂ uniform on the segment between a real and a fake sample.

    Args:
        discriminator: D, see :func:`r1_penalty`.
        real: data, (B, ...).
        fake: generated samples, (B, ...).
        generator: random generator of the positions on the segments, default the global one.

    Returns:
        a scalar, differentiable in the discriminator's parameters.

    Source: Gulrajani et al., Improved training of Wasserstein GANs, 2017, equation 3.
    """
    position = torch.empty(len(real), dtype=real.dtype, device=real.device)
    position = position.uniform_(generator=generator).view(-1, *[1] * (real.ndim - 1))
    gradients = _gradients(discriminator, torch.lerp(real, fake, position))
    # the derivative of the square root is infinite at 0
    return ((gradients.square().sum(1) + 1e-12).sqrt() - 1).square().mean()


def _gradients(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ∇D(x) of each sample, flattened, (B, P); differentiable in D's parameters."""
    x = x.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradients.flatten(1)
