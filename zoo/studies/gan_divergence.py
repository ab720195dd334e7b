"""The divergence that a discriminator measures, and the game in one dimension.

What does a discriminator compute? For the density p of the data and q of the generator, the best
discriminator is D* = p/(p + q), and its loss is then log 4 − 2 JS(p ‖ q): it estimates the
Jensen-Shannon divergence. In the one-dimensional game, discriminator and generator x = a + b z
alternate, and q moves towards p.

What happens where the supports do not overlap? JS = log 2 however far apart they are, so its
gradient is 0. The Wasserstein distance still grows with the distance between them. For two uniform
densities of width 1 shifted by θ, JS = min(θ, 1) log 2 and W₁ = θ.

Sources: Goodfellow et al., Generative adversarial nets, 2014, proposition 1 and theorem 1;
Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, example 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.core.optim import make_optimizer, make_schedule
from zoo.errors import check_at_least
from zoo.functional.divergences import jensen_shannon
from zoo.functional.gan import logistic_discriminator_loss, non_saturating_generator_loss
from zoo.networks import MLP
from zoo.plots.files import write_gif
from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import Row, Table, make_generator, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Sampler = Callable[[], Tensor]
CELL = 0.01
GRID = torch.arange(-6, 6, CELL, dtype=torch.float64) + CELL / 2
WEIGHTS, MEANS, STDS = (0.6, 0.4), (-1.5, 1.5), (0.6, 0.9)  # of p, a Gaussian mixture
FRAMES = 40


@dataclass(frozen=True)
class Result:
    """Densities and discriminators on the grid, frames of the game, and distances by θ."""

    p: Tensor
    q: Tensor
    best: Tensor  # the best discriminator
    learned: Tensor
    js: tuple[float, float]  # from the learned discriminator's loss, exact
    frames: list[int]  # steps
    generators: Tensor  # a and b, (frames, 2)
    discriminators: Tensor  # (frames, grid)
    shifts: Tensor  # θ
    js_by_shift: Tensor
    wasserstein_by_shift: Tensor
    learned_js_by_shift: Tensor  # from a trained discriminator


def run(steps: int = 2000, seed: int = 0) -> Result:
    """Train a discriminator against a fixed q, and play the game on data from N(1, 0.5²).

    Args:
        steps: training steps of the discriminator, and steps of the game, at least 40.
        seed: random seed of samples and initial weights.
    """
    check_at_least(FRAMES, steps=steps)
    rng = make_generator(seed)
    p, q = mixture_density(GRID), normal_density(GRID, 0.5, 1.0)

    def sample_q() -> Tensor:
        return 0.5 + torch.randn(512, 1, generator=rng)

    network = train_discriminator(lambda: sample_mixture(512, rng), sample_q, steps, seed)
    learned = discriminator_on_grid(network)
    loss = -(CELL * (p * learned.log() + q * (1 - learned).log())).sum()
    frames, generators, discriminators = play(steps, rng, seed)
    shifts = torch.linspace(0, 2, 5)
    pairs = [uniform_pair(float(shift)) for shift in shifts]
    learned_js = [
        learned_js_of_uniform_pair(float(shift), steps // 4, rng, seed)
        for shift in track(shifts, "shifted supports")
    ]
    return Result(
        p, q, p / (p + q), learned,
        (math.log(2) - float(loss) / 2, float(jensen_shannon(CELL * p, CELL * q))),
        frames, generators, discriminators, shifts,
        torch.stack([jensen_shannon(*pair) for pair in pairs]),
        torch.stack([wasserstein_distance(*pair) for pair in pairs]), torch.tensor(learned_js),
    )  # fmt: skip


def normal_density(x: Tensor, mean: float, std: float) -> Tensor:
    """Return the density of N(mean, std²)."""
    return (-0.5 * ((x - mean) / std) ** 2).exp() / (std * math.sqrt(2 * math.pi))


def mixture_density(x: Tensor) -> Tensor:
    """Return the density p of the data."""
    components = zip(WEIGHTS, MEANS, STDS, strict=True)
    return torch.stack([w * normal_density(x, m, s) for w, m, s in components]).sum(0)


def sample_mixture(count: int, rng: torch.Generator) -> Tensor:
    """Return samples of p, (count, 1)."""
    is_second = torch.rand(count, 1, generator=rng) > WEIGHTS[0]
    mean, std = (torch.where(is_second, b, a) for a, b in (MEANS, STDS))
    return mean + std * torch.randn(count, 1, generator=rng)


def train_discriminator(real: Sampler, fake: Sampler, steps: int, seed: int) -> MLP:
    """Train a discriminator to tell two fixed distributions apart."""
    torch.manual_seed(seed)
    network = MLP([1, 64, 64, 1], "tanh")
    optimizer = make_optimizer("adam", [{"params": list(network.parameters())}], 3e-3)
    schedule = make_schedule("linear", optimizer, steps)
    for _ in range(steps):
        on_real, on_fake = logistic_discriminator_loss(network(real()), network(fake()))
        optimizer.zero_grad()
        (on_real.mean() + on_fake.mean()).backward()
        optimizer.step()
        schedule.step()  # type: ignore[union-attr]
    return network


@torch.no_grad()
def discriminator_on_grid(network: MLP) -> Tensor:
    """Return D = σ(logit) on the grid."""
    return torch.sigmoid(network(GRID[:, None].float())[:, 0]).double()


def play(steps: int, rng: torch.Generator, seed: int) -> tuple[list[int], Tensor, Tensor]:
    """Play the game between a discriminator and the generator x = a + b z.

    The data are N(1, 0.5²), the generator starts at N(−4, 0.5²), and the discriminator takes three
    steps for each step of the generator.

    Returns:
        Steps of the recorded frames, which become rarer with time; a and b at each, (frames, 2);
        D on the grid at each, (frames, grid).
    """
    torch.manual_seed(seed)
    network = MLP([1, 32, 32, 1], "tanh")
    generator = torch.tensor([-4.0, 0.5], requires_grad=True)  # a and b
    d_optimizer = make_optimizer("adam", [{"params": list(network.parameters())}], 3e-3)
    g_optimizer = make_optimizer("adam", [{"params": [generator]}], 0.02, {"betas": (0.5, 0.9)})
    g_schedule = make_schedule("linear", g_optimizer, steps + 1)
    due = {round(steps * (k / (FRAMES - 1)) ** 2) for k in range(FRAMES)}
    frames: list[int] = []
    generators, discriminators = [], []
    for step in track(range(steps + 1), "game"):
        if step in due:
            frames.append(step)
            generators.append(generator.detach().clone())
            discriminators.append(discriminator_on_grid(network))
        for _ in range(3):
            real, noise = torch.randn(2, 256, 1, generator=rng)
            fake = (generator[0] + generator[1] * noise).detach()
            on_real, on_fake = logistic_discriminator_loss(network(1 + 0.5 * real), network(fake))
            d_optimizer.zero_grad()
            (on_real.mean() + on_fake.mean()).backward()
            d_optimizer.step()
        noise = torch.randn(256, 1, generator=rng)
        g_optimizer.zero_grad()
        logits = network(generator[0] + generator[1] * noise)
        non_saturating_generator_loss(logits).mean().backward()
        g_optimizer.step()
        g_schedule.step()  # type: ignore[union-attr]
    return frames, torch.stack(generators), torch.stack(discriminators)


def uniform_pair(shift: float) -> tuple[Tensor, Tensor]:
    """Return the probabilities of the grid's cells under U(0, 1) and under U(θ, θ + 1)."""
    return tuple(((start < GRID) & (start + 1 > GRID)).double() * CELL for start in (0.0, shift))  # type: ignore[return-value]


def wasserstein_distance(p: Tensor, q: Tensor) -> Tensor:
    """Return W₁ = ∫ |F_p − F_q| dx of probabilities of the grid's cells."""
    return CELL * (p.cumsum(0) - q.cumsum(0)).abs().sum()


def learned_js_of_uniform_pair(shift: float, steps: int, rng: torch.Generator, seed: int) -> float:
    """Return the JS divergence of two uniform densities, estimated by a trained discriminator."""
    network = train_discriminator(
        lambda: torch.rand(256, 1, generator=rng),
        lambda: shift + torch.rand(256, 1, generator=rng), steps, seed,
    )  # fmt: skip
    p, q = uniform_pair(shift)
    d = discriminator_on_grid(network).clamp(1e-12, 1 - 1e-12)
    return math.log(2) + 0.5 * float((p * d.log() + q * (1 - d).log()).sum())


def table(result: Result) -> Table:
    """Return errors of the discriminator, the end of the game, and distances by θ."""
    error = (result.learned - result.best).abs()[result.p + result.q > 0.02]
    rows: list[Row] = [
        ("largest |D − p/(p + q)| where p + q > 0.02", float(error.max()), 0.0),
        ("JS(p ‖ q) from the discriminator's loss", *result.js),
        ("game: a of the generator at the end", float(result.generators[-1, 0]), 1.0),
        ("game: |b| of the generator at the end", float(result.generators[-1, 1].abs()), 0.5),
    ]
    for theta, js, w in zip(result.shifts.tolist(), result.js_by_shift.tolist(),
                            result.wasserstein_by_shift.tolist(), strict=True):  # fmt: skip
        rows.append((f"uniform densities, θ = {theta:g}: JS", js, min(theta, 1) * math.log(2)))
        rows.append((f"uniform densities, θ = {theta:g}: W₁", w, theta))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the discriminator of a fixed q, distances by θ, and six frames of the game."""
    figure = new_figure(12, 6.8)
    grid = figure.subplots(2, 4)
    density = grid[0, 0]
    density.plot(GRID, result.p, color=COLORS[0], label="p, data")
    density.plot(GRID, result.q, color=COLORS[1], label="q, generator")
    density.plot(GRID, result.best, color=INK, linewidth=1, label="p/(p + q)")
    density.plot(GRID, result.learned, color=COLORS[2], linestyle="--", label="learned D")
    density.set(xlabel="x", ylabel="Density, or probability D")
    density.set_title("Discriminator of a fixed q", fontsize=9)
    density.legend(frameon=False, fontsize=7)
    distances = grid[0, 1]
    theta = torch.linspace(0, 2, 50)
    distances.plot(theta, theta.clamp(max=1) * math.log(2), color=COLORS[0], label="JS")
    distances.plot(theta, theta, color=COLORS[1], label="W₁")
    distances.plot(result.shifts, result.js_by_shift, "o", color=COLORS[0], markersize=4)
    distances.plot(result.shifts, result.wasserstein_by_shift, "o", color=COLORS[1], markersize=4)
    distances.plot(result.shifts, result.learned_js_by_shift, "x", color=COLORS[2],
                   label="JS by a learned D")  # fmt: skip
    distances.axvline(1, color=INK, linewidth=0.7, linestyle=":")
    distances.set(xlabel="Shift θ", ylabel="JS (nats), or W₁")
    distances.set_title("Two uniform densities", fontsize=9)
    distances.legend(frameon=False, fontsize=7)
    shown = torch.linspace(0, len(result.frames) - 1, 6).round().long().tolist()
    for axes, index in zip([*grid[0, 2:], *grid[1]], shown, strict=True):
        _draw_frame(axes, result, index)
    return figure


def animate(result: Result, path: Path) -> None:
    """Write the game as an animation."""
    figures = []
    for index in range(len(result.frames)):
        figure = new_figure(5, 3.4)
        _draw_frame(figure.subplots(), result, index)
        figures.append(figure)
    write_gif(figures, path)


def _draw_frame(axes: Axes, result: Result, index: int) -> None:
    a, b = result.generators[index].tolist()
    axes.plot(GRID, normal_density(GRID, 1, 0.5), color=COLORS[0], label="data")
    generated = normal_density(GRID, a, max(abs(b), 0.02))
    axes.plot(GRID, generated, color=COLORS[1], label="generator")
    axes.plot(GRID, result.discriminators[index], color=COLORS[2], linestyle="--", label="D")
    axes.set(xlabel="x", ylabel="Density, or D", ylim=(0, 1.3), xlim=(-6, 4))
    axes.set_title(f"Game, step {result.frames[index]:,}", fontsize=9)
    axes.legend(frameon=False, fontsize=7, loc="upper right")
