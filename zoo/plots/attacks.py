"""Adversarial samples, and accuracy under attack by budget, epoch and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.plots.classification import draw_matrix
from zoo.plots.images import show_image, tile
from zoo.plots.meshes import Mesh, centered, draw_mesh, view_rotation
from zoo.plots.points import frame_point_cloud
from zoo.plots.style import (
    COLORS,
    ERROR_COLOR,
    INK,
    LABEL_SIZE,
    MARKERS,
    TICK_SIZE,
    Array,
    add_colorbar,
    add_grid_and_legend,
    label_panel,
    new_figure,
    new_panels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def adversarial_images(
    x: Tensor,
    x_adv: Tensor,
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw images, perturbations and adversarial images in three rows, with the predictions.

    Perturbations are drawn around mid-gray. One factor, given in the row's label, scales all of
    them so that the largest value spans the whole range.

    Args:
        x, x_adv: original and adversarial images, (N, C, H, W) in [0, 1], C 1 or 3.
        before: predicted classes (N,) of ``x`` and their probabilities (N,).
        after: predicted classes (N,) of ``x_adv`` and their probabilities (N,).
        class_names: names of the classes.
        title: figure title.
    """
    perturbation, factor = _amplified(x_adv - x)
    rows = [
        ("Original", x, before),
        (f"Perturbation\n×{factor:.3g}", perturbation, None),
        ("Adversarial", x_adv, after),
    ]
    columns = max(1, len(x))
    figure = new_figure(0.9 * columns + 1.2, 3.9, title)
    panels = new_panels(figure, len(rows), columns)
    for line, (label, images, prediction) in zip(panels, rows, strict=True):
        for column, axes in enumerate(line):
            show_image(axes, tile(images[column : column + 1], 1))
            if prediction is None:
                continue
            predicted, probability = int(prediction[0][column]), float(prediction[1][column])
            changed = prediction is after and predicted != int(before[0][column])
            text = f"{class_names[predicted]} {probability:.0%}"
            color = ERROR_COLOR if changed else INK
            axes.set_xlabel(text, fontsize=TICK_SIZE, color=color, labelpad=2)
        line[0].set_ylabel(label, fontsize=LABEL_SIZE, rotation=0, ha="right", va="center")
    return figure


def universal_perturbation(delta: Tensor, x: Tensor, x_adv: Tensor, title: str) -> Figure:
    """Draw one perturbation, amplified around mid-gray, and images without and with it.

    Args:
        delta: the perturbation, (1, C, H, W).
        x, x_adv: original and adversarial images, (N, C, H, W) in [0, 1], C 1 or 3.
        title: figure title.
    """
    perturbation, factor = _amplified(delta)
    columns = len(x)
    figure = new_figure(0.7 * columns + 2.4, 2.2, title)
    left, right = new_panels(figure, 1, 2, width_ratios=[1.5, 0.7 * columns]).flat
    show_image(left, tile(perturbation, 1))
    show_image(right, tile(torch.cat([x, x_adv]).cpu(), columns))
    label_panel(left, xlabel=f"δ ×{factor:.3g}")
    label_panel(right, xlabel="Images without δ (above) and with δ (below)")
    return figure


def _amplified(delta: Tensor) -> tuple[Tensor, float]:
    """Return perturbations as images in [0, 1] around mid-gray, and the factor that scales them."""
    delta = delta.detach().cpu()
    largest = float(delta.abs().max()) if delta.numel() else 0.0
    factor = 0.5 / largest if largest else 1.0
    return 0.5 + factor * delta, factor


def robustness_curves(
    eps: Sequence[float],
    clean: float,
    accuracy: Mapping[str, Sequence[float]],
    title: str,
    unit: str = "",
    chance: float | None = None,
) -> Figure:
    """Draw accuracy under several attacks by budget, starting from clean accuracy at ε = 0.

    Args:
        eps: budgets ε, ascending.
        clean: accuracy without an attack.
        accuracy: name of each attack → accuracy at each budget.
        title: figure title.
        unit: unit of ε, default none.
        chance: accuracy of guessing, drawn as a dotted line; default none.
    """
    figure = new_figure(6, 3.8, title)
    axes = figure.subplots()
    needs_clean = not (eps and eps[0] == 0)
    for index, (name, values) in enumerate(accuracy.items()):
        x, y = ([0.0, *eps], [clean, *values]) if needs_clean else (eps, values)
        axes.plot(x, y, label=name, markersize=4, **_line_style(index))
    if chance is not None:
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=":", label="Chance")
    axes.set_ylim(-0.02, 1.02)
    label_panel(axes, xlabel=f"ε ({unit})" if unit else "ε", ylabel="Accuracy")
    add_grid_and_legend(axes, size=LABEL_SIZE)
    return figure


def robust_training(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    eps: Sequence[float],
    accuracy: Mapping[str, Sequence[float]],
    trained_at: float,
    title: str,
) -> Figure:
    """Draw clean and robust accuracy by epoch, and final accuracy by budget.

    Args:
        curves: name of each training method → clean and robust accuracy after each epoch.
        eps: budgets ε, ascending from 0.
        accuracy: name of each training method → final accuracy at each budget.
        trained_at: ε of the attack during training, drawn as a dotted line.
        title: figure title.
    """
    figure = new_figure(9, 3.6, title)
    left, right = new_panels(figure, 1, 2).flat
    for index, (name, (clean, robust)) in enumerate(curves.items()):
        color, epochs = COLORS[index % len(COLORS)], range(1, len(clean) + 1)
        left.plot(epochs, clean, color=color, label=f"{name}, clean")
        left.plot(epochs, robust, color=color, linestyle="--", label=f"{name}, attacked")
    for index, (name, values) in enumerate(accuracy.items()):
        right.plot(eps, values, markersize=4, label=name, **_line_style(index))
    right.axvline(trained_at, color=INK, linewidth=0.8, linestyle=":", label="ε during training")
    for axes in (left, right):
        axes.set_ylim(-0.02, 1.02)
    left.locator_params(axis="x", integer=True)
    label_panel(left, xlabel="Epoch", ylabel="Validation accuracy")
    label_panel(right, xlabel="ε (pixels in [0, 1])", ylabel="Test accuracy")
    add_grid_and_legend(left, right, size=TICK_SIZE)
    return figure


def _line_style(index: int) -> dict[str, Any]:
    """Return the color and marker of the curve with this index."""
    return {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)]}


def transfer_matrix(accuracy: Tensor, model_names: Sequence[str], title: str) -> Figure:
    """Draw the accuracy of each model (across) under attacks on each model (down).

    Args:
        accuracy: (M, M) in [0, 1]; rows are source models, columns target models.
        model_names: names of the M models.
        title: figure title.
    """
    values = np.asarray(accuracy.detach().cpu())
    size = 2.2 + 0.75 * len(model_names)
    figure = new_figure(size + 0.9, size, title)
    axes = figure.subplots()
    image = draw_matrix(axes, values, [[f"{value:.1%}" for value in row] for row in values])
    label_panel(axes, xlabel="Target model", ylabel="Source model")
    axes.set_xticks(range(len(model_names)), model_names, rotation=30, ha="right")
    axes.set_yticks(range(len(model_names)), model_names)
    add_colorbar(figure, image, axes, "Accuracy")
    return figure


def displaced_meshes(
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    faces: Sequence[Tensor],
    titles_before: Sequence[str],
    titles_after: Sequence[str],
    fooled: Sequence[bool],
    title: str,
) -> Figure:
    """Draw meshes before and, below, after an attack; colors give each vertex's displacement.

    Args:
        before, after: vertices of each mesh, (V, 3), the third axis upward.
        faces: vertex indices of each mesh's triangles, (F, 3).
        titles_before, titles_after: a title for each mesh, such as its predicted class.
        fooled: whether the prediction of each mesh has changed, which makes its title red.
        title: figure title.
    """
    displacements = [
        (new - old).norm(dim=1).detach().cpu() for old, new in zip(before, after, strict=True)
    ]
    largest = max(float(displacement.max()) for displacement in displacements)
    figure, panels = _before_and_after(len(before), title)
    view = view_rotation(-60.0, 20.0)
    for i, displacement in enumerate(displacements):
        old, offset = centered(before[i].detach().cpu())
        half_width = 1.05 * float(old.norm(dim=1).max())
        moved = after[i].detach().cpu() - offset
        draw_mesh(panels[0, i], Mesh(old, faces[i].cpu()), half_width, view)
        colored = Mesh(moved, faces[i].cpu(), displacement, limits=(0.0, largest))
        draw_mesh(panels[1, i], colored, half_width, view)
        label_panel(panels[0, i], titles_before[i], size=TICK_SIZE)
        label_panel(panels[1, i], titles_after[i], size=TICK_SIZE, is_error=fooled[i])
    _add_displacement_bar(figure, panels, largest)
    return figure


def displaced_point_clouds(
    before: Tensor,
    after: Tensor,
    titles_before: Sequence[str],
    titles_after: Sequence[str],
    fooled: Sequence[bool],
    title: str,
) -> Figure:
    """Draw point clouds before and, below, after an attack; colors give each point's displacement.

    Args:
        before, after: coordinates, (B, N, 3), the third axis upward.
        titles_before, titles_after: a title for each point cloud, such as its predicted class.
        fooled: whether the prediction of each point cloud has changed, which makes its title red.
        title: figure title.
    """
    before, after = before.detach().cpu(), after.detach().cpu()
    displacements = (after - before).norm(dim=2)
    largest = float(displacements.max())
    figure, panels = _before_and_after(len(before), title, subplot_kw={"projection": "3d"})
    for i, displacement in enumerate(displacements):
        half_width = float(before[i].abs().max())
        values = (torch.zeros_like(displacement), displacement)
        for axes, points, colors in zip(panels[:, i], (before[i], after[i]), values, strict=True):
            axes.scatter(*points.numpy().T, s=5, c=colors.numpy(), cmap="viridis", vmin=0,
                         vmax=largest or 1.0, linewidths=0)  # fmt: skip
            frame_point_cloud(axes, half_width)
        label_panel(panels[0, i], titles_before[i], size=TICK_SIZE)
        label_panel(panels[1, i], titles_after[i], size=TICK_SIZE, is_error=fooled[i])
    _add_displacement_bar(figure, panels, largest)
    return figure


def _before_and_after(columns: int, title: str, **options: Any) -> tuple[Figure, Array]:
    """Create a figure with a row of panels before an attack, and one after it."""
    figure = new_figure(2.1 * columns + 1.0, 4.9, title)
    return figure, new_panels(figure, 2, columns, **options)


def _add_displacement_bar(figure: Figure, panels: Array, largest: float) -> None:
    """Add a color bar of displacements from 0 to the largest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mappable = ScalarMappable(Normalize(0, largest or 1.0), "viridis")
    add_colorbar(figure, mappable, panels, "Displacement")
