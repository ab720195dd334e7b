"""PAC learning: the bound on the number of samples, and the number needed.

How many samples does learning need? Let a class of |H| hypotheses contain the truth. The
probability that some hypothesis with a true error above ε makes no error on m samples is at most
|H| (1 − ε)^m ≤ |H| e^{−εm}. Therefore m ≥ (ln |H| + ln 1/δ)/ε samples suffice for all but a
fraction δ of training sets.

How loose is this bound? It adds up the probabilities of failure of all hypotheses, as if no two
failed together (union bound). For thresholds on [0, 1], where the learner takes the largest
threshold consistent with the samples, the exact probability is known: learning fails if no sample
is in the interval of length ε above the true threshold, with probability only (1 − ε)^m.

Without a perfect hypothesis, all empirical errors are within √((ln |H| + ln 2/δ)/2m) of the true
errors, for all but a fraction δ of training sets.

Sources: Valiant, A theory of the learnable, 1984; Shalev-Shwartz and Ben-David, Understanding
machine learning, 2014, corollaries 2.3 and 4.6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import check_at_least
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import Row, Table, check_range, make_generator, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = 0.3  # the true threshold: y = 1 where x > TRUTH


@dataclass(frozen=True)
class Result:
    """Statistics over many training sets: failures and errors by m, and the bound's m."""

    hypotheses: int
    eps: float
    delta: float
    label_noise: float
    sizes: Tensor  # m
    failed: Tensor  # fraction of training sets with an error above ε
    quantile: Tensor  # 1 − δ quantile of the error
    deviation: Tensor  # 1 − δ quantile of sup |empirical − true error|, with noisy labels
    excess: Tensor  # 1 − δ quantile of the excess error of ERM, with noisy labels
    sufficient: int  # m of the bound
    failed_at_sufficient: float


def run(
    hypotheses: int = 1000, eps: float = 0.1, delta: float = 0.05, label_noise: float = 0.2,
    trials: int = 20_000, seed: int = 0,
) -> Result:  # fmt: skip
    """Learn thresholds from many random training sets, with and without noisy labels.

    Args:
        hypotheses: number |H| of thresholds 0, 1/(|H| − 1), …, 1, at least 11; the one nearest to
            0.3 is the truth.
        eps: largest error ε that counts as success, above 0 and below 0.5.
        delta: fraction δ of training sets for which learning may fail, above 0 and below 0.5.
        label_noise: fraction of wrong labels in the noisy case, below 0.5.
        trials: number of training sets, at least 100.
        seed: random seed of the training sets.
    """
    check_at_least(11, hypotheses=hypotheses)
    check_range(0, 0.5, "()", eps=eps, delta=delta)
    check_range(0, 0.5, "[)", label_noise=label_noise)
    check_at_least(100, trials=trials)
    rng = make_generator(seed)
    grid = torch.linspace(0, 1, hypotheses, dtype=torch.float64)
    truth = float(grid[(grid - TRUTH).abs().argmin()])
    sufficient = math.ceil((math.log(hypotheses) + math.log(1 / delta)) / eps)
    sizes = torch.tensor([5, 10, 20, 40, 80, 160, 320])
    failed, quantile, deviation, excess = [], [], [], []
    too_large = eps + 1e-9  # an error of exactly ε is a success, despite rounding
    for m in track(sizes.tolist(), "sample sizes"):
        errors = errors_of_largest_consistent(m, trials, truth, grid, rng)
        failed.append(float((errors > too_large).double().mean()))
        quantile.append(float(errors.quantile(1 - delta)))
        deviations, excesses = erm_with_noise(
            m, max(100, trials // 20), truth, grid, label_noise, rng
        )
        deviation.append(float(deviations.quantile(1 - delta)))
        excess.append(float(excesses.quantile(1 - delta)))
    errors = errors_of_largest_consistent(sufficient, trials, truth, grid, rng)
    return Result(
        hypotheses, eps, delta, label_noise, sizes, torch.tensor(failed), torch.tensor(quantile),
        torch.tensor(deviation), torch.tensor(excess), sufficient,
        float((errors > too_large).double().mean()),
    )  # fmt: skip


def errors_of_largest_consistent(
    m: int, trials: int, truth: float, grid: Tensor, rng: torch.Generator
) -> Tensor:
    """Return the true errors of the largest threshold without an error on m samples, (trials,).

    Args:
        m: number of uniform samples.
        trials: number of training sets.
        truth: the true threshold.
        grid: all thresholds, rising.
        rng: random number generator.
    """
    errors = []
    for start in range(0, trials, 2000):
        x = torch.rand(min(2000, trials - start), m, dtype=torch.float64, generator=rng)
        first_positive = torch.where(x > truth, x, 1.0).min(1).values
        index = torch.searchsorted(grid, first_positive, right=False) - (first_positive < 1).long()
        errors.append(grid[index.clamp(max=len(grid) - 1)] - truth)
    return torch.cat(errors).clamp(min=0)


def erm_with_noise(
    m: int, trials: int, truth: float, grid: Tensor, label_noise: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Minimize the empirical error on m samples with noisy labels.

    Args:
        m: number of uniform samples.
        trials: number of training sets.
        truth: the true threshold.
        grid: all thresholds, rising.
        label_noise: fraction of wrong labels.
        rng: random number generator.

    Returns:
        Largest |empirical − true error| over all thresholds, and the true error of the empirically
        best threshold minus the least true error; (trials,) each.
    """
    x, order = torch.rand(trials, m, dtype=torch.float64, generator=rng).sort(dim=1)
    flipped = torch.rand(trials, m, generator=rng) < label_noise
    y = (x > truth) ^ flipped.gather(1, order)
    # errors of threshold a: positives up to a, and negatives above it
    positives = torch.nn.functional.pad(y.double().cumsum(1), (1, 0))
    negatives = torch.nn.functional.pad((~y).double().cumsum(1), (1, 0))
    below = torch.searchsorted(x, grid.expand(trials, -1).contiguous(), right=True)
    empirical = (positives.gather(1, below) + negatives[:, -1:] - negatives.gather(1, below)) / m
    true = label_noise + (1 - 2 * label_noise) * (grid - truth).abs()
    best = empirical.argmin(1)
    return (empirical - true).abs().max(1).values, true[best] - label_noise


def failure_probability(m: float, eps: float, hypotheses: int) -> float:
    """Return the exact probability that the error is above ε.

    Errors are multiples of 1/(|H| − 1). The smallest multiple above ε remains possible if no sample
    is in the interval of this length above the truth.
    """
    step = 1 / (hypotheses - 1)
    smallest = (math.floor(eps / step + 1e-9) + 1) * step
    return (1 - smallest) ** m


def table(result: Result) -> Table:
    """Return the bound's number of samples, and measured failures and deviations by m."""
    hypotheses, eps, delta = result.hypotheses, result.eps, result.delta
    rows: list[Row] = [
        (f"samples that suffice by the bound, |H| = {hypotheses:,}, ε = {eps:g}, δ = {delta:g}",
         None, result.sufficient),
        ("… fraction of training sets that fail", result.failed_at_sufficient, delta,
         "theory: at most"),
        ("samples at which a fraction δ actually fails", None,
         math.ceil(math.log(delta) / math.log(1 - eps))),
    ]  # fmt: skip
    for m, failed in zip(result.sizes.tolist(), result.failed.tolist(), strict=True):
        bound = min(1.0, hypotheses * (1 - eps) ** m)
        rows.append((f"m = {m}: fraction of training sets with an error above ε", failed,
                     failure_probability(m, eps, hypotheses), f"bound: {bound:.3g}"))  # fmt: skip
    for m, deviation in zip(result.sizes.tolist(), result.deviation.tolist(), strict=True):
        bound = math.sqrt((math.log(hypotheses) + math.log(2 / delta)) / 2 / m)
        rows.append((f"m = {m}, noisy labels: sup |empirical − true|, 1 − δ quantile", deviation,
                     bound, "theory: at most"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw failures, errors, and deviations with noisy labels, next to their bounds."""
    figure = new_figure(12, 3.9)
    failures, errors, noisy = figure.subplots(1, 3)
    m = torch.linspace(1, float(result.sizes[-1]), 400)
    hypotheses, eps, delta = result.hypotheses, result.eps, result.delta
    exact = [failure_probability(float(k), eps, hypotheses) for k in m]
    failures.semilogy(m, (hypotheses * (1 - eps) ** m).clamp(max=1), color=COLORS[1],
                      label="bound |H| (1 − ε)ᵐ")  # fmt: skip
    failures.semilogy(m, exact, color=INK, linewidth=1, label="exact")
    failures.semilogy(result.sizes, result.failed, "o", color=COLORS[0], label="measured")
    failures.axhline(delta, color=INK, linewidth=0.7, linestyle=":")
    failures.axvline(result.sufficient, color=COLORS[1], linewidth=0.7, linestyle=":")
    failures.set(xlabel="Samples m", ylabel="Fraction of training sets", ylim=(1e-4, 1.5),
                 xlim=(0, 1.5 * result.sufficient))  # fmt: skip
    failures.set_title(f"Training sets with an error above {eps:g}", fontsize=10)
    log = math.log(hypotheses) + math.log(1 / delta)
    errors.loglog(m, (log / m).clamp(max=1), color=COLORS[1], label="bound (ln |H| + ln 1/δ)/m")
    errors.loglog(m, 1 - delta ** (1 / m), color=INK, linewidth=1, label="exact, 1 − δ^(1/m)")
    errors.loglog(result.sizes, result.quantile, "o", color=COLORS[0], label="measured")
    errors.set(xlabel="Samples m", ylabel="True error")
    errors.set_title(f"{1 - delta:.0%} quantile of the error", fontsize=10)
    bound = ((math.log(hypotheses) + math.log(2 / delta)) / 2 / m).sqrt()
    noisy.loglog(m, bound, color=COLORS[1], label="bound √((ln |H| + ln 2/δ)/2m)")
    noisy.loglog(result.sizes, result.deviation, "o", color=COLORS[0],
                 label="sup |empirical − true error|")  # fmt: skip
    noisy.loglog(result.sizes, result.excess.clamp(min=1e-4), "s", color=COLORS[2],
                 label="excess error of ERM")  # fmt: skip
    noisy.set(xlabel="Samples m", ylabel=f"{1 - delta:.0%} quantile")
    noisy.set_title(f"{result.label_noise:.0%} wrong labels", fontsize=10)
    add_grid_and_legend(failures, errors, noisy)
    return figure
