"""Adversarial attacks in the plane, and how training moves the boundary.

How far is a point from being misclassified? For a linear classifier the answer is exact. In a norm
with dual norm ‖·‖_*, a point x is at distance |w·x + b|/‖w‖_* from the decision boundary, and an
attack succeeds if and only if its budget ε exceeds this distance. Robust accuracy is therefore the
fraction of points farther away than ε, and the attack of Carlini and Wagner finds the distance.

On two moons, the decision boundary of an undefended network passes close to many points. FGSM takes
one step toward it, PGD several, and Carlini-Wagner finds the shortest path. Training against PGD
moves the boundary away from the points. Where the classes are closer to each other than 2ε, this
costs clean accuracy.

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
from zoo.errors import InputError, check_at_least, check_positive
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure, subfigures
from zoo.studies.base import Row, Table, fit, make_generator, sentence_case, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN_PATHS = 5  # paths drawn for each attack
DRAWN_STEPS = 8  # steps of PGD drawn


@dataclass(frozen=True)
class Result:
    """Decision boundaries, paths of attacks, accuracies by ε of the attack and by ε of training,
    and the linear case."""

    x: Tensor
    y: Tensor
    grid: tuple[Tensor, Tensor]
    probability: dict[str, Tensor]  # of class 1, by model
    paths: dict[str, Tensor]  # attack → (points, steps + 1, 2), on the undefended network
    budgets: tuple[float, ...]
    clean_accuracy: dict[str, float]  # by model
    robust_accuracy: dict[str, tuple[float, ...]]  # model → by budget
    train_eps: tuple[float, ...]
    clean_by_train_eps: list[float]
    robust_by_train_eps: list[float]
    eps: float
    linear: dict[str, tuple[float, float]]  # measured, theory


def run(
    eps: float = 0.2, epochs: int = 60, num_samples: int = 600, noise: float = 0.15,
    train_eps: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4), seed: int = 0,
) -> Result:  # fmt: skip
    """Train on two moons, without and with Linf attacks of several budgets, and evaluate.

    Args:
        eps: budget ε of the drawn attacks, and of the attack by which all networks are compared.
        epochs: training epochs of each network.
        num_samples: number of points, at least 50; networks are evaluated on another 1,000 points.
        noise: standard deviation of the noise of the points.
        train_eps: budgets ε of the attacks in training: 0 (no attack) and one or more above 0.
        seed: random seed of initial weights, points and attacks.
    """
    check_positive(eps=eps)
    check_at_least(1, epochs=epochs)
    check_at_least(50, num_samples=num_samples)
    if not min(train_eps, default=-1) == 0 < max(train_eps):
        raise InputError(
            f"train_eps must contain 0 and at least one positive value, got {list(train_eps)}"
        )
    data = Toy2D("moons", num_samples=num_samples, noise=noise, seed=seed, batch_size=64)
    x, y = Toy2D("moons", num_samples=1000, noise=noise, seed=seed + 1, val_size=0.01,
                 test_size=0.01).evaluation_samples("train")  # fmt: skip
    models = {e: train(data, e, epochs, seed) for e in track(train_eps, "networks")}
    attack = PGD(eps=eps, steps=20, bounds=None, seed=seed)
    by_train_eps = {e: evaluate_robustness(m, [(x, y)], attack, [eps]) for e, m in models.items()}
    undefended, nearest = models[0.0], min((e for e in train_eps if e), key=lambda e: abs(e - eps))
    budgets = tuple(eps * k / 4 for k in range(1, 9))
    shown = {"undefended": undefended, f"trained at ε = {nearest:g}": models[nearest]}
    by_budget = {
        name: evaluate_robustness(m, [(x, y)], attack, budgets) for name, m in shown.items()
    }
    grid = torch.linspace(-1.6, 2.6, 150), torch.linspace(-1.2, 1.7, 120)
    return Result(
        x, y, grid, {name: probability_on_grid(model, *grid) for name, model in shown.items()},
        attack_paths(undefended, x, y, eps, seed), budgets,
        {name: r.clean_accuracy for name, r in by_budget.items()},
        {name: r.robust_accuracy["PGD"] for name, r in by_budget.items()}, tuple(train_eps),
        [by_train_eps[e].clean_accuracy for e in train_eps],
        [by_train_eps[e].robust_accuracy["PGD"][0] for e in train_eps], eps, linear_case(seed),
    )  # fmt: skip


def train(data: Toy2D, eps: float, epochs: int, seed: int) -> Any:
    """Train an MLP, against PGD if ``eps`` is not 0."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    model = MLPClassifier(
        (2,), 2, hidden_dims=(64, 64), dropout=0.0, input_dropout=0.0, lr=5e-3, schedule="cosine"
    )
    attack = PGD(eps=eps, steps=5, bounds=None, early_stop=False, seed=seed)
    return fit(model, data, epochs, [AdversarialTraining(attack)] if eps else [])


@torch.no_grad()
def probability_on_grid(model: Any, first: Tensor, second: Tensor) -> Tensor:
    """Return the probability of class 1 on a grid, (len(second), len(first))."""
    points = torch.stack(torch.meshgrid(first, second, indexing="xy"), dim=-1)
    return model.logits(points.flatten(0, 1)).softmax(1)[:, 1].view(len(second), len(first))


def attack_paths(model: Any, x: Tensor, y: Tensor, eps: float, seed: int) -> dict[str, Tensor]:
    """Return the paths of three attacks from points that are classified correctly, but not under
    PGD with budget ε."""
    settings: dict[str, Any] = {"eps": eps, "bounds": None, "seed": seed}
    correct = is_correct(model, x, y)
    broken = correct & ~is_correct(model, PGD(steps=20, **settings)(model, x, y), y)
    order = torch.randperm(int(broken.sum()), generator=make_generator(seed))[:DRAWN_PATHS]
    x, y = x[broken][order], y[broken][order]
    step: dict[str, Any] = {"step_size": eps / 3, "early_stop": False, "random_start": False}
    pgd = [PGD(steps=k, **settings, **step)(model, x, y) for k in range(DRAWN_STEPS + 1)]
    return {
        "FGSM": torch.stack([x, FGSM(eps=eps, bounds=None)(model, x, y)], dim=1),
        "PGD": torch.stack(pgd, dim=1),
        "Carlini-Wagner": torch.stack([x, CarliniWagner(bounds=None)(model, x, y)], dim=1),
    }


def linear_case(seed: int) -> dict[str, tuple[float, float]]:
    """Attack a linear classifier; return accuracies under PGD and the mean distance found by
    Carlini-Wagner, measured and in theory."""
    rng = make_generator(seed)
    layer = nn.Linear(2, 2).double()
    weight = torch.tensor([[0.0, 0.0], [1.5, -0.8]], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor([0.0, 0.2], dtype=torch.float64))
    x = torch.randn(400, 2, dtype=torch.float64, generator=rng)
    margin = x @ weight[1] + 0.2
    y = (margin > 0).long()
    results = {}
    for eps in (0.1, 0.3):
        for norm, dual in (("linf", 1), ("l2", 2)):
            attack = PGD(eps=eps, norm=norm, steps=40, bounds=None)
            theory = float((margin.abs() > eps * weight[1].norm(dual)).double().mean())
            measured = float(is_correct(layer, attack(layer, x, y), y).double().mean())
            label = f"linear, PGD ({norm.capitalize()}, ε = {eps:g}): accuracy"
            results[label] = measured, theory
    x, y, margin = x[:50], y[:50], margin[:50]
    distance = (CarliniWagner(bounds=None, search_steps=8)(layer, x, y) - x).norm(dim=1)
    theory = float((margin.abs() / weight[1].norm()).mean())
    results["linear, Carlini-Wagner: mean L2 distance"] = float(distance.mean()), theory
    return results


def table(result: Result) -> Table:
    """Return the linear case, lengths of the drawn paths, and accuracies by ε of training."""
    rows: list[Row] = [(name, *pair) for name, pair in result.linear.items()]
    for name, paths in result.paths.items():
        distance = (paths[:, -1] - paths[:, 0]).norm(dim=1)
        rows.append((f"{name}: mean L2 distance of the drawn paths", float(distance.mean())))
    accuracies = zip(result.clean_by_train_eps, result.robust_by_train_eps, strict=True)
    for e, (clean, robust) in zip(result.train_eps, accuracies, strict=True):
        rows.append((f"trained at ε = {e:g}: clean accuracy", clean, None,
                     f"under PGD at ε = {result.eps:g}: {robust:.1%}"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw decision boundaries with paths of attacks, and accuracies by ε."""
    figure = new_figure(12, 7.4)
    above, below = subfigures(figure, 2, 1, height_ratios=[1.3, 1])
    for axes, name in zip(above.subplots(1, 2), result.probability, strict=True):
        _draw_boundary(axes, result, name)
    undefended = above.axes[0]
    for color, (name, paths) in zip((COLORS[2], INK, COLORS[7]), result.paths.items(), strict=True):
        for index, path in enumerate(paths):
            undefended.plot(*path.T, "o-", color=color, markersize=2.5, linewidth=1.2,
                            label=None if index else name)  # fmt: skip
    undefended.legend(fontsize=8, loc="lower left")
    by_budget, by_train_eps = below.subplots(1, 2)
    budgets = (0.0, *result.budgets)
    for color, (name, robust) in zip(COLORS, result.robust_accuracy.items(), strict=False):
        accuracy = (result.clean_accuracy[name], *robust)
        by_budget.plot(budgets, accuracy, "o-", color=color, markersize=4, label=name)
    by_budget.set(xlabel="ε of the attack", ylabel="Accuracy under PGD")
    by_train_eps.plot(result.train_eps, result.clean_by_train_eps, "o-", color=COLORS[0],
                      label="clean")  # fmt: skip
    by_train_eps.plot(result.train_eps, result.robust_by_train_eps, "s-", color=COLORS[1],
                      label=f"under PGD at ε = {result.eps:g}")  # fmt: skip
    by_train_eps.set(xlabel="ε of training", ylabel="Accuracy")
    add_grid_and_legend(by_budget, by_train_eps, size=8)
    return figure


def _draw_boundary(axes: Axes, result: Result, name: str) -> None:
    first, second = result.grid
    p = result.probability[name]
    axes.contourf(first, second, p, levels=20, cmap="RdBu", vmin=-0.4, vmax=1.4, alpha=0.6)
    axes.contour(first, second, p, levels=[0.5], colors=INK, linewidths=1.2)
    for label, color in ((0, COLORS[1]), (1, COLORS[0])):
        points = result.x[result.y == label][:150]
        axes.plot(*points.T, "o", color=color, markersize=2.5, alpha=0.7, markeredgewidth=0)
    axes.set_aspect("equal")
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.set_title(sentence_case(name), fontsize=10)
