"""Attacks in the plane: ways to the boundary, and how training moves it.

For a linear classifier all is known: a point at the distance |w·x + b|/‖w‖_* from the boundary
(‖·‖_* the dual norm) is broken exactly by budgets above that, so that robust accuracy is a count of
margins, and Carlini and Wagner's attack finds that distance. On two moons a network's boundary is
near to many points; FGSM takes one step, PGD several, Carlini and Wagner's the shortest way.
Training against PGD moves the boundary away from the points, and where classes are nearer to each
other than 2ε, it pays with clean accuracy.

Sources: Goodfellow, Shlens and Szegedy, 2015; Madry et al., 2018; Carlini and Wagner, 2017; Tsipras
et al., Robustness may be at odds with accuracy, 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from callbacks import AdversarialTraining
from datamodules import Toy2D
from zoo.attacks import FGSM, PGD, CarliniWagner
from zoo.attacks.robustness import evaluate_robustness, is_correct
from zoo.plots.style import COLORS, INK, finish, new_figure, parts
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = 5  # points whose ways are drawn
STEPS = 8  # of the drawn PGD


@dataclass(frozen=True)
class Result:
    """Boundaries, ways of attacks, accuracies by ε and by training, and the linear case."""

    x: Tensor
    y: Tensor
    grid: tuple[Tensor, Tensor]
    probability: dict[str, Tensor]  # of class 1, by training
    ways: dict[str, Tensor]  # attack → (points, steps + 1, 2), from the undefended network
    budgets: tuple[float, ...]
    clean_of: dict[str, float]
    robust: dict[str, tuple[float, ...]]
    trained_at: tuple[float, ...]
    clean: list[float]
    attacked: list[float]
    eps: float
    linear: dict[str, tuple[float, float]]  # measured, theory


def run(
    eps: float = 0.2, epochs: int = 60, samples: int = 600, noise: float = 0.15,
    trained_at: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4), seed: int = 0,
) -> Result:  # fmt: skip
    """Trains on two moons without and with attacks of several sizes (Linf).

    Args:
        eps: ε of the ways that are drawn and of the comparison by training.
        epochs: of every training.
        samples: of the moons, a tenth of them for test, as many again are drawn for judging.
        noise: deviation of the points.
        trained_at: ε of the trainings; 0 is none.
        seed: of weights, points and attacks.
    """
    require(eps > 0 and epochs >= 1, "eps must be positive and epochs at least 1")
    require(
        min(trained_at, default=-1) == 0 < max(trained_at), "trained_at must hold 0 and larger ε"
    )
    require(samples >= 50, f"samples must be at least 50, got {samples}")
    data = Toy2D("moons", num_samples=samples, noise=noise, seed=seed, batch_size=64)
    x, y = Toy2D("moons", num_samples=1000, noise=noise, seed=seed + 1, val_size=0.01,
                 test_size=0.01).evaluation_samples("train")  # fmt: skip
    models = {e: train(data, e, epochs, seed) for e in track(trained_at, "trainings")}
    attack = PGD(eps=eps, steps=20, bounds=None, seed=seed)
    judged = {e: evaluate_robustness(m, [(x, y)], attack, [eps]) for e, m in models.items()}
    plain, nearest = models[0.0], min((e for e in trained_at if e), key=lambda e: abs(e - eps))
    budgets = tuple(eps * k / 4 for k in range(1, 9))
    both = {"undefended": plain, f"trained at ε = {nearest:g}": models[nearest]}
    found = {name: evaluate_robustness(m, [(x, y)], attack, budgets) for name, m in both.items()}
    axes = torch.linspace(-1.6, 2.6, 150), torch.linspace(-1.2, 1.7, 120)
    return Result(
        x, y, axes, {name: over_plane(model, *axes) for name, model in both.items()},
        ways(plain, x, y, eps, seed), budgets,
        {name: r.clean for name, r in found.items()},
        {name: r.accuracy["PGD"] for name, r in found.items()}, tuple(trained_at),
        [judged[e].clean for e in trained_at],
        [judged[e].accuracy["PGD"][0] for e in trained_at], eps, linear_case(seed),
    )  # fmt: skip


def train(data: Toy2D, eps: float, epochs: int, seed: int) -> Any:
    """A network of the zoo, attacked in training where ε is not 0."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    model = MLPClassifier(
        (2,), 2, hidden_dims=(64, 64), dropout=0.0, input_dropout=0.0, lr=5e-3, schedule="cosine"
    )
    attack = PGD(eps=eps, steps=5, bounds=None, early_stop=False, seed=seed)
    return fit(model, data, epochs, [AdversarialTraining(attack)] if eps else [])


@torch.no_grad()
def over_plane(model: Any, first: Tensor, second: Tensor) -> Tensor:
    """Probability of class 1 on a grid, (H, W)."""
    plane = torch.stack(torch.meshgrid(first, second, indexing="xy"), dim=-1)
    return model.logits(plane.flatten(0, 1)).softmax(1)[:, 1].view(len(second), len(first))


def ways(model: Any, x: Tensor, y: Tensor, eps: float, seed: int) -> dict[str, Tensor]:
    """Ways of three attacks from points that the model is right about and that ε breaks."""
    settings: dict[str, Any] = {"eps": eps, "bounds": None, "seed": seed}
    held = is_correct(model, x, y)
    broken = held & ~is_correct(model, PGD(steps=20, **settings)(model, x, y), y)
    order = torch.randperm(int(broken.sum()), generator=generator(seed))[:DRAWN]
    x, y = x[broken][order], y[broken][order]
    step: dict[str, Any] = {"step_size": eps / 3, "early_stop": False, "random_start": False}
    path = [PGD(steps=k, **settings, **step)(model, x, y) for k in range(STEPS + 1)]
    nearest = CarliniWagner(bounds=None)(model, x, y)
    return {
        "FGSM": torch.stack([x, FGSM(eps=eps, bounds=None)(model, x, y)], dim=1),
        "PGD": torch.stack(path, dim=1),
        "Carlini and Wagner": torch.stack([x, nearest], dim=1),
    }


def linear_case(seed: int) -> dict[str, tuple[float, float]]:
    """A linear classifier: accuracy under PGD, and the distance of Carlini and Wagner's points."""
    random = generator(seed)
    layer = nn.Linear(2, 2).double()
    weight = torch.tensor([[0.0, 0.0], [1.5, -0.8]], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor([0.0, 0.2], dtype=torch.float64))
    x = torch.randn(400, 2, dtype=torch.float64, generator=random)
    margin = x @ weight[1] + 0.2
    y = (margin > 0).long()
    found = {}
    for eps in (0.1, 0.3):
        for norm, dual in (("linf", 1), ("l2", 2)):
            attack = PGD(eps=eps, norm=norm, steps=40, bounds=None)
            theory = float((margin.abs() > eps * weight[1].norm(dual)).double().mean())
            left = float(is_correct(layer, attack(layer, x, y), y).double().mean())
            found[f"linear, PGD, {norm}, ε = {eps:g}: accuracy"] = left, theory
    some = slice(0, 50)
    moved = CarliniWagner(bounds=None, search_steps=8)(layer, x[some], y[some])
    ways = (moved - x[some]).norm(dim=1), margin[some].abs() / weight[1].norm()
    found["linear, Carlini and Wagner: mean L2"] = tuple(float(v.mean()) for v in ways)  # type: ignore[assignment]
    return found


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = [
        (name, *pair) for name, pair in result.linear.items()
    ]
    for name, way in result.ways.items():
        length = (way[:, -1] - way[:, 0]).norm(dim=1)
        rows.append((f"{name}: mean L2 of the drawn ways", float(length.mean())))
    for e, clean, attacked in zip(result.trained_at, result.clean, result.attacked, strict=True):
        rows.append((f"trained at ε = {e:g}: accuracy", clean, None,
                     f"under PGD at {result.eps:g}: {attacked:.1%}"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 7.4)
    above, below = parts(figure, 2, 1, height_ratios=[1.3, 1])
    for axes, name in zip(above.subplots(1, 2), result.probability, strict=True):
        _plane(axes, result, name)
    first = above.axes[0]
    for color, (name, way) in zip((COLORS[2], INK, COLORS[7]), result.ways.items(), strict=True):
        for place, path in enumerate(way):
            first.plot(*path.T, "o-", color=color, markersize=2.5, linewidth=1.2,
                       label=None if place else name)  # fmt: skip
    first.legend(fontsize=8, loc="lower left")
    curves, trade = below.subplots(1, 2)
    budgets = (0.0, *result.budgets)
    for color, (name, accuracy) in zip(COLORS, result.robust.items(), strict=False):
        curves.plot(
            budgets,
            (result.clean_of[name], *accuracy),
            "o-",
            color=color,
            markersize=4,
            label=name,
        )
    curves.set(xlabel="ε of the attack", ylabel="accuracy under PGD")
    trade.plot(result.trained_at, result.clean, "o-", color=COLORS[0], label="clean")
    trade.plot(result.trained_at, result.attacked, "s-", color=COLORS[1],
               label=f"under PGD at {result.eps:g}")  # fmt: skip
    trade.set(xlabel="ε of training", ylabel="accuracy")
    finish(curves, trade, size=8)
    return figure


def _plane(axes: Axes, result: Result, name: str) -> None:
    first, second = result.grid
    p = result.probability[name]
    axes.contourf(first, second, p, levels=20, cmap="RdBu", vmin=-0.4, vmax=1.4, alpha=0.6)
    axes.contour(first, second, p, levels=[0.5], colors=INK, linewidths=1.2)
    for label, color in ((0, COLORS[1]), (1, COLORS[0])):
        some = result.x[result.y == label][:150]
        axes.plot(*some.T, "o", color=color, markersize=2.5, alpha=0.7, markeredgewidth=0)
    axes.set_aspect("equal")
    axes.set_title(name, fontsize=10)
