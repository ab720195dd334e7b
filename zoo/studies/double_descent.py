"""Double descent: test error peaks where a model just fits its data, then falls.

Is more capacity always worse once a model fits its training data? For random features, the study
uses the minimum-norm least-squares fit on p random ReLU features of n samples. Below p = n the
training error falls throughout, while the test error falls and then rises. At p = n a single
function of the class fits all labels, wrong ones included, and it oscillates wildly. Beyond p = n
many functions fit, and the one with minimum norm becomes smoother as p grows. For networks trained
on partly wrong labels, the same happens as the width grows. A ridge penalty removes the peak of
random features, early stopping that of networks.

Double descent also occurs over time, because gradient descent learns features of large variance
quickly and others slowly. Along orthonormal directions with variance λ_i and signal a_i,

    risk(t) = Σ_i [λ_i a_i² (1 − ηλ_i)^{2t} + (σ²/n) (1 − (1 − ηλ_i)^t)²],

a sum of curves with minima at different times: the risk falls, rises while fast directions fit
noise, and falls again as slow directions are learned.

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
from zoo.errors import check_at_least
from zoo.plots.curves import draw_error_band
from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import Row, Table, check_range, corrupt_labels, make_generator, track
from zoo.studies.parallel_mlps import ParallelMLPs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEATURES = (10, 20, 40, 70, 110, 150, 175, 200, 230, 270, 320, 400, 700, 1200, 2000)
WIDTHS = (5, 6, 8, 10, 12, 15, 18, 22, 27, 35, 50, 75, 110, 160)
FEATURE_SAMPLES = 200  # n of random features
RIDGE = 0.03  # ridge penalty, relative to the largest squared singular value
FAST, SLOW = (40, 1.0, 0.04), (40, 3e-4, 400.0)  # directions, variance λ, squared signal a²
NOISE_VARIANCE, LR = 0.04, 0.1  # σ²/n and η


class Splits(NamedTuple):
    """Flattened digits: training set with noisy labels, validation and test set with true ones."""

    x: Tensor
    noisy_labels: Tensor
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Result:
    """Errors by number of features and by width, (sizes, seeds) each, and risk by time."""

    num_samples: int
    features: tuple[int, ...]
    minimum_norm: Tensor
    ridge: Tensor
    widths: tuple[int, ...]
    training: Tensor
    test: Tensor
    stopped: Tensor  # test error at the step of lowest validation error
    times: Tensor
    risk: Tensor  # mean over noise samples, (times,)
    risk_error: Tensor  # standard error of the mean
    theory: Tensor


def run(
    num_samples: int = 500, label_noise: float = 0.4, num_seeds: int = 5, steps: int = 2500,
    seed: int = 0,
) -> Result:  # fmt: skip
    """Fit random features, train networks of all widths and seeds in parallel, and run gradient
    descent on features of different variance.

    Args:
        num_samples: number of training digits of the networks, from 50 to 1000; random features are
            fitted to 200.
        label_noise: fraction of wrong labels, below 0.9; half of it for random features.
        num_seeds: number of networks of each width, and of samples of random features, at least 2.
        steps: training steps of the networks, with batches of 128; at least 10.
        seed: random seed of data, noise, features, initial weights and batches.
    """
    check_range(50, 1000, num_samples=num_samples)
    check_range(0, 0.9, "[)", label_noise=label_noise)
    check_at_least(2, num_seeds=num_seeds)
    check_at_least(10, steps=steps)
    rng = make_generator(seed)
    feature_errors = [
        fit_random_features(load_digits(FEATURE_SAMPLES, label_noise / 2, rng), rng)
        for _ in track(range(num_seeds), "random features")
    ]
    minimum_norm, ridge = torch.tensor(feature_errors).permute(1, 2, 0)
    splits = load_digits(num_samples, label_noise, rng)
    training, test, stopped = train_networks(splits, num_seeds, steps, rng)
    return Result(
        num_samples, FEATURES, minimum_norm, ridge, WIDTHS, training, test, stopped,
        *risk_over_time(rng),
    )  # fmt: skip


def load_digits(num_samples: int, label_noise: float, rng: torch.Generator) -> Splits:
    """Return random training digits with noisy labels, and all validation and test digits."""
    data = Digits(val_size=300)
    data.setup()
    splits = {name: data.evaluation_samples(name) for name in ("train", "val", "test")}
    flat = {name: (x.flatten(1), y) for name, (x, y) in splits.items()}
    x, y = flat["train"]
    chosen = torch.randperm(len(x), generator=rng)[:num_samples]
    return Splits(x[chosen], corrupt_labels(y[chosen], label_noise, rng), flat["val"], flat["test"])


def fit_random_features(splits: Splits, rng: torch.Generator) -> tuple[list[float], list[float]]:
    """Return test errors by number of features, of the minimum-norm fit and of ridge."""
    projection = torch.randn(splits.x.shape[1], FEATURES[-1], generator=rng).double()
    center = splits.x.mean(0)  # without centering, many features would be 0 for all digits
    features, test_features = (
        torch.relu((x - center).double() @ projection) for x in (splits.x, splits.test[0])
    )
    targets = one_hot(splits.noisy_labels, 10).double()
    errors: tuple[list[float], list[float]] = ([], [])
    for p in FEATURES:
        u, s, v = torch.linalg.svd(features[:, :p], full_matrices=False)
        for by_size, inverse in zip(errors, (1 / s, s / (s**2 + RIDGE * s[0] ** 2)), strict=True):
            weights = v.mT @ (inverse[:, None] * (u.mT @ targets))
            wrong = (test_features[:, :p] @ weights).argmax(1) != splits.test[1]
            by_size.append(float(wrong.double().mean()))
    return errors


def train_networks(
    splits: Splits, num_seeds: int, steps: int, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the training and test errors after training, and the test error at the step of lowest
    validation error, (widths, seeds) each."""
    networks = ParallelMLPs(splits.x.shape[1], 10, WIDTHS, num_seeds, rng)
    optimizer = make_optimizer("adam", [{"params": list(networks.parameters())}], 0.01, fused=True)
    schedule = make_schedule("linear", optimizer, steps)
    best_val, stopped = torch.ones(len(WIDTHS), num_seeds), torch.ones(len(WIDTHS), num_seeds)
    for step in track(range(steps), "networks"):
        if step % 25 == 0 and step < steps // 2:
            val, test = networks.error_rates(*splits.val), networks.error_rates(*splits.test)
            stopped = torch.where(val < best_val, test, stopped)
            best_val = torch.minimum(val, best_val)
        batch = torch.randint(len(splits.x), (128,), generator=rng)
        logits = networks(splits.x[batch])  # (widths, seeds, 128, 10)
        labels = splits.noisy_labels[batch].expand(logits.shape[:-1])
        optimizer.zero_grad()
        (cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="sum") / 128).backward()
        optimizer.step()
        schedule.step()  # type: ignore[union-attr]
    return networks.error_rates(*splits[:2]), networks.error_rates(*splits.test), stopped


def risk_over_time(rng: torch.Generator, trials: int = 200) -> tuple[Tensor, ...]:
    """Run gradient descent on fast and slow directions; return numbers of steps, the mean risk over
    samples of the noise, its standard error, and the expected risk."""
    count = FAST[0] + SLOW[0]
    variance = torch.tensor([FAST[1]] * FAST[0] + [SLOW[1]] * SLOW[0]).double()
    signal = torch.tensor([FAST[2]] * FAST[0] + [SLOW[2]] * SLOW[0]).double().sqrt()
    noise = torch.randn(trials, count, generator=rng).double() * (NOISE_VARIANCE / variance).sqrt()
    times = torch.logspace(0, 5, 60).long().unique()
    w, risks, done = torch.zeros(trials, count, dtype=torch.float64), [], 0
    for time in times.tolist():
        for _ in range(time - done):  # the least-squares solution is signal + noise
            w -= LR * variance * (w - signal - noise)
        done = time
        risks.append((variance * (w - signal).square()).sum(1))
    risk = torch.stack(risks)
    decay = (1 - LR * variance) ** times[:, None]
    theory = (variance * signal**2 * decay**2 + NOISE_VARIANCE * (1 - decay) ** 2).sum(1)
    return times, risk.mean(1), risk.std(1) / trials**0.5, theory


def find_peak(errors: Tensor) -> tuple[int, float, float]:
    """Return the index of the peak of errors (sizes, seeds), and its height above the lowest mean
    error before it and after it, in standard errors of the difference."""
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


def first_fitting_width(result: Result) -> int | None:
    """Return the smallest width with a mean training error below 1%, or None."""
    fitting = (result.training.mean(1) < 0.01).nonzero()
    return result.widths[int(fitting[0])] if len(fitting) else None


def table(result: Result) -> Table:
    """Return the peaks of random features and networks, and the turning points over time."""
    height = "{:.1f} standard errors above the minimum before it, {:.1f} above the one after it"
    top, before, after = find_peak(result.minimum_norm)
    rows: list[Row] = [
        ("random features: peak at p", result.features[top], FEATURE_SAMPLES, "theory: p = n"),
        ("… error at the peak", float(result.minimum_norm[top].mean()), None,
         height.format(before, after)),
        ("… with ridge", float(result.ridge[top].mean())),
    ]  # fmt: skip
    top, before, after = find_peak(result.test)
    rows += [
        ("networks: peak at width", result.widths[top]),
        ("… first width with a training error below 1%", first_fitting_width(result)),
        ("… error at the peak", float(result.test[top].mean()), None,
         height.format(before, after)),
        ("… at the largest width", float(result.test[-1].mean())),
        ("… at the peak, stopped early", float(result.stopped[top].mean())),
    ]  # fmt: skip
    turns = zip(("first minimum", "peak", "end"), turning_points(result.theory), strict=True)
    for name, index in turns:
        rows.append((f"risk over time: {name}, step {int(result.times[index]):,}",
                     float(result.risk[index]), float(result.theory[index]),
                     f"± {float(result.risk_error[index]):.2g}"))  # fmt: skip
    return Table(rows)


def turning_points(risk: Tensor) -> tuple[int, int, int]:
    """Return the indices of the first minimum, the peak after it, and the end."""
    minimum = (risk.diff() > 0).nonzero()[0, 0]
    peak = (risk[minimum:].diff() < 0).nonzero()[0, 0] + minimum
    return int(minimum), int(peak), len(risk) - 1


def plot(result: Result) -> Figure:
    """Draw errors by number of features and by width, and risk over time."""
    figure = new_figure(12, 3.9)
    features, networks, time = figure.subplots(1, 3)
    draw_error_band(features, result.features, result.minimum_norm, COLORS[1], "minimum norm")
    draw_error_band(features, result.features, result.ridge, COLORS[0], "ridge")
    features.axvline(FEATURE_SAMPLES, color=INK, linewidth=0.8, linestyle=":", label="p = n")
    features.set(xlabel="Random features p", ylabel="Test error")
    features.set_title(f"Random features, n = {FEATURE_SAMPLES}", fontsize=10)
    draw_error_band(networks, result.widths, result.test, COLORS[1], "test")
    draw_error_band(networks, result.widths, result.training, COLORS[4], "training, noisy labels")
    draw_error_band(networks, result.widths, result.stopped, COLORS[0], "test, stopped early")
    if width := first_fitting_width(result):
        networks.axvline(width, color=INK, linewidth=0.8, linestyle=":", label="fits all labels")
    networks.set(xlabel="Hidden units", ylabel="Error")
    networks.set_title(f"Networks, n = {result.num_samples}", fontsize=10)
    time.plot(result.times, result.theory, color=INK, linewidth=1, label="expected")
    time.plot(result.times, result.risk, "o", color=COLORS[1], markersize=3, label="mean of trials")
    time.set(xlabel="Steps of gradient descent", ylabel="Risk")
    time.set_title("Fast and slow features over time", fontsize=10)
    for axes in (features, networks, time):
        axes.set_xscale("log")
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.legend(frameon=False, fontsize=7)
    return figure
