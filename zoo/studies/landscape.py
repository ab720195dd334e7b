"""The loss around a trained network, along directions that scale cannot disguise.

A ReLU network computes the same when a layer's weights are multiplied by c and the next one's
divided by c, but the same random directions then show another surface: flat or sharp as one likes.
Filter-normalised directions, d_f ← d_f ‖w_f‖/‖d_f‖ for the incoming weights w_f of each unit and
nothing along biases, show the same surface for both. The last panel has the plane of the two
directions that training moved along most (principal components of its way).

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
from zoo.plots.style import COLORS, INK, new_figure, subfigures
from zoo.studies.base import Table, fit, generator, require
from zoo.studies.loss_slices import (
    Losses,
    Weights,
    filter_normalized,
    matrix_norm,
    rescaled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SURFACES = ("the network, random directions", "rescaled, the same directions",
            "the network, filter-normalised", "rescaled, filter-normalised")  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Losses on grids (steps, steps): around the network and its rescaled twin, and in the plane
    of the way, with the way in its coordinates (moments, 2)."""

    reach: float
    surfaces: dict[str, Tensor]
    loss: float
    curvature: dict[str, float]
    outputs_differ: float
    surfaces_differ: dict[str, float]
    plane: Tensor
    axes: tuple[Tensor, Tensor]
    way: Tensor
    explained: float


class Recorder(Callback):
    """Keeps the weights before training and after every few batches."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.moments: list[Weights] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.keep(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.keep(pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.keep(pl_module)

    def keep(self, model: Any) -> None:
        self.moments.append({k: v.detach().clone() for k, v in model.network.named_parameters()})


def run(
    steps: int = 25, epochs: int = 10, hidden: int = 32, scale: float = 8.0, reach: float = 1.0,
    seed: int = 0,
) -> Result:  # fmt: skip
    """Trains an MLP on digits and walks around it.

    Args:
        steps: of each grid along an axis, odd, so that its middle is the network.
        epochs: of training.
        hidden: units of the two hidden layers.
        scale: c, by which the twin's first layer is multiplied and its second divided.
        reach: of the grids around the network, in lengths of a filter.
        seed: of the training and the directions.
    """
    require(steps >= 5 and steps % 2 == 1, f"steps must be odd and at least 5, got {steps}")
    require(scale > 0 and reach > 0, "scale and reach must be positive")
    require(epochs >= 1 and hidden >= 1, "epochs and hidden must be at least 1")
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(hidden, hidden), dropout=0.0, input_dropout=0.0,
        optimizer="sgd", lr=0.05,
    )  # fmt: skip
    recorder = Recorder(every=5)
    fit(model, data, epochs, [recorder])
    network = model.network.double()
    x, y = data.evaluation_samples("train")
    loss = Losses(network, x.double(), y)
    trained = {k: v.detach() for k, v in network.named_parameters()}
    twin = rescaled(trained, scale)
    random = generator(seed)
    pair = [{k: torch.randn(v.shape, generator=random, dtype=v.dtype) for k, v in trained.items()}
            for _ in range(2)]  # fmt: skip
    ticks = reach * torch.linspace(-1, 1, steps, dtype=torch.float64)
    length = matrix_norm(trained) / matrix_norm(pair[0])
    raw = [{k: length * v * (v.ndim > 1) for k, v in d.items()} for d in pair]
    surfaces = {
        name: loss.grid(weights, directions, ticks, ticks)
        for name, weights, directions in zip(
            SURFACES, (trained, twin) * 2,
            (raw, raw, [filter_normalized(d, trained) for d in pair],
             [filter_normalized(d, twin) for d in pair]), strict=True,
        )
    }  # fmt: skip
    with torch.no_grad():
        differ = (loss.outputs(trained) - loss.outputs(twin)).abs().max()
    pairs = {"random": SURFACES[:2], "filter-normalised": SURFACES[2:]}
    return Result(
        reach, surfaces, float(loss(trained)),
        {name: curvature(surface, ticks) for name, surface in surfaces.items()}, float(differ),
        {name: float((surfaces[a] - surfaces[b]).abs().max()) for name, (a, b) in pairs.items()},
        *plane_of_way(loss, recorder.moments, trained, steps),
    )  # fmt: skip


def curvature(surface: Tensor, ticks: Tensor) -> float:
    """Second difference along the first axis at the middle."""
    middle = len(ticks) // 2
    line = surface[middle]
    step = float(ticks[1] - ticks[0])
    return float(line[middle + 1] - 2 * line[middle] + line[middle - 1]) / step**2


def plane_of_way(
    loss: Losses, moments: list[Weights], end: Weights, steps: int
) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, float]:
    """Losses in the plane of the way's two principal components around its end, the coordinates of
    both axes, the way in them, and its share of the squared way that lies in the plane."""
    shapes = {k: v.shape for k, v in end.items()}
    flat = torch.stack([torch.cat([v.double().flatten() for v in m.values()]) for m in moments])
    away = flat - torch.cat([v.flatten() for v in end.values()])
    _, values, components = torch.linalg.svd(away, full_matrices=False)
    way = away @ components[:2].mT  # (moments, 2)
    low, high = way.min(0).values, way.max(0).values
    margin = 0.25 * (high - low).max()
    first, second = (
        torch.linspace(float(a - margin), float(b + margin), steps, dtype=torch.float64)
        for a, b in zip(low, high, strict=True)
    )
    directions = []
    for component in components[:2]:
        parts = component.split([shape.numel() for shape in shapes.values()])
        directions.append({k: p.view(s) for (k, s), p in zip(shapes.items(), parts, strict=True)})
    share = float(values[:2].square().sum() / values.square().sum())
    return loss.grid(end, directions, first, second), (first, second), way, share


def table(result: Result) -> Table:
    middle = {name: float(s[len(s) // 2, len(s) // 2]) for name, s in result.surfaces.items()}
    rows: list[tuple[str | float | None, ...]] = [
        ("outputs of the rescaled network: largest difference", result.outputs_differ, 0),
        ("its surface, random directions: largest difference", result.surfaces_differ["random"]),
        ("its surface, filter-normalised: largest difference",
         result.surfaces_differ["filter-normalised"], 0),
    ]  # fmt: skip
    rows += [(f"loss in the middle: {name}", value, result.loss) for name, value in middle.items()]
    rows += [(f"curvature: {name}", value) for name, value in result.curvature.items()]
    rows.append(("share of training's way in the plane of two directions", result.explained))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(11.5, 6)
    left, right = subfigures(figure, 1, 2, width_ratios=[1.25, 1])
    ticks = torch.linspace(-result.reach, result.reach, len(result.plane))
    for axes, (name, surface) in zip(
        left.subplots(2, 2, sharex=True, sharey=True).flat, result.surfaces.items(), strict=True
    ):
        _surface(axes, ticks, ticks, surface)
        axes.plot(0, 0, "*", color=INK, markersize=8)
        axes.set_title(name, fontsize=9)
    axes = right.subplots()
    _surface(axes, *result.axes, result.plane)
    axes.plot(*result.way.T, "o-", color=COLORS[1], markersize=3, linewidth=1)
    axes.plot(*result.way[-1], "*", color=INK, markersize=10)
    axes.set_title(f"training's way: {result.explained:.0%} of it in this plane", fontsize=9)
    figure.suptitle("Training loss, logarithmic scale", fontsize=11)
    return figure


def _surface(axes: Axes, first: Tensor, second: Tensor, losses: Tensor) -> None:
    values = losses.clamp(min=1e-6).log10()
    image = axes.contourf(first, second, values, levels=18, cmap="viridis")
    levels = np.asarray(image.levels)[::3]
    lines = axes.contour(first, second, values, levels=levels, colors="white", linewidths=0.5)
    axes.clabel(lines, fmt=lambda v: f"{10**v:.2g}", fontsize=6)
