"""What attacks do: images before and after, accuracy by budget, how attacks carry over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.plots.images import show_image, tile
from zoo.plots.meshes import Drawn, draw_mesh, seen_from
from zoo.plots.style import COLORS, INK, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def adversarial_images(
    x: Tensor,
    x_adv: Tensor,
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    names: Sequence[str],
    title: str,
) -> Figure:
    """Images, what an attack added, and what came of it; below each what the model says.

    Perturbations are drawn around grey and enlarged so that the largest of all spans the whole
    range; the row says by how much.

    Args:
        x, x_adv: (N, C, H, W) in [0, 1], C 1 or 3.
        before, after: predicted classes (N,) and their probabilities (N,) of both.
        names: of the classes.
        title: above.
    """
    delta = (x_adv - x).detach().cpu()
    largest = float(delta.abs().max()) if delta.numel() else 0.0
    factor = 0.5 / largest if largest else 1.0
    rows = [
        ("original", x, before),
        (f"perturbation\n×{factor:.3g}", 0.5 + factor * delta, None),
        ("adversarial", x_adv, after),
    ]
    columns = max(1, len(x))
    figure = new_figure(0.9 * columns + 1.2, 3.9)
    grid = figure.subplots(3, columns, squeeze=False)
    for line, (label, images, said) in zip(grid, rows, strict=True):
        for column, axes in enumerate(line):
            show_image(axes, tile(images[column : column + 1], 1, 0))
            if said is None:
                continue
            predicted, sure = int(said[0][column]), float(said[1][column])
            changed = label == "adversarial" and predicted != int(before[0][column])
            color = COLORS[1] if changed else INK
            axes.set_xlabel(f"{names[predicted]} {sure:.0%}", fontsize=8, color=color, labelpad=2)
        line[0].set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=10)
    return figure


def robustness_curves(
    eps: Sequence[float],
    clean: float,
    accuracy: Mapping[str, Sequence[float]],
    title: str,
    unit: str = "",
    chance: float | None = None,
) -> Figure:
    """Accuracy under attacks by budget, from that without one at ε = 0.

    Args:
        eps: budgets, rising.
        clean: accuracy without an attack.
        accuracy: by the name of an attack, one for each budget.
        title: above.
        unit: what ε is measured in.
        chance: accuracy of guessing; a dotted line.
    """
    figure = new_figure(6, 3.8)
    axes = figure.subplots()
    start = [] if eps and eps[0] == 0 else [0.0]
    for index, (name, values) in enumerate(accuracy.items()):
        axes.plot(
            [*start, *eps], [*([clean] if start else []), *values], label=name, markersize=4,
            color=COLORS[index % len(COLORS)], marker=MARKERS[index % len(MARKERS)],
        )  # fmt: skip
    if chance is not None:
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=":", label="chance")
    axes.set(xlabel=f"ε{', ' + unit if unit else ''}", ylabel="accuracy", ylim=(-0.02, 1.02))
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(frameon=False)
    return figure


def robust_training(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    eps: Sequence[float],
    accuracy: Mapping[str, Sequence[float]],
    trained_at: float,
    title: str,
) -> Figure:
    """How accuracy without and under an attack grows in training, and what is left at each ε.

    Args:
        curves: by training, accuracy after each epoch without and under the attack.
        eps: budgets, rising, from 0.
        accuracy: by training, one for each budget.
        trained_at: ε of the attack in training; a dotted line.
        title: above.
    """
    figure = new_figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    for index, (name, (clean, robust)) in enumerate(curves.items()):
        color, epochs = COLORS[index % len(COLORS)], range(1, len(clean) + 1)
        left.plot(epochs, clean, color=color, label=f"{name}, clean")
        left.plot(epochs, robust, color=color, linestyle="--", label=f"{name}, attacked")
    for index, (name, values) in enumerate(accuracy.items()):
        right.plot(eps, values, color=COLORS[index % len(COLORS)], marker=MARKERS[index],
                   markersize=4, label=name)  # fmt: skip
    right.axvline(trained_at, color=INK, linewidth=0.8, linestyle=":", label="ε of training")
    left.set(xlabel="epoch", ylabel="validation accuracy", ylim=(-0.02, 1.02))
    right.set(xlabel="ε, pixels in [0, 1]", ylabel="test accuracy", ylim=(-0.02, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def transfer_matrix(accuracy: Tensor, names: Sequence[str], title: str) -> Figure:
    """Accuracy of each model (across) on samples that were made for each (down).

    Args:
        accuracy: (M, M) in [0, 1].
        names: of the models.
        title: above.
    """
    values = np.asarray(accuracy.detach().cpu())
    side = 2.2 + 0.75 * len(names)
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            color = "white" if values[row, column] > 0.5 else INK
            axes.text(column, row, f"{values[row, column]:.1%}", ha="center", va="center",
                      size=8, color=color)  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="attacked with them", ylabel="made for")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label="accuracy", shrink=0.8)
    return figure


def displaced_meshes(
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    faces: Sequence[Tensor],
    said_before: Sequence[str],
    said_after: Sequence[str],
    fooled: Sequence[bool],
    title: str,
) -> Figure:
    """Meshes above, what became of them below, coloured by how far each vertex went.

    Args:
        before, after: vertices of each mesh, (V, 3).
        faces: (F, 3) each.
        said_before, said_after: what the model says of them.
        fooled: which of the latter are red.
        title: above.
    """
    columns = len(before)
    ways = [(new - old).norm(dim=1).detach().cpu() for old, new in zip(before, after, strict=True)]
    longest = max(float(way.max()) for way in ways)
    figure = new_figure(2.1 * columns + 1.0, 4.9)
    grid = figure.subplots(2, columns, squeeze=False)
    turn = seen_from(-60.0, 20.0)
    for i in range(columns):
        old, new = before[i].detach().cpu(), after[i].detach().cpu()
        middle = (old.amax(0) + old.amin(0)) / 2
        reach = 1.05 * float((old - middle).norm(dim=1).max())
        corners = faces[i].cpu()
        draw_mesh(grid[0, i], Drawn(old - middle, corners), reach, turn)
        moved = Drawn(new - middle, corners, ways[i], limits=(0.0, longest))
        draw_mesh(grid[1, i], moved, reach, turn)
        _say(grid[:, i], said_before[i], said_after[i], fooled[i])
    _way_bar(figure, grid, longest)
    figure.suptitle(title, fontsize=10)
    return figure


def displaced_clouds(
    before: Tensor,
    after: Tensor,
    said_before: Sequence[str],
    said_after: Sequence[str],
    fooled: Sequence[bool],
    title: str,
) -> Figure:
    """Clouds above, what became of them below, each point coloured by how far it went.

    Args:
        before, after: (B, N, 3), the third axis upwards.
        said_before, said_after: what the model says of them.
        fooled: which of the latter are red.
        title: above.
    """
    before, after = before.detach().cpu(), after.detach().cpu()
    ways = (after - before).norm(dim=2)
    longest, columns = float(ways.max()), len(before)
    figure = new_figure(2.1 * columns + 1.0, 4.9)
    grid = np.empty((2, columns), dtype=object)
    for i in range(columns):
        reach = float(before[i].abs().max())
        for row, points in enumerate((before[i], after[i])):
            axes = figure.add_subplot(2, columns, row * columns + i + 1, projection="3d")
            grid[row, i] = axes
            values = ways[i] if row else torch.zeros(len(points))
            axes.scatter(*points.numpy().T, s=5, c=values.numpy(), cmap="viridis", vmin=0,
                         vmax=longest or 1.0, linewidths=0)  # fmt: skip
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
            axes.set_box_aspect((1, 1, 1), zoom=1.2)
            axes.view_init(elev=20, azim=-60)
            axes.set_axis_off()
        _say(grid[:, i], said_before[i], said_after[i], fooled[i])
    _way_bar(figure, grid, longest)
    figure.suptitle(title, fontsize=10)
    return figure


def _say(axes: np.ndarray[Any, Any], before: str, after: str, fooled: bool) -> None:
    """What the model says, above both pictures."""
    axes[0].set_title(before, fontsize=8)
    axes[1].set_title(after, fontsize=8, color="#CC0000" if fooled else INK)


def _way_bar(figure: Figure, axes: np.ndarray[Any, Any], longest: float) -> None:
    """The colours of ways from 0 to the longest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = ScalarMappable(Normalize(0, longest or 1.0), "viridis")
    figure.colorbar(bar, ax=axes.ravel().tolist(), label="way", shrink=0.5, pad=0.02)


def flipped_edges(
    places: Tensor,
    pairs: Tensor,
    flips: Tensor,
    labels: Tensor,
    lost: Tensor,
    names: Sequence[str],
    title: str,
) -> Figure:
    """A graph with the edges that an attack added and took away, and the nodes that it cost.

    Args:
        places: of the nodes, (N, 2).
        pairs: edges of the graph as it was, (2, P), the smaller node first.
        flips: pairs that were flipped, (2, F), the same way.
        labels: true classes, (N,).
        lost: nodes that the model now takes for something else, boolean (N,).
        names: of the classes.
        title: above.
    """
    from matplotlib.collections import LineCollection

    count = len(places)
    gone = torch.isin(flips[0] * count + flips[1], pairs[0] * count + pairs[1])
    many = count > 200
    figure = new_figure(7.6, 5.6)
    axes = figure.subplots()
    for edges, color, width, label, style in (
        (pairs, "#CCCCCC", 0.3 if many else 0.8, None, "-"),
        (flips[:, gone], "#0077BB", 0.8 if many else 1.6, f"taken away: {int(gone.sum())}", "--"),
        (flips[:, ~gone], "#CC3311", 0.5 if many else 1.4, f"added: {int((~gone).sum())}", "-"),
    ):
        lines = LineCollection(list(places[edges.T].numpy()), colors=color, linewidths=width,
                               linestyles=style, zorder=1, label=label)  # fmt: skip
        axes.add_collection(lines)
    size = 8 if many else 60
    for k, name in enumerate(names):
        x, y = places[labels == k].T.numpy()
        axes.scatter(x, y, s=size, color=COLORS[k % len(COLORS)], linewidths=0, zorder=2,
                     label=name)  # fmt: skip
    x, y = places[lost].T.numpy()
    axes.scatter(x, y, s=2.5 * size, facecolors="none", edgecolors="black", linewidths=0.9,
                 zorder=3, label=f"lost: {int(lost.sum())}")  # fmt: skip
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def universal_perturbation(delta: Tensor, x: Tensor, x_adv: Tensor, title: str) -> Figure:
    """One perturbation, enlarged around grey, and images without and with it.

    Args:
        delta: (1, C, H, W).
        x, x_adv: (N, C, H, W) in [0, 1].
        title: above.
    """
    delta = delta.detach().cpu()
    largest = float(delta.abs().max())
    factor = 0.5 / largest if largest else 1.0
    columns = len(x)
    figure = new_figure(0.7 * columns + 2.4, 2.2)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 0.7 * columns])
    show_image(left, tile(0.5 + factor * delta, 1, 0))
    left.set_xlabel(f"δ ×{factor:.3g}", fontsize=9)
    show_image(right, tile(torch.cat([x, x_adv]).cpu(), columns))
    right.set_xlabel("images, above without δ, below with it", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure
