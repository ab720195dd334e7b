"""The two terms of the ELBO, alone and together, and its gap to the likelihood.

−ELBO = E_q[−log p(x|z)] + KL(q(z|x) ‖ N(0, I)). Reconstruction alone spreads the codes out and
draws q together to points; KL alone makes q(z|x) = N(0, I) for every x, so that codes say nothing;
both give overlapping clouds around 0. The gap to the likelihood is

    log p(x) − ELBO = KL(q(z|x) ‖ p(z|x)),

known on linear-Gaussian data x = Wz + σε, where p(z|x) = N(Λ⁻¹Wᵀx/σ², Λ⁻¹), Λ = I + WᵀW/σ². The
best q with independent dimensions has the precisions Λ_ii and the gap ½(Σ log Λ_ii − log|Λ|). The
mean of K importance weights closes it as K grows.

Sources: Kingma and Welling, 2014; Burda, Grosse and Salakhutdinov, Importance weighted
autoencoders, 2016; Turner and Sahani, 2011, on what mean-field posteriors cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Digits
from zoo.core.optim import make_optimizer
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.models.latent.beta_vae import BetaVAE
from zoo.models.latent.vae import VAE
from zoo.plots.latent import scatter_classes
from zoo.plots.style import COLORS, INK, finish, new_figure, parts
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = (1, 2, 5, 20, 100, 500)
W = torch.tensor([[1.0, 0.8], [0.9, -0.2], [0.4, 0.9], [-0.5, 1.0], [0.7, 0.6]]).double()
SIGMA = 0.7


class KLAlone(VAE):
    """A VAE that is trained on its KL alone."""

    def step(self, batch: Any) -> dict[str, Tensor]:
        parts = super().step(batch)
        return parts | {"loss": parts["kl"]}


@dataclass(frozen=True)
class Result:
    """Draws of codes and both terms on test digits, and bounds on linear-Gaussian data."""

    labels: Tensor
    codes: dict[str, Tensor]
    reconstruction: dict[str, float]
    kl: dict[str, float]
    log_likelihood: float
    elbo: float  # of the trained q with independent dimensions
    gap: float  # that theory gives it
    exact_elbo: float  # of the true posterior
    identity: float  # largest |log p − ELBO − KL(q ‖ p(z|x))| over samples and random q
    bounds: Tensor  # of K importance weights


def run(epochs: int = 40, samples: int = 500, seed: int = 0) -> Result:
    """Trains three VAEs on digits and one q on linear-Gaussian data.

    Args:
        epochs: of each VAE.
        samples: of the linear-Gaussian data.
        seed: of everything random.
    """
    require(epochs >= 1, f"epochs must be at least 1, got {epochs}")
    require(samples >= 10, f"samples must be at least 10, got {samples}")
    data = Digits(batch_size=64, seed=seed)
    x, y = data.evaluation_samples("test")
    codes, reconstruction, kl = {}, {}, {}
    for name, model in track(three(data.input_shape).items(), "VAEs"):
        torch.manual_seed(seed)
        fit(model, data, epochs)
        with torch.no_grad():
            mean, log_var = model.posterior(x)
            codes[name] = model.draw(mean, log_var)
            reconstruction[name] = float(-model.log_prob(x, model.decoder(codes[name])).mean())
            kl[name] = float(kl_standard_normal(mean, log_var).sum(1).mean())
    random = generator(seed)
    z = torch.randn(samples, 2, generator=random, dtype=W.dtype)
    points = z @ W.mT + SIGMA * torch.randn(samples, 5, generator=random, dtype=W.dtype)
    q = train_posterior(points)
    gap = 0.5 * float(precision().diagonal().log().sum() - precision().logdet())
    return Result(
        y, codes, reconstruction, kl, float(log_likelihood(points).mean()),
        float(elbo(points, *q).mean()), gap, float(elbo_of_posterior(points).mean()),
        identity(points, random), importance(points, q, random),
    )  # fmt: skip


def three(shape: tuple[int, ...]) -> dict[str, VAE]:
    """Untrained models by what they will minimise."""
    settings: dict[str, Any] = {"latent_dim": 2, "hidden_dims": (128, 64), "lr": 3e-3}
    return {
        "reconstruction alone": BetaVAE(shape, beta=0.0, **settings),
        "KL alone": KLAlone(shape, **settings),
        "both": VAE(shape, **settings),
    }


# -- linear-Gaussian data --------------------------------------------------------------------------


def precision() -> Tensor:
    """Λ of the true posterior."""
    return torch.eye(2, dtype=W.dtype) + W.mT @ W / SIGMA**2


def posterior_mean(x: Tensor) -> Tensor:
    """Λ⁻¹Wᵀx/σ², (N, 2)."""
    return torch.linalg.solve(precision(), W.mT @ x.mT / SIGMA**2).mT


def log_likelihood(x: Tensor) -> Tensor:
    """log N(x; 0, WWᵀ + σ²I), (N,)."""
    covariance = W @ W.mT + SIGMA**2 * torch.eye(len(W), dtype=W.dtype)
    zero = torch.zeros(len(W), dtype=W.dtype)
    return torch.distributions.MultivariateNormal(zero, covariance).log_prob(x)


def elbo(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The ELBO of q = N(mean, diag exp log_var) in closed form, (N,)."""
    expected = gaussian_log_prob(mean @ W.mT, torch.tensor(SIGMA, dtype=torch.float64).log(), x)
    spread = (log_var.exp() * W.square().sum(0)).sum(1) / (2 * SIGMA**2)
    return expected - spread - kl_standard_normal(mean, log_var).sum(1)


def elbo_of_posterior(x: Tensor) -> Tensor:
    """The ELBO of the true posterior, (N,): E[log p(x|z)] and the KL with its full covariance."""
    covariance, mean = torch.linalg.inv(precision()), posterior_mean(x)
    expected = gaussian_log_prob(mean @ W.mT, torch.tensor(SIGMA, dtype=torch.float64).log(), x)
    spread = (W @ covariance @ W.mT).trace() / (2 * SIGMA**2)
    kl = 0.5 * (mean.square().sum(1) + covariance.trace() - 2 - covariance.logdet())
    return expected - spread - kl


def kl_to_posterior(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(q ‖ p(z|x)), (N,)."""
    matrix = precision()
    off = mean - posterior_mean(x)
    quadratic = ((off @ matrix) * off).sum(1) + (log_var.exp() * matrix.diagonal()).sum(1)
    return 0.5 * (quadratic - 2 - log_var.sum(1) - matrix.logdet())


def identity(x: Tensor, random: torch.Generator) -> float:
    """Largest |log p(x) − ELBO − KL(q ‖ p(z|x))| for random q."""
    mean, log_var = torch.randn(2, len(x), 2, generator=random, dtype=x.dtype)
    left = log_likelihood(x) - elbo(x, mean, log_var)
    return float((left - kl_to_posterior(x, mean, log_var)).abs().max())


def train_posterior(x: Tensor, steps: int = 2000) -> tuple[Tensor, Tensor]:
    """Mean Vx and log-variances of the best q with independent dimensions, by gradient ascent."""
    weight = torch.zeros(2, len(W), dtype=W.dtype, requires_grad=True)
    log_var = torch.zeros(2, dtype=W.dtype, requires_grad=True)
    rule = make_optimizer("adam", [{"params": [weight, log_var]}], 0.02)
    for _ in range(steps):
        rule.zero_grad()
        (-elbo(x, x @ weight.mT, log_var.expand(len(x), 2)).mean()).backward()
        rule.step()
    return (x @ weight.mT).detach(), log_var.detach().expand(len(x), 2)


def importance(x: Tensor, q: tuple[Tensor, Tensor], random: torch.Generator) -> Tensor:
    """E log (1/K) Σ p(x, z)/q(z|x) by number of draws K, mean over the samples and 20 repeats."""
    mean, log_var = q
    noise = torch.randn(20, DRAWS[-1], *mean.shape, generator=random, dtype=x.dtype)
    z = mean + (log_var / 2).exp() * noise
    log_sigma = torch.tensor(SIGMA, dtype=torch.float64).log()
    log_prior = gaussian_log_prob(torch.zeros_like(mean), torch.zeros_like(log_sigma), z)
    log_w = gaussian_log_prob(z @ W.mT, log_sigma, x) + log_prior
    log_w = log_w - gaussian_log_prob(mean, log_var / 2, z)  # (20, K, N)
    return torch.stack([
        (log_w[:, :count].logsumexp(1) - math.log(count)).mean() for count in DRAWS
    ])  # fmt: skip


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for name in result.codes:
        rows += [
            (f"{name}: E[−log p(x|z)], nats", result.reconstruction[name]),
            (f"{name}: KL, nats", result.kl[name], 0.0 if name == "KL alone" else None),
        ]
    rows += [
        ("log p − ELBO − KL(q ‖ p(z|x)), random q: largest", result.identity, 0.0),
        ("mean log p(x)", result.log_likelihood),
        ("… minus the ELBO of the true posterior", result.log_likelihood - result.exact_elbo, 0.0),
        ("… minus the ELBO of the trained q", result.log_likelihood - result.elbo, result.gap),
    ]
    for draws, bound in zip(DRAWS, result.bounds.tolist(), strict=True):
        theory = result.gap if draws == 1 else None
        gap = result.log_likelihood - bound
        rows.append((f"… minus the bound of {draws} importance weights", gap, theory))
    return Table(rows)


def plot(result: Result) -> Figure:
    from matplotlib.patches import Circle

    figure = new_figure(12, 7.2)
    above, below = parts(figure, 2, 1, height_ratios=[1.25, 1])
    for axes, (name, codes) in zip(above.subplots(1, 3), result.codes.items(), strict=True):
        scatter_classes(axes, codes, result.labels)
        axes.add_patch(Circle((0, 0), 2, fill=False, color=INK, linestyle=":"))
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(f"{name}: reconstruction {result.reconstruction[name]:.1f}, "
                       f"KL {result.kl[name]:.2f} nats", fontsize=9)  # fmt: skip
    bars, bounds = below.subplots(1, 2)
    places = range(len(result.codes))
    bars.bar(places, list(result.reconstruction.values()), color=COLORS[4], label="reconstruction")
    bars.bar(places, list(result.kl.values()), bottom=list(result.reconstruction.values()),
             color=COLORS[1], label="KL")  # fmt: skip
    bars.set_xticks(places, list(result.codes))
    bars.set(ylabel="−ELBO on test digits, nats")
    gaps = result.log_likelihood - result.bounds
    bounds.loglog(DRAWS, gaps.clamp(min=1e-6), "o-", color=COLORS[1], label="measured")
    bounds.axhline(result.gap, color=INK, linewidth=0.8, linestyle=":",
                   label="½(Σ log Λᵢᵢ − log|Λ|)")  # fmt: skip
    bounds.set(xlabel="importance weights K")
    bounds.set_title("Linear-Gaussian data: log p(x) minus the bound, nats", fontsize=9)
    finish(bars, bounds, size=8)
    return figure
