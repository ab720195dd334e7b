"""What attacks do: images before and after, accuracy by budget, how attacks carry over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.plots.images import show_image, tile
from zoo.plots.style import COLOURS, INK, MARKERS, new_figure

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
            colour = COLOURS[1] if changed else INK
            axes.set_xlabel(f"{names[predicted]} {sure:.0%}", fontsize=8, color=colour, labelpad=2)
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
            color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)],
        )  # fmt: skip
    if chance is not None:
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=":", label="chance")
    axes.set(xlabel=f"ε{', ' + unit if unit else ''}", ylabel="accuracy", ylim=(-0.02, 1.02))
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(frameon=False)
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
            colour = "white" if values[row, column] > 0.5 else INK
            axes.text(column, row, f"{values[row, column]:.1%}", ha="center", va="center",
                      size=8, color=colour)  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="attacked with them", ylabel="made for")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label="accuracy", shrink=0.8)
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
