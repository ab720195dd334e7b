"""The loss surface around a trained network, with filter-normalized directions.

Do flat minima look flat, and sharp ones sharp? Multiplying one layer of a ReLU network by c and
dividing the next layer by c leaves its function unchanged. Along the same random directions,
however, the rescaled network has a different loss surface, which can look as flat or as sharp as
one likes. Filter normalization removes this effect: d_f ← d_f ‖w_f‖/‖d_f‖, where w_f are the
incoming weights of unit f, and zero for biases. With it, both networks have the same surface.

The last panel shows the training path in the plane that contains most of it, spanned by its first
two principal components.

Source: Li et al., Visualizing the loss landscape of neural nets, 2018, sections 3 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor

from datamodules import Digits
from zoo.errors import InputError, check_at_least, check_integer, check_positive
from zoo.plots.style import COLORS, INK, new_figure, subfigures
from zoo.studies.base import Row, Table, fit, make_generator
from zoo.studies.loss_surface import (
    LossSurface,
    Weights,
    filter_normalized,
    matrix_norm,
    rescale_layers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SURFACES = ("original, random directions", "rescaled, same directions",
            "original, filter-normalized", "rescaled, filter-normalized")  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Losses on grids (grid_size, grid_size): around the network and its rescaled copy, and in the
    plane of the training path; coordinates of the path in that plane."""

    radius: float
    surfaces: dict[str, Tensor]
    loss: float
    curvature: dict[str, float]
    output_difference: float  # largest, between the network and its rescaled copy
    surface_difference: dict[str, float]  # largest difference of losses, by kind of direction
    path_plane: Tensor
    plane_axes: tuple[Tensor, Tensor]
    path: Tensor  # (snapshots, 2)
    explained: float  # fraction of squared distances from the end within the plane


class WeightRecorder(Callback):
    """Callback that records a network's weights before, during and after training.

    Args:
        every: number of optimizer steps between two snapshots.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.snapshots: list[Weights] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._record(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._record(pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._record(pl_module)

    def _record(self, model: Any) -> None:
        weights = {name: w.detach().clone() for name, w in model.network.named_parameters()}
        self.snapshots.append(weights)


def run(
    grid_size: int = 25, epochs: int = 10, hidden_dim: int = 32, scale: float = 8.0,
    radius: float = 1.0, seed: int = 0,
) -> Result:  # fmt: skip
    """Train an MLP on digits and compute slices through its loss surface.

    Args:
        grid_size: grid points along each axis, odd and at least 5; the middle one is the network.
        epochs: training epochs.
        hidden_dim: units of each of the two hidden layers.
        scale: factor c by which the first layer of the copy is multiplied, and its second divided.
        radius: half the side of the grids around the network, relative to the norm of its weights.
        seed: random seed of the training and of the directions.
    """
    check_integer(grid_size=grid_size)
    if grid_size < 5 or grid_size % 2 == 0:
        raise InputError(f"grid_size must be odd and at least 5, got {grid_size}")
    check_positive(scale=scale, radius=radius)
    check_at_least(1, epochs=epochs, hidden_dim=hidden_dim)
    loss, snapshots = train(hidden_dim, epochs, seed)
    original = {name: w.detach() for name, w in loss.network.named_parameters()}
    rescaled = rescale_layers(original, scale)
    rng = make_generator(seed)
    pair = [
        {name: torch.randn(w.shape, generator=rng, dtype=w.dtype) for name, w in original.items()}
        for _ in range(2)
    ]
    ticks = radius * torch.linspace(-1, 1, grid_size, dtype=torch.float64)
    norm = matrix_norm(original) / matrix_norm(pair[0])
    raw = [{name: norm * v * (v.ndim > 1) for name, v in d.items()} for d in pair]
    surfaces = {
        name: loss.on_grid(weights, directions, ticks, ticks)
        for name, weights, directions in zip(
            SURFACES, (original, rescaled) * 2,
            (raw, raw, [filter_normalized(d, original) for d in pair],
             [filter_normalized(d, rescaled) for d in pair]), strict=True,
        )
    }  # fmt: skip
    with torch.no_grad():
        output_difference = (loss.logits(original) - loss.logits(rescaled)).abs().max()
    kinds = {"random": SURFACES[:2], "filter-normalized": SURFACES[2:]}
    return Result(
        radius, surfaces, float(loss(original)),
        {name: center_curvature(surface, ticks) for name, surface in surfaces.items()},
        float(output_difference),
        {kind: float((surfaces[a] - surfaces[b]).abs().max()) for kind, (a, b) in kinds.items()},
        *plane_of_path(loss, snapshots, original, grid_size),
    )  # fmt: skip


def train(hidden_dim: int, epochs: int, seed: int) -> tuple[LossSurface, list[Weights]]:
    """Train an MLP with two hidden layers on digits.

    Returns:
        The training loss as a function of the weights, with the trained network in float64; the
        weights before, during and after training.
    """
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(hidden_dim, hidden_dim), dropout=0.0, input_dropout=0.0,
        optimizer="sgd", lr=0.05,
    )  # fmt: skip
    recorder = WeightRecorder(every=5)
    fit(model, data, epochs, [recorder])
    x, y = data.evaluation_samples("train")
    return LossSurface(model.network.double(), x.double(), y), recorder.snapshots


def center_curvature(surface: Tensor, ticks: Tensor) -> float:
    """Return the second derivative along the first axis at the center, by finite differences."""
    center = len(ticks) // 2
    line = surface[center]
    step = float(ticks[1] - ticks[0])
    return float(line[center + 1] - 2 * line[center] + line[center - 1]) / step**2


def plane_of_path(
    loss: LossSurface, snapshots: list[Weights], end: Weights, grid_size: int
) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, float]:
    """Project the training path onto the plane of its first two principal components.

    Args:
        loss: the loss as a function of the weights.
        snapshots: weights along the path.
        end: the trained weights, the origin of the plane.
        grid_size: grid points along each axis.

    Returns:
        Losses on a grid in the plane, coordinates of its two axes, coordinates of the path, and the
        fraction of the squared distances from the end that lies in the plane.
    """
    flat = torch.stack([torch.cat([w.double().flatten() for w in s.values()]) for s in snapshots])
    offsets = flat - torch.cat([w.flatten() for w in end.values()])
    _, values, components = torch.linalg.svd(offsets, full_matrices=False)
    path = offsets @ components[:2].mT  # (snapshots, 2)
    low, high = path.min(0).values, path.max(0).values
    margin = 0.25 * (high - low).max()
    first, second = (
        torch.linspace(float(a - margin), float(b + margin), grid_size, dtype=torch.float64)
        for a, b in zip(low, high, strict=True)
    )
    directions = []
    for component in components[:2]:
        split = component.split([w.numel() for w in end.values()])
        directions.append({
            name: part.view(w.shape) for (name, w), part in zip(end.items(), split, strict=True)
        })  # fmt: skip
    explained = float(values[:2].square().sum() / values.square().sum())
    return loss.on_grid(end, directions, first, second), (first, second), path, explained


def table(result: Result) -> Table:
    """Return differences between the network and its rescaled copy, and curvatures."""
    differences = result.surface_difference
    rows: list[Row] = [
        ("rescaled network, outputs: largest difference", result.output_difference, 0),
        ("rescaled network, loss in random directions: largest difference", differences["random"]),
        ("rescaled network, loss in filter-normalized directions: largest difference",
         differences["filter-normalized"], 0),
    ]  # fmt: skip
    for name, surface in result.surfaces.items():
        center = float(surface[len(surface) // 2, len(surface) // 2])
        rows.append((f"loss at the center: {name}", center, result.loss))
    rows += [(f"curvature: {name}", value) for name, value in result.curvature.items()]
    rows.append(("training path: fraction explained by two principal components", result.explained))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the four loss surfaces, and the training path on the loss in its plane."""
    figure = new_figure(11.5, 6)
    left, right = subfigures(figure, 1, 2, width_ratios=[1.25, 1])
    ticks = torch.linspace(-result.radius, result.radius, len(result.path_plane))
    grid = left.subplots(2, 2, sharex=True, sharey=True)
    for axes, (name, surface) in zip(grid.flat, result.surfaces.items(), strict=True):
        _draw_surface(axes, ticks, ticks, surface)
        axes.plot(0, 0, "*", color=INK, markersize=8)
        axes.set_title(name.capitalize(), fontsize=9)
    left.supxlabel("First direction", fontsize=9)
    left.supylabel("Second direction", fontsize=9)
    axes = right.subplots()
    _draw_surface(axes, *result.plane_axes, result.path_plane)
    axes.plot(*result.path.T, "o-", color=COLORS[1], markersize=3, linewidth=1)
    axes.plot(*result.path[-1], "*", color=INK, markersize=10)
    axes.set(xlabel="First principal component", ylabel="Second principal component")
    axes.set_title(f"Training path ({result.explained:.0%} in this plane)", fontsize=9)
    figure.suptitle("Training loss (logarithmic scale)", fontsize=11)
    return figure


def _draw_surface(axes: Axes, first: Tensor, second: Tensor, losses: Tensor) -> None:
    values = losses.clamp(min=1e-6).log10()
    image = axes.contourf(first, second, values, levels=18, cmap="viridis")
    levels = np.asarray(image.levels)[::3]
    lines = axes.contour(first, second, values, levels=levels, colors="white", linewidths=0.5)
    axes.clabel(lines, fmt=lambda v: f"{10**v:.2g}", fontsize=6)
