"""How many samples learning needs: the PAC bound, and what really happens.

A class of |H| hypotheses that contains the truth: a hypothesis without an error on m samples has an
error above ε with probability at most |H| (1 − ε)^m ≤ |H| e^{−εm}, so that m ≥ (ln |H| + ln 1/δ)/ε
samples suffice for all but a share δ of draws. The bound counts every hypothesis as if it failed by
itself. For thresholds on [0, 1], of which the largest that fits is taken, the truth is known: it
fails where no sample lies in the ε above the threshold, with probability (1 − ε)^m alone. Without a
perfect hypothesis, all empirical errors are within √((ln |H| + ln 2/δ)/2m) of the true ones.

Sources: Valiant, A theory of the learnable, 1984; Shalev-Shwartz and Ben-David, Understanding
machine learning, 2014, corollaries 2.3 and 4.6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import Table, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = 0.3  # the true threshold: y = 1 where x > TRUTH


@dataclass(frozen=True)
class Result:
    """Over many draws: shares that fail by m, quantiles of the error, and largest deviations."""

    hypotheses: int
    eps: float
    delta: float
    noise: float
    sizes: Tensor  # m
    failed: Tensor  # share of draws with an error above ε
    quantile: Tensor  # 1 − δ quantile of the error
    deviation: Tensor  # 1 − δ quantile of sup |empirical − true|
    excess: Tensor  # the same of the error of ERM above the best
    enough: int  # m of the bound
    failed_there: float


def run(
    hypotheses: int = 1000, eps: float = 0.1, delta: float = 0.05, noise: float = 0.2,
    draws: int = 20_000, seed: int = 0,
) -> Result:  # fmt: skip
    """Draws training sets and takes the largest threshold without an error, or the best.

    Args:
        hypotheses: thresholds 0, 1/(|H| − 1), …, 1, at least 11, of which 0.3 is to be one.
        eps: ε, the error that is still good, below 0.5.
        delta: δ, the share of draws that may fail.
        noise: share of wrong labels where no hypothesis is perfect, below 0.5.
        draws: of training sets.
        seed: of the draws.
    """
    require(hypotheses >= 11, f"hypotheses must be at least 11, got {hypotheses}")
    require(0 < eps < 0.5 and 0 < delta < 0.5, "eps and delta must lie between 0 and 0.5")
    require(0 <= noise < 0.5, f"noise must lie between 0 and 0.5, got {noise:g}")
    require(draws >= 100, f"draws must be at least 100, got {draws}")
    random = generator(seed)
    grid = torch.linspace(0, 1, hypotheses, dtype=torch.float64)
    truth = float(grid[(grid - TRUTH).abs().argmin()])
    enough = math.ceil((math.log(hypotheses) + math.log(1 / delta)) / eps)
    sizes = torch.tensor([5, 10, 20, 40, 80, 160, 320])
    failed, quantile, deviation, excess = [], [], [], []
    bad = eps + 1e-9  # an error of ε itself is good, whatever its rounding
    for m in track(sizes.tolist(), "sample sizes"):
        errors = realizable(m, draws, truth, grid, random)
        failed.append(float((errors > bad).double().mean()))
        quantile.append(float(errors.quantile(1 - delta)))
        gaps, above = agnostic(m, max(100, draws // 20), truth, grid, noise, random)
        deviation.append(float(gaps.quantile(1 - delta)))
        excess.append(float(above.quantile(1 - delta)))
    there = realizable(enough, draws, truth, grid, random)
    return Result(
        hypotheses, eps, delta, noise, sizes, torch.tensor(failed), torch.tensor(quantile),
        torch.tensor(deviation), torch.tensor(excess), enough, float((there > bad).double().mean()),
    )  # fmt: skip


def realizable(m: int, draws: int, truth: float, grid: Tensor, random: torch.Generator) -> Tensor:
    """Errors of the largest threshold without an error on m uniform samples, (draws,)."""
    found = []
    for part in range(0, draws, 2000):
        x = torch.rand(min(2000, draws - part), m, dtype=torch.float64, generator=random)
        above = torch.where(x > truth, x, 1.0).min(1).values  # the first positive sample
        place = torch.searchsorted(grid, above, right=False) - (above < 1).long()
        found.append(grid[place.clamp(max=len(grid) - 1)] - truth)
    return torch.cat(found).clamp(min=0)


def agnostic(
    m: int, draws: int, truth: float, grid: Tensor, noise: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Largest |empirical − true error| over all thresholds, and how far the true error of the
    empirically best is above the least, (draws,) each; a share of the labels is wrong."""
    x, order = torch.rand(draws, m, dtype=torch.float64, generator=random).sort(dim=1)
    flipped = torch.rand(draws, m, generator=random) < noise
    y = (x > truth) ^ flipped.gather(1, order)
    # errors of threshold a: positives up to a, and negatives above it
    positives = torch.nn.functional.pad(y.double().cumsum(1), (1, 0))
    negatives = torch.nn.functional.pad((~y).double().cumsum(1), (1, 0))
    below = torch.searchsorted(x, grid.expand(draws, -1).contiguous(), right=True)
    empirical = (positives.gather(1, below) + negatives[:, -1:] - negatives.gather(1, below)) / m
    true = noise + (1 - 2 * noise) * (grid - truth).abs()
    best = empirical.argmin(1)
    return (empirical - true).abs().max(1).values, true[best] - noise


def exact_failure(m: float, eps: float, hypotheses: int) -> float:
    """Probability of an error above ε: no sample in the interval that the next threshold needs.

    The errors are whole steps of 1/(|H| − 1); the first of them above ε is not excluded where no
    sample lies below it.
    """
    step = 1 / (hypotheses - 1)
    first = (math.floor(eps / step + 1e-9) + 1) * step
    return (1 - first) ** m


def table(result: Result) -> Table:
    hypotheses, eps, delta = result.hypotheses, result.eps, result.delta
    rows: list[tuple[str | float | None, ...]] = [
        (f"samples that suffice by the bound, |H| = {hypotheses:,}, ε = {eps:g}, δ = {delta:g}",
         None, result.enough),
        ("… share of draws that fail there", result.failed_there, delta, "theory: at most"),
        ("samples at which a share δ fails in truth", None,
         math.ceil(math.log(delta) / math.log(1 - eps))),
    ]  # fmt: skip
    for m, failed in zip(result.sizes.tolist(), result.failed.tolist(), strict=True):
        bound = min(1.0, hypotheses * (1 - eps) ** m)
        rows.append((f"m = {m}: share of draws with an error above ε", failed,
                     exact_failure(m, eps, hypotheses), f"bound {bound:.3g}"))  # fmt: skip
    for m, gap in zip(result.sizes.tolist(), result.deviation.tolist(), strict=True):
        bound = math.sqrt((math.log(hypotheses) + math.log(2 / delta)) / 2 / m)
        rows.append((f"m = {m}, noisy labels: sup |empirical − true|, 1 − δ quantile", gap, bound,
                     "theory: at most"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 3.9)
    failures, errors, noisy = figure.subplots(1, 3)
    m = torch.linspace(1, float(result.sizes[-1]), 400)
    hypotheses, eps, delta = result.hypotheses, result.eps, result.delta
    exact = [exact_failure(float(k), eps, hypotheses) for k in m]
    failures.semilogy(m, (hypotheses * (1 - eps) ** m).clamp(max=1), color=COLORS[1],
                      label="bound |H| (1 − ε)ᵐ")  # fmt: skip
    failures.semilogy(m, exact, color=INK, linewidth=1, label="exact")
    failures.semilogy(result.sizes, result.failed, "o", color=COLORS[0], label="measured")
    failures.axhline(delta, color=INK, linewidth=0.7, linestyle=":")
    failures.axvline(result.enough, color=COLORS[1], linewidth=0.7, linestyle=":")
    failures.set(xlabel="samples m", ylim=(1e-4, 1.5), xlim=(0, 1.5 * result.enough))
    failures.set_title(f"Share of draws with an error above {eps:g}", fontsize=10)
    log = math.log(hypotheses) + math.log(1 / delta)
    errors.loglog(m, (log / m).clamp(max=1), color=COLORS[1], label="bound (ln |H| + ln 1/δ)/m")
    errors.loglog(m, 1 - delta ** (1 / m), color=INK, linewidth=1, label="exact, 1 − δ^(1/m)")
    errors.loglog(result.sizes, result.quantile, "o", color=COLORS[0], label="measured")
    errors.set(xlabel="samples m")
    errors.set_title(f"Error that {1 - delta:.0%} of the draws stay below", fontsize=10)
    bound = ((math.log(hypotheses) + math.log(2 / delta)) / 2 / m).sqrt()
    noisy.loglog(m, bound, color=COLORS[1], label="bound √((ln |H| + ln 2/δ)/2m)")
    noisy.loglog(result.sizes, result.deviation, "o", color=COLORS[0],
                 label="sup |empirical − true|")  # fmt: skip
    noisy.loglog(result.sizes, result.excess.clamp(min=1e-4), "s", color=COLORS[2],
                 label="ERM above the best")  # fmt: skip
    noisy.set(xlabel="samples m")
    noisy.set_title(f"{result.noise:.0%} wrong labels", fontsize=10)
    add_grid_and_legend(failures, errors, noisy)
    return figure
