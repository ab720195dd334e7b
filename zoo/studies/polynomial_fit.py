"""Polynomial regression: degree, ridge, and Weierstrass's theorem.

Which degree, and how much regularization, give the smallest error on new points? Least squares
with penalty λ‖w‖² maps the n noisy training values y = f + σε to predictions S y at m new points,
with S = Φ' (ΦᵀΦ + nλI)⁻¹ Φᵀ, where primes denote values at the new points. For given points, the
expected squared error of the predictions is

    ‖f' − S f‖²/m (bias²) + σ²‖S‖²/m (variance) + σ² (noise).

The bias falls with the degree and rises with λ; the variance does the opposite. The training error
falls with the degree throughout. Lines show these expectations, points the mean over many trials.

How well can polynomials do without noise? Weierstrass: they approximate every continuous function
to any accuracy. Bernstein's polynomials B_n f(x) = Σ_k f(k/n) C(n, k) x^k (1 − x)^{n−k} converge
slowly: for |x| on [−1, 1] and even n, the largest error is the one at 0, C(n, n/2)/2^n ≈ √(2/πn).
Least squares needs a far lower degree for the same error.

Sources: Hastie, Tibshirani and Friedman, The elements of statistical learning, sections 3.4 and
7.3; Bernstein, 1912.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from datamodules import ToyCurves
from zoo.errors import check_at_least, check_positive
from zoo.functional.linear import legendre_features, solve_normal_equations
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import Row, Table, make_generator, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_DEGREE = 15
SHOWN_DEGREES = (1, 4, MAX_DEGREE)
SHOWN_LAMBDAS = (1e-3, 0.1, 1.0)  # of the curves of error by degree
LAMBDAS = tuple(10.0 ** (k / 2) for k in range(-16, 3))


@dataclass(frozen=True)
class Errors:
    """Mean squared errors of several fits: mean over trials, its standard error, and the
    expectation; (fits, 2), with columns for training and validation."""

    measured: Tensor
    standard_error: Tensor
    theory: Tensor


@dataclass(frozen=True)
class Result:
    """Fits of one trial, errors by degree and by λ, and the approximation of |x|."""

    noise: float
    x: Tensor
    y: Tensor
    grid: Tensor
    truth: Tensor
    fits: dict[int, Tensor]
    by_degree: Errors
    by_lambda: Errors  # at the highest degree
    by_degree_with_ridge: dict[float, Errors]  # λ → errors by degree, from 1 to the highest
    degrees: Tensor  # of the approximations of |x|
    bernstein: Tensor  # largest errors
    least_squares: Tensor


def run(
    curve: Literal["sine", "cubic", "step", "runge"] = "sine",
    num_samples: int = 20,
    noise: float = 0.3,
    trials: int = 500,
    seed: int = 0,
) -> Result:
    """Fit polynomials of degree 0 to 15.

    Args:
        curve: the function f, a curve of :class:`datamodules.ToyCurves`.
        num_samples: number n of evenly spaced training points, more than 15.
        noise: standard deviation σ of the noise.
        trials: number of noise samples.
        seed: random seed of the noise and of the validation points.
    """
    check_at_least(MAX_DEGREE + 1, num_samples=num_samples)
    check_positive(noise=noise)
    check_at_least(2, trials=trials)
    rng = make_generator(seed)
    f = ToyCurves(curve).ground_truth
    x = torch.linspace(-1, 1, num_samples, dtype=torch.float64)
    x_val = 2 * torch.rand(200, dtype=torch.float64, generator=rng) - 1
    f_train, f_val = torch.from_numpy(f(x.numpy())), torch.from_numpy(f(x_val.numpy()))
    y = f_train[:, None] + noise * torch.randn(num_samples, trials, dtype=x.dtype, generator=rng)
    y_val = f_val[:, None] + noise * torch.randn(200, trials, dtype=x.dtype, generator=rng)

    def errors(fits: list[tuple[int, float]], description: str) -> Errors:
        measured, standard_error, theory = [], [], []
        for degree, strength in track(fits, description):
            maps = [smoother(x, at, degree, strength) for at in (x, x_val)]
            squares = [
                (s @ y - seen).square().mean(0) for s, seen in zip(maps, (y, y_val), strict=True)
            ]
            measured.append([float(e.mean()) for e in squares])
            standard_error.append([float(e.std()) / trials**0.5 for e in squares])
            theory.append(expected_errors(maps, f_train, f_val, noise))
        return Errors(torch.tensor(measured), torch.tensor(standard_error), torch.tensor(theory))

    grid = torch.linspace(-1, 1, 400, dtype=x.dtype)
    fits = {degree: smoother(x, grid, degree) @ y[:, 0] for degree in SHOWN_DEGREES}
    degrees = torch.tensor([2, 4, 8, 16, 32, 64])
    return Result(
        noise, x, y[:, 0], grid, torch.from_numpy(f(grid.numpy())), fits,
        errors([(degree, 0.0) for degree in range(MAX_DEGREE + 1)], "degrees"),
        errors([(MAX_DEGREE, strength) for strength in LAMBDAS], "ridge"),
        {
            strength: errors(
                [(degree, strength) for degree in range(1, MAX_DEGREE + 1)],
                f"degrees, λ = {strength:g}",
            )
            for strength in SHOWN_LAMBDAS
        },
        degrees,
        torch.tensor([largest_error(bernstein, int(n)) for n in degrees]),
        torch.tensor([largest_error(least_squares, int(n)) for n in degrees]),
    )  # fmt: skip


def smoother(x: Tensor, at: Tensor, degree: int, strength: float = 0.0) -> Tensor:
    """Return the matrix S that maps values at x to the fit at other points, (m, n).

    Args:
        x: training points, (n,).
        at: points of the predictions, (m,).
        degree: degree of the polynomial.
        strength: λ of the ridge penalty, from which the constant is exempt; default 0.
    """
    design, design_at = legendre_features(x, degree), legendre_features(at, degree)
    if strength == 0:
        return design_at @ torch.linalg.pinv(design)
    center = design.mean(0)
    centered = design - center
    gram = centered.mT @ centered
    weights, _ = solve_normal_equations(gram[1:, 1:], centered[:, 1:].mT, len(x) * strength)
    return (design_at - center)[:, 1:] @ weights + 1 / len(x)


def expected_errors(
    maps: list[Tensor], f_train: Tensor, f_val: Tensor, noise: float
) -> list[float]:
    """Return the expected mean squared errors in training and validation.

    Args:
        maps: the matrix S at the training points and at the validation points.
        f_train, f_val: true function values at these points.
        noise: standard deviation σ of the noise.
    """
    s_train, s_val = maps
    n = len(f_train)
    residual = torch.eye(n, dtype=f_train.dtype) - s_train
    training = (residual @ f_train).square().mean() + noise**2 * residual.square().sum() / n
    bias = (f_val - s_val @ f_train).square().mean()
    validation = bias + noise**2 * (s_val.square().sum() / len(f_val) + 1)
    return [float(training), float(validation)]


def bernstein(n: int, x: Tensor) -> Tensor:
    """Return Bernstein's polynomial of degree n for |x| on [−1, 1]."""
    t = ((x + 1) / 2)[:, None]
    k = torch.arange(n + 1, dtype=x.dtype)
    log_choose = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    basis = (log_choose + torch.xlogy(k, t) + torch.xlogy(n - k, 1 - t)).exp()
    return basis @ (2 * k / n - 1).abs()


def least_squares(n: int, x: Tensor) -> Tensor:
    """Return the polynomial of degree n with the least mean squared error to |x| on [−1, 1]."""
    points = torch.linspace(-1, 1, 4001, dtype=x.dtype)
    return smoother(points, x, n) @ points.abs()


def largest_error(approximation: Callable[[int, Tensor], Tensor], n: int) -> float:
    """Return the largest error on [−1, 1] of an approximation of |x| of degree n."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    return float((approximation(n, x) - x.abs()).abs().max())


def table(result: Result) -> Table:
    """Return the errors of selected fits, and the largest errors of approximations of |x|."""
    rows: list[Row] = []

    def add(label: str, errors: Errors, index: int, column: int) -> None:
        rows.append((
            label, float(errors.measured[index, column]), float(errors.theory[index, column]),
            f"± {float(errors.standard_error[index, column]):.2g}",
        ))  # fmt: skip

    for degree in (1, 4, 8, MAX_DEGREE):
        add(f"training error, degree {degree}", result.by_degree, degree, 0)
        add(f"validation error, degree {degree}", result.by_degree, degree, 1)
    best = int(result.by_lambda.theory[:, 1].argmin())
    label = f"validation error, degree {MAX_DEGREE}, λ = {LAMBDAS[best]:.2g}"
    add(label, result.by_lambda, best, 1)
    rows.append(("σ², the smallest possible error", None, result.noise**2))
    for n, error in zip(result.degrees.tolist(), result.bernstein.tolist(), strict=True):
        theory = math.comb(n, n // 2) / 2**n
        rows.append((f"|x|: largest error of Bernstein's polynomial, degree {n}", error, theory))
    for n, error in zip(result.degrees.tolist(), result.least_squares.tolist(), strict=True):
        rows.append((f"|x|: largest error of least squares, degree {n}", error))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw fits of one trial, errors by degree and by λ, and errors of approximations of |x|."""
    figure = new_figure(10, 7.4)
    (fits, by_degree, by_lambda, weierstrass) = figure.subplots(2, 2).flat
    fits.plot(result.x, result.y, "o", color=COLORS[4], markersize=4, label="data")
    fits.plot(result.grid, result.truth, color=INK, linewidth=1, linestyle="--", label="truth f")
    for color, (degree, fit) in zip(COLORS, result.fits.items(), strict=False):
        fits.plot(result.grid, fit, color=color, linewidth=1.5, label=f"degree {degree}")
    height = 1.6 * float(result.y.abs().max())
    fits.set(xlabel="x", ylabel="y", ylim=(-height, height))
    fits.set_title("Fits of one trial", fontsize=10)
    degrees = range(MAX_DEGREE + 1)
    _draw_errors(by_degree, degrees, result.by_degree, result.noise)
    for color, (strength, errors) in zip(
        COLORS[2:], result.by_degree_with_ridge.items(), strict=False
    ):
        by_degree.plot(degrees[1:], errors.theory[:, 1], color=color, linewidth=1, linestyle="--",
                       label=f"validation, λ = {strength:g}")  # fmt: skip
    by_degree.set(xlabel="Degree", ylabel="Mean squared error")
    by_degree.set_title("Error by degree, without and with ridge", fontsize=10)
    _draw_errors(by_lambda, LAMBDAS, result.by_lambda, result.noise)
    by_lambda.set(xlabel="Ridge penalty λ", ylabel="Mean squared error", xscale="log")
    by_lambda.set_title(f"Degree {MAX_DEGREE}: error by ridge penalty", fontsize=10)
    n = result.degrees
    exact = [math.comb(k, k // 2) / 2**k for k in n.tolist()]
    weierstrass.loglog(n, exact, color=INK, linewidth=1, label="C(n, n/2)/2ⁿ")
    weierstrass.loglog(n, result.bernstein, "o", color=COLORS[1], label="Bernstein")
    weierstrass.loglog(n, result.least_squares, "s-", color=COLORS[0], label="least squares")
    weierstrass.set(xlabel="Degree n", ylabel="Largest error", xticks=n.tolist(),
                    xticklabels=n.tolist())  # fmt: skip
    weierstrass.minorticks_off()
    weierstrass.set_title("Polynomial approximations of |x|", fontsize=10)
    add_grid_and_legend(fits, by_degree, by_lambda, weierstrass, size=8)
    by_degree.legend(frameon=False, fontsize=7, ncols=2, loc="upper center")
    return figure


def _draw_errors(axes: Axes, x: Iterable[float], errors: Errors, noise: float) -> None:
    x = list(x)
    for column, (split, color) in enumerate((("training", COLORS[0]), ("validation", COLORS[1]))):
        axes.plot(x, errors.theory[:, column], color=color, linewidth=1,
                  label=f"{split}, expected")  # fmt: skip
        axes.plot(x, errors.measured[:, column], "o", color=color, markersize=4,
                  label=f"{split}, mean of trials")  # fmt: skip
    axes.axhline(noise**2, color=INK, linewidth=0.8, linestyle=":", label="σ²")
    top = 40 * float(errors.measured[:, 1].median())
    axes.set(yscale="log", ylim=(0.1 * noise**2, max(top, 20 * noise**2)))
