"""The evidence lower bound: its two terms, and its gap to the log-likelihood.

What does each term of −ELBO = E_q[−log p(x|z)] + KL(q(z|x) ‖ N(0, I)) contribute? With the
reconstruction term only, the codes spread out and q contracts to points. With the KL only,
q(z|x) = N(0, I) for every x, and the codes contain no information. Both together give overlapping
clusters around 0.

How tight is the bound? Its gap is

    log p(x) − ELBO = KL(q(z|x) ‖ p(z|x)).

For linear-Gaussian data x = Wz + σε it is known exactly: p(z|x) = N(Λ⁻¹Wᵀx/σ², Λ⁻¹) with
Λ = I + WᵀW/σ². The best q with independent dimensions has precisions Λ_ii, and its gap is
½(Σ log Λ_ii − log|Λ|). The bound with K importance weights, the expected logarithm of their mean,
closes the gap as K grows.

Sources: Kingma and Welling, Auto-encoding variational Bayes, 2014; Burda, Grosse and Salakhutdinov,
Importance weighted autoencoders, 2016; Turner and Sahani, 2011, on the cost of mean-field
posteriors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Digits
from zoo.core.optim import make_optimizer
from zoo.errors import check_at_least
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.models.latent.beta_vae import BetaVAE
from zoo.models.latent.vae import VAE
from zoo.plots.latent import scatter_classes
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure, subfigures
from zoo.studies.base import Row, Table, fit, make_generator, sentence_case, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE_COUNTS = (1, 2, 5, 20, 100, 500)  # K
W = torch.tensor([[1.0, 0.8], [0.9, -0.2], [0.4, 0.9], [-0.5, 1.0], [0.7, 0.6]]).double()
SIGMA = 0.7
LOG_SIGMA = torch.tensor(SIGMA, dtype=torch.float64).log()


class KLOnlyVAE(VAE):
    """A VAE whose loss is its KL term only."""

    def step(self, batch: Any) -> dict[str, Tensor]:
        parts = super().step(batch)
        return parts | {"loss": parts["kl"]}


@dataclass(frozen=True)
class Result:
    """Codes and both terms on test digits, and bounds on linear-Gaussian data."""

    labels: Tensor
    codes: dict[str, Tensor]  # one sample of q(z|x) per digit
    reconstruction: dict[str, float]
    kl: dict[str, float]
    log_likelihood: float
    elbo: float  # of the trained q with independent dimensions
    gap: float  # of this q in theory
    exact_elbo: float  # of the true posterior
    identity_error: float  # largest |log p − ELBO − KL(q ‖ p(z|x))| over samples and random q
    bounds: Tensor  # by number of importance weights K


def run(epochs: int = 40, num_samples: int = 500, seed: int = 0) -> Result:
    """Train three VAEs on digits, and an approximate posterior q on linear-Gaussian data.

    Args:
        epochs: training epochs of each VAE.
        num_samples: number of samples of the linear-Gaussian data, at least 10.
        seed: random seed of initial weights, batches and all samples.
    """
    check_at_least(1, epochs=epochs)
    check_at_least(10, num_samples=num_samples)
    data = Digits(batch_size=64, seed=seed)
    x, y = data.evaluation_samples("test")
    codes, reconstruction, kl = {}, {}, {}
    for name, model in track(make_vaes(data.input_shape).items(), "VAEs"):
        torch.manual_seed(seed)
        fit(model, data, epochs)
        with torch.no_grad():
            mean, log_var = model.posterior(x)
            codes[name] = model.reparameterize(mean, log_var)
            reconstruction[name] = float(-model.log_prob(x, model.decoder(codes[name])).mean())
            kl[name] = float(kl_standard_normal(mean, log_var).sum(1).mean())
    rng = make_generator(seed)
    z = torch.randn(num_samples, 2, generator=rng, dtype=W.dtype)
    points = z @ W.mT + SIGMA * torch.randn(num_samples, 5, generator=rng, dtype=W.dtype)
    q = train_posterior(points)
    gap = 0.5 * float(posterior_precision().diagonal().log().sum() - posterior_precision().logdet())
    return Result(
        y, codes, reconstruction, kl, float(log_likelihood(points).mean()),
        float(elbo(points, *q).mean()), gap, float(elbo_of_true_posterior(points).mean()),
        identity_error(points, rng), importance_weighted_bounds(points, q, rng),
    )  # fmt: skip


def make_vaes(shape: tuple[int, ...]) -> dict[str, VAE]:
    """Create the three models, by the terms that their losses contain."""
    settings: dict[str, Any] = {"latent_dim": 2, "hidden_dims": (128, 64), "lr": 3e-3}
    return {
        "reconstruction only": BetaVAE(shape, beta=0.0, **settings),
        "KL only": KLOnlyVAE(shape, **settings),
        "both terms": VAE(shape, **settings),
    }


# -- linear-Gaussian data --------------------------------------------------------------------------


def posterior_precision() -> Tensor:
    """Return the precision matrix Λ of the true posterior, (2, 2)."""
    return torch.eye(2, dtype=W.dtype) + W.mT @ W / SIGMA**2


def posterior_mean(x: Tensor) -> Tensor:
    """Return the mean of the true posterior, Λ⁻¹Wᵀx/σ², (N, 2)."""
    return torch.linalg.solve(posterior_precision(), W.mT @ x.mT / SIGMA**2).mT


def log_likelihood(x: Tensor) -> Tensor:
    """Return log N(x; 0, WWᵀ + σ²I), (N,)."""
    covariance = W @ W.mT + SIGMA**2 * torch.eye(len(W), dtype=W.dtype)
    zero = torch.zeros(len(W), dtype=W.dtype)
    return torch.distributions.MultivariateNormal(zero, covariance).log_prob(x)


def elbo(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the ELBO of q = N(mean, diag exp log_var) in closed form, (N,)."""
    at_mean = gaussian_log_prob(mean @ W.mT, LOG_SIGMA, x)
    from_variance = (log_var.exp() * W.square().sum(0)).sum(1) / (2 * SIGMA**2)
    return at_mean - from_variance - kl_standard_normal(mean, log_var).sum(1)


def elbo_of_true_posterior(x: Tensor) -> Tensor:
    """Return the ELBO of the true posterior, with its full covariance, (N,)."""
    covariance, mean = torch.linalg.inv(posterior_precision()), posterior_mean(x)
    at_mean = gaussian_log_prob(mean @ W.mT, LOG_SIGMA, x)
    from_variance = (W @ covariance @ W.mT).trace() / (2 * SIGMA**2)
    kl = 0.5 * (mean.square().sum(1) + covariance.trace() - 2 - covariance.logdet())
    return at_mean - from_variance - kl


def kl_to_posterior(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(q ‖ p(z|x)) of q = N(mean, diag exp log_var), (N,)."""
    precision = posterior_precision()
    offset = mean - posterior_mean(x)
    quadratic = ((offset @ precision) * offset).sum(1)
    quadratic = quadratic + (log_var.exp() * precision.diagonal()).sum(1)
    return 0.5 * (quadratic - 2 - log_var.sum(1) - precision.logdet())


def identity_error(x: Tensor, rng: torch.Generator) -> float:
    """Return the largest |log p(x) − ELBO − KL(q ‖ p(z|x))| for random q."""
    mean, log_var = torch.randn(2, len(x), 2, generator=rng, dtype=x.dtype)
    gap = log_likelihood(x) - elbo(x, mean, log_var)
    return float((gap - kl_to_posterior(x, mean, log_var)).abs().max())


def train_posterior(x: Tensor, steps: int = 2000) -> tuple[Tensor, Tensor]:
    """Maximize the ELBO over q = N(Vx, diag exp log_var) by gradient ascent.

    Returns:
        Means Vx and log-variances of the samples, (N, 2) each.
    """
    weight = torch.zeros(2, len(W), dtype=W.dtype, requires_grad=True)
    log_var = torch.zeros(2, dtype=W.dtype, requires_grad=True)
    optimizer = make_optimizer("adam", [{"params": [weight, log_var]}], 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        (-elbo(x, x @ weight.mT, log_var.expand(len(x), 2)).mean()).backward()
        optimizer.step()
    return (x @ weight.mT).detach(), log_var.detach().expand(len(x), 2)


def importance_weighted_bounds(x: Tensor, q: tuple[Tensor, Tensor], rng: torch.Generator) -> Tensor:
    """Return E log (1/K) Σ p(x, z)/q(z|x) for each K, averaged over the data and 20 repeats.

    Args:
        x: the data, (N, 5).
        q: means and log-variances of the approximate posterior, (N, 2) each.
        rng: random number generator of the samples of q.
    """
    mean, log_var = q
    noise = torch.randn(20, SAMPLE_COUNTS[-1], *mean.shape, generator=rng, dtype=x.dtype)
    z = mean + (log_var / 2).exp() * noise
    log_prior = gaussian_log_prob(torch.zeros_like(mean), torch.zeros_like(LOG_SIGMA), z)
    log_w = gaussian_log_prob(z @ W.mT, LOG_SIGMA, x) + log_prior
    log_w = log_w - gaussian_log_prob(mean, log_var / 2, z)  # (20, K, N)
    return torch.stack([
        (log_w[:, :count].logsumexp(1) - math.log(count)).mean() for count in SAMPLE_COUNTS
    ])  # fmt: skip


def table(result: Result) -> Table:
    """Return both terms of the VAEs, and the gaps of bounds on linear-Gaussian data."""
    rows: list[Row] = []
    for name in result.codes:
        rows += [
            (f"{name}: E[−log p(x|z)] (nats)", result.reconstruction[name]),
            (f"{name}: KL (nats)", result.kl[name], 0.0 if name == "KL only" else None),
        ]
    rows += [
        ("largest |log p − ELBO − KL(q ‖ p(z|x))|, random q", result.identity_error, 0.0),
        ("mean log p(x)", result.log_likelihood),
        ("… minus the ELBO of the true posterior", result.log_likelihood - result.exact_elbo, 0.0),
        ("… minus the ELBO of the trained q", result.log_likelihood - result.elbo, result.gap),
    ]
    for count, bound in zip(SAMPLE_COUNTS, result.bounds.tolist(), strict=True):
        theory = result.gap if count == 1 else None
        gap = result.log_likelihood - bound
        rows.append((f"… minus the bound with K = {count} importance weights", gap, theory))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the codes of the VAEs, their two terms, and gaps by number of importance weights."""
    from matplotlib.patches import Circle

    figure = new_figure(12, 7.2)
    above, below = subfigures(figure, 2, 1, height_ratios=[1.25, 1])
    for axes, (name, codes) in zip(above.subplots(1, 3), result.codes.items(), strict=True):
        scatter_classes(axes, codes, result.labels)
        axes.add_patch(Circle((0, 0), 2, fill=False, color=INK, linestyle=":"))
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(f"{sentence_case(name)} (reconstruction: {result.reconstruction[name]:.1f}, "
                       f"KL: {result.kl[name]:.2f} nats)", fontsize=9)  # fmt: skip
    bars, bounds = below.subplots(1, 2)
    positions = range(len(result.codes))
    reconstruction, kl = list(result.reconstruction.values()), list(result.kl.values())
    bars.bar(positions, reconstruction, color=COLORS[4], label="reconstruction")
    bars.bar(positions, kl, bottom=reconstruction, color=COLORS[1], label="KL")
    bars.set_xticks(positions, list(result.codes))
    bars.set(ylabel="−ELBO on test digits (nats)")
    gaps = result.log_likelihood - result.bounds
    bounds.loglog(SAMPLE_COUNTS, gaps.clamp(min=1e-6), "o-", color=COLORS[1], label="measured")
    bounds.axhline(result.gap, color=INK, linewidth=0.8, linestyle=":",
                   label="½(Σ log Λᵢᵢ − log|Λ|)")  # fmt: skip
    bounds.set(xlabel="Importance weights K", ylabel="log p(x) − bound (nats)")
    bounds.set_title("Gap of the bound on linear-Gaussian data", fontsize=9)
    add_grid_and_legend(bars, bounds, size=8)
    return figure
