"""A polynomial's degree and ridge: too little, enough, too much; Weierstrass.

Least squares with the penalty λ‖w‖² maps the noisy values y = f + σε to S y on new places, with
S = Φ' (ΦᵀΦ + nλI)⁻¹ Φᵀ. Given the places, its expected error there is ‖f' − S f‖²/m (bias) plus
σ²‖S‖²/m (variance) plus σ². The first falls with the degree and rises with λ, the second does the
reverse: error in training only falls. Both are computed here and drawn beside the average of many
draws.

Weierstrass: polynomials come as near as one likes to any continuous function. Bernstein's
B_n f(x) = Σ_k f(k/n) C(n, k) x^k (1 − x)^{n−k} do so slowly: for |x| on [−1, 1] the largest error
is that at 0, C(n, n/2)/2^n ≈ √(2/πn) for even n. Least squares need far lower degrees.

Source: Hastie, Tibshirani and Friedman, The elements of statistical learning, 3.4 and 7.3;
Bernstein, 1912.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from datamodules import ToyCurves
from zoo.functional.linear import legendre_features, solve_normal_equations
from zoo.plots.style import COLORS, INK, finish, new_figure
from zoo.studies.base import Table, generator, require, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = (1, 4, 15)
SEVERAL = (1e-3, 0.1, 1.0)  # λ of the errors by degree
LAMBDAS = tuple(10.0 ** (k / 2) for k in range(-16, 3))


@dataclass(frozen=True)
class Errors:
    """Mean squared errors along a path: averages over the draws, their standard errors, and what
    theory expects; (steps, 2), training before validation."""

    measured: Tensor
    standard_error: Tensor
    theory: Tensor


@dataclass(frozen=True)
class Result:
    """Fits of one draw, errors by degree and by λ at the highest degree, and Weierstrass."""

    noise: float
    x: Tensor
    y: Tensor
    grid: Tensor
    truth: Tensor
    fits: dict[int, Tensor]
    by_degree: Errors
    by_ridge: Errors
    degree_and_ridge: dict[float, Errors]  # by degree, at several λ
    degrees: Tensor
    bernstein: Tensor
    least_squares: Tensor


def run(
    curve: Literal["sine", "cubic", "step", "runge"] = "sine",
    samples: int = 20,
    noise: float = 0.3,
    draws: int = 500,
    seed: int = 0,
) -> Result:
    """Fits polynomials of degree 0 to 15.

    Args:
        curve: f, of :class:`datamodules.ToyCurves`.
        samples: n, evenly spaced places in training, more than 15.
        noise: σ.
        draws: of the noise.
        seed: of the noise and of the places in validation.
    """
    require(samples > 15, f"samples must be more than 15, the highest degree; got {samples}")
    require(noise > 0, f"noise must be positive, got {noise:g}")
    require(draws >= 2, f"draws must be at least 2, got {draws}")
    random = generator(seed)
    f = ToyCurves(curve).ground_truth
    x = torch.linspace(-1, 1, samples, dtype=torch.float64)
    places = 2 * torch.rand(200, dtype=torch.float64, generator=random) - 1
    truth, at = torch.from_numpy(f(x.numpy())), torch.from_numpy(f(places.numpy()))
    y = truth[:, None] + noise * torch.randn(samples, draws, dtype=x.dtype, generator=random)
    new = at[:, None] + noise * torch.randn(200, draws, dtype=x.dtype, generator=random)

    def errors(settings: list[tuple[int, float]], what: str) -> Errors:
        measured, spread, theory = [], [], []
        for degree, ridge in track(settings, what):
            maps = [smoother(x, where, degree, ridge) for where in (x, places)]
            both = [(m @ y - seen).square().mean(0) for m, seen in zip(maps, (y, new), strict=True)]
            measured.append([float(e.mean()) for e in both])
            spread.append([float(e.std()) / draws**0.5 for e in both])
            theory.append(expected(maps, truth, at, noise))
        return Errors(torch.tensor(measured), torch.tensor(spread), torch.tensor(theory))

    grid = torch.linspace(-1, 1, 400, dtype=x.dtype)
    fits = {degree: smoother(x, grid, degree) @ y[:, 0] for degree in SHOWN}
    degrees = torch.tensor([2, 4, 8, 16, 32, 64])
    return Result(
        noise, x, y[:, 0], grid, torch.from_numpy(f(grid.numpy())), fits,
        errors([(degree, 0.0) for degree in range(16)], "degrees"),
        errors([(15, ridge) for ridge in LAMBDAS], "ridge"),
        {r: errors([(d, r) for d in range(1, 16)], f"degrees, λ = {r:g}") for r in SEVERAL},
        degrees,
        torch.tensor([uniform_error(bernstein, int(n)) for n in degrees]),
        torch.tensor([uniform_error(least_squares, int(n)) for n in degrees]),
    )  # fmt: skip


def smoother(x: Tensor, where: Tensor, degree: int, ridge: float = 0.0) -> Tensor:
    """S: values at x (n) → the fit at other places (m), (m, n); the constant has no penalty."""
    design, at = legendre_features(x, degree), legendre_features(where, degree)
    if ridge == 0:
        return at @ torch.linalg.pinv(design)
    center = design.mean(0)
    centered = design - center
    gram = centered.mT @ centered
    weights, _ = solve_normal_equations(gram[1:, 1:], centered[:, 1:].mT, len(x) * ridge)
    return (at - center)[:, 1:] @ weights + 1 / len(x)


def expected(maps: list[Tensor], truth: Tensor, at: Tensor, noise: float) -> list[float]:
    """Expected squared errors in training and at new places, given the places."""
    inside, outside = maps
    n = len(truth)
    rest = torch.eye(n, dtype=truth.dtype) - inside
    training = (rest @ truth).square().mean() + noise**2 * rest.square().sum() / n
    bias = (at - outside @ truth).square().mean()
    validation = bias + noise**2 * (outside.square().sum() / len(at) + 1)
    return [float(training), float(validation)]


def bernstein(n: int, x: Tensor) -> Tensor:
    """B_n of |x| on [−1, 1]."""
    t = ((x + 1) / 2)[:, None]
    k = torch.arange(n + 1, dtype=x.dtype)
    log_choose = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    basis = (log_choose + torch.xlogy(k, t) + torch.xlogy(n - k, 1 - t)).exp()
    return basis @ (2 * k / n - 1).abs()


def least_squares(n: int, x: Tensor) -> Tensor:
    """The polynomial of degree n nearest to |x| in the mean square over [−1, 1]."""
    places = torch.linspace(-1, 1, 4001, dtype=x.dtype)
    return smoother(places, x, n) @ places.abs()


def uniform_error(approximation: Callable[[int, Tensor], Tensor], n: int) -> float:
    """Largest error on [−1, 1] of an approximation of |x|."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    return float((approximation(n, x) - x.abs()).abs().max())


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for degree in (*SHOWN[:2], 8, SHOWN[2]):
        for column, split in enumerate(("training", "validation")):
            errors = result.by_degree
            rows.append((
                f"{split} error, degree {degree}", float(errors.measured[degree, column]),
                float(errors.theory[degree, column]),
                f"± {float(errors.standard_error[degree, column]):.2g}",
            ))  # fmt: skip
    best = int(result.by_ridge.theory[:, 1].argmin())
    rows.append((
        f"validation error, degree 15, λ = {LAMBDAS[best]:.2g}",
        float(result.by_ridge.measured[best, 1]), float(result.by_ridge.theory[best, 1]),
        f"± {float(result.by_ridge.standard_error[best, 1]):.2g}",
    ))  # fmt: skip
    rows.append(("σ², which no fit can go below", None, result.noise**2))
    for n, error in zip(result.degrees.tolist(), result.bernstein.tolist(), strict=True):
        rows.append(
            (f"largest error of Bernstein's, degree {n}", error, math.comb(n, n // 2) / 2**n)
        )
    for n, error in zip(result.degrees.tolist(), result.least_squares.tolist(), strict=True):
        rows.append((f"largest error of least squares, degree {n}", error))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(10, 7.4)
    (fits, degrees), (ridge, weierstrass) = figure.subplots(2, 2)
    fits.plot(result.x, result.y, "o", color=COLORS[4], markersize=4, label="data")
    fits.plot(result.grid, result.truth, color=INK, linewidth=1, linestyle="--", label="truth f")
    for color, (degree, fit) in zip(COLORS, result.fits.items(), strict=False):
        fits.plot(result.grid, fit, color=color, linewidth=1.5, label=f"degree {degree}")
    reach = 1.6 * float(result.y.abs().max())
    fits.set(xlabel="x", ylim=(-reach, reach))
    fits.set_title("One draw", fontsize=10)
    _errors(degrees, range(16), result.by_degree, result.noise)
    for color, (strength, errors) in zip(COLORS[2:], result.degree_and_ridge.items(), strict=False):
        degrees.plot(range(1, 16), errors.theory[:, 1], color=color, linewidth=1, linestyle="--",
                     label=f"validation, λ = {strength:g}")  # fmt: skip
    degrees.set(xlabel="degree")
    degrees.set_title("Error against degree, without and with ridge", fontsize=10)
    _errors(ridge, LAMBDAS, result.by_ridge, result.noise)
    ridge.set(xlabel="λ", xscale="log")
    ridge.set_title("Degree 15: error against the ridge penalty", fontsize=10)
    n = result.degrees
    exact = [math.comb(k, k // 2) / 2**k for k in n.tolist()]
    weierstrass.loglog(n, exact, color=INK, linewidth=1, label="C(n, n/2)/2ⁿ")
    weierstrass.loglog(n, result.bernstein, "o", color=COLORS[1], label="Bernstein")
    weierstrass.loglog(n, result.least_squares, "s-", color=COLORS[0], label="least squares")
    weierstrass.set(xlabel="degree n", xticks=n.tolist(), xticklabels=n.tolist())
    weierstrass.minorticks_off()
    weierstrass.set_title("Largest error of approximations of |x|", fontsize=10)
    finish(fits, degrees, ridge, weierstrass, size=8)
    return figure


def _errors(axes: Axes, steps: Iterable[float], errors: Errors, noise: float) -> None:
    steps = list(steps)
    for column, (split, color) in enumerate((("training", COLORS[0]), ("validation", COLORS[1]))):
        axes.plot(steps, errors.theory[:, column], color=color, linewidth=1,
                  label=f"{split}, expected")  # fmt: skip
        axes.plot(steps, errors.measured[:, column], "o", color=color, markersize=4,
                  label=f"{split}, mean of draws")  # fmt: skip
    axes.axhline(noise**2, color=INK, linewidth=0.8, linestyle=":", label="σ²")
    top = 40 * float(errors.measured[:, 1].median())
    axes.set(yscale="log", ylim=(0.1 * noise**2, max(top, 20 * noise**2)))
