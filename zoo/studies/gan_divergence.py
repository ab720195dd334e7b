"""What a discriminator measures, how the game goes, when nothing is left to say.

For densities p of the data and q of the generator the best discriminator is D* = p/(p + q), and the
discriminator's loss is then log 4 − 2 JS(p ‖ q): it estimates the Jensen-Shannon divergence. Played
alternately in one dimension, the generator x = a + b z moves q towards p. Where the supports are
apart, JS = log 2 however far they are, and its gradient is 0; the Wasserstein distance still says
how far: for two uniform densities of width 1 at a distance θ, JS = min(θ, 1) log 2 and W₁ = θ.

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
from zoo.functional.divergences import jensen_shannon
from zoo.functional.gan import logistic_discriminator_loss, non_saturating_generator_loss
from zoo.networks import MLP
from zoo.plots.style import COLORS, INK, new_figure, write_gif
from zoo.studies.base import Table, generator, require, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[[], Tensor]
CELL = 0.01
GRID = torch.arange(-6, 6, CELL, dtype=torch.float64) + CELL / 2
WEIGHTS, CENTERS, SPREADS = (0.6, 0.4), (-1.5, 1.5), (0.6, 0.9)  # of p, a mixture
FRAMES = 40


@dataclass(frozen=True)
class Result:
    """Densities and discriminators on the grid, moments of a game, and two distances by θ."""

    p: Tensor
    q: Tensor
    best: Tensor
    learned: Tensor
    js: tuple[float, float]  # by the learned discriminator's loss, exact
    moments: list[int]
    generators: Tensor  # (moments, 2): a and b
    discriminators: Tensor  # (moments, grid)
    shifts: Tensor
    js_shifted: Tensor
    wasserstein: Tensor
    learned_shifted: Tensor  # JS by a trained discriminator


def run(steps: int = 2000, seed: int = 0) -> Result:
    """Trains a discriminator against a fixed q, and plays the game against N(1, 0.5²).

    Args:
        steps: of the discriminator, and of the game.
        seed: of samples and first weights.
    """
    require(steps >= FRAMES, f"steps must be at least {FRAMES}, got {steps}")
    random = generator(seed)
    p, q = mixture(GRID), normal(GRID, 0.5, 1.0)

    def real() -> Tensor:
        return draw(512, random)

    def fake() -> Tensor:
        return 0.5 + torch.randn(512, 1, generator=random)

    network = train(real, fake, steps, seed)
    learned = probability(network)
    loss = -(CELL * (p * learned.log() + q * (1 - learned).log())).sum()
    moments, generators, discriminators = play(steps, random, seed)
    shifts = torch.linspace(0, 2, 5)
    pairs = [uniform_pair(float(shift)) for shift in shifts]
    by_network = [
        critic_of_uniform(float(shift), steps // 4, random, seed)
        for shift in track(shifts, "supports apart")
    ]
    return Result(
        p, q, p / (p + q), learned,
        (math.log(2) - float(loss) / 2, float(jensen_shannon(CELL * p, CELL * q))),
        moments, generators, discriminators, shifts,
        torch.stack([jensen_shannon(*pair) for pair in pairs]),
        torch.stack([earth_mover(*pair) for pair in pairs]), torch.tensor(by_network),
    )  # fmt: skip


def normal(x: Tensor, mean: float, std: float) -> Tensor:
    """Density of N(mean, std²)."""
    return (-0.5 * ((x - mean) / std) ** 2).exp() / (std * math.sqrt(2 * math.pi))


def mixture(x: Tensor) -> Tensor:
    """The density p of the data."""
    return torch.stack([
        w * normal(x, c, s) for w, c, s in zip(WEIGHTS, CENTERS, SPREADS, strict=True)
    ]).sum(0)  # fmt: skip


def draw(count: int, random: torch.Generator) -> Tensor:
    """Samples of p, (count, 1)."""
    second = torch.rand(count, 1, generator=random) > WEIGHTS[0]
    center, spread = (torch.where(second, b, a) for a, b in (CENTERS, SPREADS))
    return center + spread * torch.randn(count, 1, generator=random)


def train(real: Draw, fake: Draw, steps: int, seed: int) -> MLP:
    """A discriminator that is trained against a generator which does not move."""
    torch.manual_seed(seed)
    network = MLP([1, 64, 64, 1], "tanh")
    rule = make_optimizer("adam", [{"params": list(network.parameters())}], 3e-3)
    decay = make_schedule("linear", rule, steps)
    for _ in range(steps):
        on_data, on_samples = logistic_discriminator_loss(network(real()), network(fake()))
        rule.zero_grad()
        (on_data.mean() + on_samples.mean()).backward()
        rule.step()
        decay.step()  # type: ignore[union-attr]
    return network


@torch.no_grad()
def probability(network: MLP) -> Tensor:
    """σ of the discriminator's score on the grid."""
    return torch.sigmoid(network(GRID[:, None].float())[:, 0]).double()


def play(steps: int, random: torch.Generator, seed: int) -> tuple[list[int], Tensor, Tensor]:
    """Three discriminator steps to one of the generator x = a + b z, which begins at N(−4, 0.5²)
    and is to become the normal density N(1, 0.5²); moments at the squares of equal steps."""
    torch.manual_seed(seed)
    network = MLP([1, 32, 32, 1], "tanh")
    place = torch.tensor([-4.0, 0.5], requires_grad=True)  # a and b
    discriminator = make_optimizer("adam", [{"params": list(network.parameters())}], 3e-3)
    maker = make_optimizer("adam", [{"params": [place]}], 0.02, {"betas": (0.5, 0.9)})
    decay = make_schedule("linear", maker, steps + 1)
    due = {round(steps * (k / (FRAMES - 1)) ** 2) for k in range(FRAMES)}
    moments: list[int] = []
    generators, discriminators = [], []
    for step in track(range(steps + 1), "game"):
        if step in due:
            moments.append(step)
            generators.append(place.detach().clone())
            discriminators.append(probability(network))
        for _ in range(3):
            real, noise = torch.randn(2, 256, 1, generator=random)
            fake = (place[0] + place[1] * noise).detach()
            losses = logistic_discriminator_loss(network(1 + 0.5 * real), network(fake))
            discriminator.zero_grad()
            (losses[0].mean() + losses[1].mean()).backward()
            discriminator.step()
        noise = torch.randn(256, 1, generator=random)
        maker.zero_grad()
        non_saturating_generator_loss(network(place[0] + place[1] * noise)).mean().backward()
        maker.step()
        decay.step()  # type: ignore[union-attr]
    return moments, torch.stack(generators), torch.stack(discriminators)


def uniform_pair(shift: float) -> tuple[Tensor, Tensor]:
    """Probabilities of the grid's cells under U(0, 1) and U(θ, θ + 1)."""
    return tuple(((start < GRID) & (start + 1 > GRID)).double() * CELL for start in (0.0, shift))  # type: ignore[return-value]


def earth_mover(p: Tensor, q: Tensor) -> Tensor:
    """W₁ = ∫ |F_p − F_q| dx of probabilities on the grid."""
    return CELL * (p.cumsum(0) - q.cumsum(0)).abs().sum()


def critic_of_uniform(shift: float, steps: int, random: torch.Generator, seed: int) -> float:
    """JS of two uniform densities, as a trained discriminator sees it."""
    network = train(
        lambda: torch.rand(256, 1, generator=random),
        lambda: shift + torch.rand(256, 1, generator=random), steps, seed,
    )  # fmt: skip
    p, q = uniform_pair(shift)
    d = probability(network).clamp(1e-12, 1 - 1e-12)
    return math.log(2) + 0.5 * float((p * d.log() + q * (1 - d).log()).sum())


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = [
        ("largest |D − p/(p + q)| where p + q > 0.02",
         float((result.learned - result.best).abs()[result.p + result.q > 0.02].max()), 0.0),
        ("JS(p ‖ q) from the discriminator's loss", *result.js),
        ("game: the generator's a at the end", float(result.generators[-1, 0]), 1.0),
        ("game: |b|", float(result.generators[-1, 1].abs()), 0.5),
    ]  # fmt: skip
    for theta, js, w in zip(result.shifts.tolist(), result.js_shifted.tolist(),
                            result.wasserstein.tolist(), strict=True):  # fmt: skip
        rows.append((f"uniform densities, θ = {theta:g}: JS", js, min(theta, 1) * math.log(2)))
        rows.append((f"uniform densities, θ = {theta:g}: W₁", w, theta))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 6.8)
    grid = figure.subplots(2, 4)
    density = grid[0, 0]
    density.plot(GRID, result.p, color=COLORS[0], label="p, data")
    density.plot(GRID, result.q, color=COLORS[1], label="q, generator")
    density.plot(GRID, result.best, color=INK, linewidth=1, label="p/(p + q)")
    density.plot(GRID, result.learned, color=COLORS[2], linestyle="--", label="learned D")
    density.set_title("A discriminator against a fixed q", fontsize=9)
    density.legend(frameon=False, fontsize=7)
    apart = grid[0, 1]
    theta = torch.linspace(0, 2, 50)
    apart.plot(theta, theta.clamp(max=1) * math.log(2), color=COLORS[0], label="JS")
    apart.plot(theta, theta, color=COLORS[1], label="W₁")
    apart.plot(result.shifts, result.js_shifted, "o", color=COLORS[0], markersize=4)
    apart.plot(result.shifts, result.wasserstein, "o", color=COLORS[1], markersize=4)
    apart.plot(
        result.shifts, result.learned_shifted, "x", color=COLORS[2], label="JS by a learned D"
    )
    apart.axvline(1, color=INK, linewidth=0.7, linestyle=":")
    apart.set(xlabel="distance θ of the supports")
    apart.set_title("Two uniform densities", fontsize=9)
    apart.legend(frameon=False, fontsize=7)
    chosen = torch.linspace(0, len(result.moments) - 1, 6).round().long().tolist()
    for axes, index in zip([*grid[0, 2:], *grid[1]], chosen, strict=True):
        _moment(axes, result, index)
    return figure


def animate(result: Result, path: Path) -> None:
    """Writes the game as an animation."""
    pictures = []
    for index in range(len(result.moments)):
        figure = new_figure(5, 3.4)
        _moment(figure.subplots(), result, index)
        pictures.append(figure)
    write_gif(pictures, path)


def _moment(axes: Axes, result: Result, index: int) -> None:
    a, b = result.generators[index].tolist()
    axes.plot(GRID, normal(GRID, 1, 0.5), color=COLORS[0], label="data")
    axes.plot(GRID, normal(GRID, a, max(abs(b), 0.02)), color=COLORS[1], label="generator")
    axes.plot(GRID, result.discriminators[index], color=COLORS[2], linestyle="--", label="D")
    axes.set(ylim=(0, 1.3), xlim=(-6, 4))
    axes.set_title(f"the game, step {result.moments[index]:,}", fontsize=9)
    axes.legend(frameon=False, fontsize=7, loc="upper right")
