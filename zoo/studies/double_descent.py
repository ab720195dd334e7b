"""Test error that rises to where a model just fits its data, and falls beyond.

Random features: least squares of minimum norm on p random ReLU features of n samples. Up to p = n
the fit gets better in training and then worse in test; at p = n only one function of the class
fits all labels, wrong ones too, and it is a wild one; beyond, the one of smallest norm among ever
more is ever smoother. Networks: the same by width, with labels of which a share is wrong. A ridge
penalty takes the peak of the first away, early stopping that of the second. By time: gradient
descent learns features with large variance fast, others slowly. Along orthonormal directions with
variance λ_i and signal a_i,

    risk(t) = Σ_i λ_i a_i² (1 − ηλ_i)^{2t} + (σ²/n) (1 − (1 − ηλ_i)^t)²,

a sum of valleys at different times: down, up while the fast ones fit noise, and down again.

Sources: Belkin et al., Reconciling modern machine-learning practice and the bias-variance
trade-off, 2019; Nakkiran et al., Deep double descent, 2020; Heckel and Yilmaz, Early stopping in
deep networks: double descent and how to eliminate it, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from datamodules import Digits
from zoo.core.optim import make_optimizer, make_schedule
from zoo.plots.curves import draw_error_band
from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import Table, generator, mislabeled, require, track
from zoo.studies.widths import Widths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEATURES = (10, 20, 40, 70, 110, 150, 175, 200, 230, 270, 320, 400, 700, 1200, 2000)
WIDTHS = (5, 6, 8, 10, 12, 15, 18, 22, 27, 35, 50, 75, 110, 160)
RIDGE = 0.03  # of the largest eigenvalue
FAST, SLOW = (40, 1.0, 0.04), (40, 3e-4, 400.0)  # directions, variance λ, squared signal a²
SIGMA2_N, RATE = 0.04, 0.1  # σ²/n and η


class Parts(NamedTuple):
    """Digits, flattened: training with noisy labels, validation and test with true ones."""

    x: Tensor
    noisy: Tensor
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Result:
    """Errors by number of features and by width, (sizes, seeds) each, and by time."""

    samples: int
    features: tuple[int, ...]
    minimum_norm: Tensor
    ridge: Tensor
    widths: tuple[int, ...]
    training: Tensor
    test: Tensor
    stopped: Tensor  # test error at the step that was best in validation
    times: Tensor
    risk: Tensor  # (times,), mean of the draws
    risk_error: Tensor  # its standard error
    theory: Tensor


def run(
    samples: int = 500, noise: float = 0.4, seeds: int = 5, steps: int = 2500, seed: int = 0
) -> Result:
    """Fits random features, trains networks of all widths and seeds at once, and descends.

    Args:
        samples: training digits of the networks, at most 1,000; random features have 200.
        noise: share of wrong labels; half of that for random features.
        seeds: networks of each width, and draws of random features.
        steps: of the networks' training, with batches of 128.
        seed: of everything random.
    """
    require(50 <= samples <= 1000, f"samples must lie between 50 and 1000, got {samples}")
    require(0 <= noise < 0.9, f"noise must lie between 0 and 0.9, got {noise:g}")
    require(seeds >= 2 and steps >= 10, "seeds must be at least 2 and steps at least 10")
    random = generator(seed)
    draws = [
        random_features(digits(200, noise / 2, random), random)
        for _ in track(range(seeds), "random features")
    ]
    minimum_norm, ridge = torch.tensor(draws).permute(1, 2, 0)
    training, test, stopped = networks(digits(samples, noise, random), seeds, steps, random)
    times, risk, error, theory = over_time(random)
    return Result(
        samples, FEATURES, minimum_norm, ridge, WIDTHS, training, test, stopped, times, risk,
        error, theory,
    )  # fmt: skip


def digits(count: int, noise: float, random: torch.Generator) -> Parts:
    """Some training digits, a share of their labels replaced by another class."""
    data = Digits(val_size=300)
    data.setup()
    splits = {name: data.evaluation_samples(name) for name in ("train", "val", "test")}
    flat = {name: (x.flatten(1), y) for name, (x, y) in splits.items()}
    x, y = flat["train"]
    chosen = torch.randperm(len(x), generator=random)[:count]
    noisy = mislabeled(y[chosen], noise, random)
    return Parts(x[chosen], noisy, flat["val"], flat["test"])


def random_features(parts: Parts, random: torch.Generator) -> tuple[list[float], list[float]]:
    """Test errors by number of features: minimum norm, and ridge."""
    projection = torch.randn(parts.x.shape[1], FEATURES[-1], generator=random).double()
    center = parts.x.mean(0)  # without which many features would be 0 for every digit
    inside, outside = (
        torch.relu((x - center).double() @ projection) for x in (parts.x, parts.test[0])
    )
    targets = one_hot(parts.noisy, 10).double()
    errors: tuple[list[float], list[float]] = ([], [])
    for p in FEATURES:
        u, s, v = torch.linalg.svd(inside[:, :p], full_matrices=False)
        for kept, inverse in zip(errors, (1 / s, s / (s**2 + RIDGE * s[0] ** 2)), strict=True):
            weights = v.mT @ (inverse[:, None] * (u.mT @ targets))
            wrong = (outside[:, :p] @ weights).argmax(1) != parts.test[1]
            kept.append(float(wrong.double().mean()))
    return errors


def networks(
    parts: Parts, seeds: int, steps: int, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Errors in training and test after training, and in test at the best step, by width."""
    together = Widths(parts.x.shape[1], 10, WIDTHS, seeds, random)
    rule = make_optimizer("adam", [{"params": list(together.parameters())}], 0.01, fused=True)
    decay = make_schedule("linear", rule, steps)
    best, stopped = torch.ones(len(WIDTHS), seeds), torch.ones(len(WIDTHS), seeds)
    for step in track(range(steps), "networks"):
        if step % 25 == 0 and step < steps // 2:
            seen, kept = errors(together, *parts.val), errors(together, *parts.test)
            best, stopped = torch.minimum(seen, best), torch.where(seen < best, kept, stopped)
        batch = torch.randint(len(parts.x), (128,), generator=random)
        scores = together(parts.x[batch])  # (widths, seeds, 128, 10)
        labels = parts.noisy[batch].expand(scores.shape[:-1])
        rule.zero_grad()
        (cross_entropy(scores.flatten(0, 2), labels.flatten(), reduction="sum") / 128).backward()
        rule.step()
        decay.step()  # type: ignore[union-attr]
    return errors(together, parts.x, parts.noisy), errors(together, *parts.test), stopped


@torch.no_grad()
def errors(together: Widths, x: Tensor, y: Tensor) -> Tensor:
    """Share of wrong classes of each network, (widths, seeds)."""
    return (together(x).argmax(-1) != y).float().mean(-1)


def over_time(random: torch.Generator, draws: int = 200) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Steps, mean risk of gradient descent over draws of the noise, its standard error, theory."""
    count = FAST[0] + SLOW[0]
    variance = torch.tensor([FAST[1]] * FAST[0] + [SLOW[1]] * SLOW[0]).double()
    signal = torch.tensor([FAST[2]] * FAST[0] + [SLOW[2]] * SLOW[0]).double().sqrt()
    noise = torch.randn(draws, count, generator=random).double() * (SIGMA2_N / variance).sqrt()
    times = torch.logspace(0, 5, 60).long().unique()
    w, risks, done = torch.zeros(draws, count, dtype=torch.float64), [], 0
    for time in times.tolist():
        for _ in range(time - done):  # the gradient is λ (w − least squares)
            w -= RATE * variance * (w - signal - noise)
        done = time
        risks.append((variance * (w - signal).square()).sum(1))
    risk = torch.stack(risks)
    left = (1 - RATE * variance) ** times[:, None]
    theory = (variance * signal**2 * left**2 + SIGMA2_N * (1 - left) ** 2).sum(1)
    return times, risk.mean(1), risk.std(1) / draws**0.5, theory


def peak(errors: Tensor) -> tuple[int, float, float]:
    """Where the mean error beyond the first valley is largest, and how many standard errors it
    stands above the lowest before it and the lowest after it."""
    mean, error = errors.mean(1), errors.std(1) / errors.shape[1] ** 0.5
    heights = [
        min(float(mean[i] - mean[:i].min()), float(mean[i] - mean[i + 1 :].min()))
        for i in range(1, len(mean) - 1)
    ]
    top = 1 + heights.index(max(heights))
    above = []
    for part in (slice(0, top), slice(top + 1, None)):
        low = int(mean[part].argmin()) + (part.start or 0)
        above.append(float((mean[top] - mean[low]) / (error[top] ** 2 + error[low] ** 2).sqrt()))
    return top, *above  # type: ignore[return-value]


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    top, before, after = peak(result.minimum_norm)
    rows += [
        ("random features: peak at p", result.features[top], 200, "theory: p = n"),
        ("… error at the peak", float(result.minimum_norm[top].mean()), None,
         f"{before:.1f} standard errors above the lowest before, {after:.1f} above that after"),
        ("… with ridge", float(result.ridge[top].mean())),
    ]  # fmt: skip
    top, before, after = peak(result.test)
    fitted = (result.training.mean(1) < 0.01).nonzero()
    rows += [
        ("networks: peak at width", result.widths[top]),
        ("… first width that fits (training error below 1 %)",
         result.widths[int(fitted[0])] if len(fitted) else None),
        ("… error at the peak", float(result.test[top].mean()), None,
         f"{before:.1f} standard errors above the lowest before, {after:.1f} above that after"),
        ("… at the largest width", float(result.test[-1].mean())),
        ("… at the peak, stopped early", float(result.stopped[top].mean())),
    ]  # fmt: skip
    for name, place in zip(("lowest before", "peak", "last"), turning(result.theory), strict=True):
        rows.append((f"by time: risk, {name}, step {int(result.times[place]):,}",
                     float(result.risk[place]), float(result.theory[place]),
                     f"± {float(result.risk_error[place]):.2g}"))  # fmt: skip
    return Table(rows)


def turning(risk: Tensor) -> tuple[int, int, int]:
    """The first valley, the peak after it, and the end."""
    rising = (risk.diff() > 0).nonzero()[0, 0]
    falling = (risk[rising:].diff() < 0).nonzero()[0, 0] + rising
    return int(rising), int(falling), len(risk) - 1


def plot(result: Result) -> Figure:
    figure = new_figure(12, 3.9)
    features, networks, time = figure.subplots(1, 3)
    draw_error_band(features, result.features, result.minimum_norm, COLORS[1], "minimum norm")
    draw_error_band(features, result.features, result.ridge, COLORS[0], "ridge")
    features.axvline(200, color=INK, linewidth=0.8, linestyle=":", label="p = n")
    features.set(xlabel="random features p", ylabel="test error")
    features.set_title("Random features, n = 200", fontsize=10)
    draw_error_band(networks, result.widths, result.test, COLORS[1], "test")
    draw_error_band(networks, result.widths, result.training, COLORS[4], "training, noisy labels")
    draw_error_band(networks, result.widths, result.stopped, COLORS[0], "test, stopped early")
    fitted = (result.training.mean(1) < 0.01).nonzero()
    if len(fitted):
        first = result.widths[int(fitted[0])]
        networks.axvline(first, color=INK, linewidth=0.8, linestyle=":", label="fits all labels")
    networks.set(xlabel="hidden units", ylabel="error")
    networks.set_title(f"Networks, n = {result.samples}", fontsize=10)
    time.plot(result.times, result.theory, color=INK, linewidth=1, label="expected")
    time.plot(result.times, result.risk, "o", color=COLORS[1], markersize=3, label="mean of draws")
    time.set(xlabel="steps of gradient descent", ylabel="risk")
    time.set_title("By time: fast and slow features", fontsize=10)
    for axes in (features, networks, time):
        axes.set_xscale("log")
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.legend(frameon=False, fontsize=7)
    return figure
