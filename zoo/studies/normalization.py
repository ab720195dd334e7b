"""Normalization layers: what they average over, and their effect on training.

How do batch, layer, instance and group normalization differ? Each computes
(x − mean)/√(var + ε) γ + β on a tensor (N, C, H, W), with mean and variance over

    batch:      (N, H, W), for each channel
    layer:      (C, H, W), for each sample
    instance:   (H, W), for each sample and channel
    group:      (C/G, H, W), for each sample and each of G groups of channels

so the output for a sample depends on the other samples only with batch normalization. In a deep
stack without normalization, the gradients of the first layers vanish.

The last panel separates two effects of the batch size. Gradients are always means over 64 digits,
accumulated over micro-batches of 4 to 64. Group normalization is not affected by the micro-batch
size; batch normalization estimates mean and variance from each micro-batch alone.

Sources: Ioffe and Szegedy, 2015; Ba, Kiros and Hinton, 2016; Ulyanov, Vedaldi and Lempitsky, 2016;
Wu and He, Group normalization, 2018, figure 2 and section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor

from callbacks import LearningCurves
from datamodules import Digits
from zoo.errors import InputError, check_at_least
from zoo.networks.normalization import choose_num_groups, make_image_norm
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import (
    Row,
    Table,
    accuracy_on_test,
    fit,
    make_generator,
    sentence_case,
    track,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("none", "batch", "layer", "instance", "group")
#: axes of (N, G, C/G, H·W) over which each layer computes mean and variance
AXES = {"batch": (0, 3), "layer": (1, 2, 3), "instance": (3,), "group": (2, 3)}
DRAWN_SHAPE = (4, 4, 4)  # samples, channels, pixels


class GradientNorms(Callback):
    """Callback that records each convolution's mean gradient norm over the first epoch."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self.count = 0

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch > 0:
            return
        kernels = [p for p in pl_module.parameters() if p.ndim == 4]
        norms = [float(p.grad.norm()) for p in kernels]
        self.sums = [a + b for a, b in zip(self.sums or [0.0] * len(norms), norms, strict=True)]
        self.count += 1

    def means(self) -> Tensor:
        """Return the mean norms, from the first convolution to the last."""
        return torch.tensor(self.sums) / self.count


class Losses(LearningCurves):
    """Callback that records losses by epoch, without drawing them."""

    def on_fit_end(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Result:
    """Properties of the layers, training curves and gradients, and errors by micro-batch size."""

    moments: dict[str, tuple[float, float]]  # largest |mean| and |variance − 1|
    influence: dict[str, float]  # of the rest of the batch on the output for a sample
    losses: dict[str, list[float]]
    gradients: dict[str, Tensor]
    micro_batch_sizes: tuple[int, ...]
    errors: dict[str, list[float]]


def run(
    epochs: int = 6, depth: int = 10, channels: int = 8,
    micro_batch_sizes: tuple[int, ...] = (4, 16, 64), seed: int = 0,
) -> Result:  # fmt: skip
    """Check the layers on random inputs, and train deep stacks of convolutions on digits.

    Args:
        epochs: training epochs of each network.
        depth: number of convolutions, at least 2.
        channels: channels of each convolution, even and at least 4.
        micro_batch_sizes: numbers of digits in a forward pass, divisors of 64 of at least 2;
            gradients are accumulated to batches of 64.
        seed: random seed of initial weights, batches and random inputs.
    """
    check_at_least(1, epochs=epochs)
    check_at_least(2, depth=depth)
    if channels < 4 or channels % 2:
        raise InputError(f"channels must be even and at least 4, got {channels}")
    if not micro_batch_sizes or any(size < 2 or 64 % size for size in micro_batch_sizes):
        raise InputError(
            f"micro_batch_sizes must be divisors of 64, at least 2, got {list(micro_batch_sizes)}"
        )
    x = torch.randn(6, channels, 8, 8, generator=make_generator(seed)).double() * 3 + 2
    layers = {name: make_image_norm(name, channels)[0].double() for name in AXES}
    losses, gradients = {}, {}
    for name in track(NAMES, "networks"):
        curves, norms = Losses(), GradientNorms()
        train(name, depth, channels, 64, seed, epochs, [curves, norms])
        losses[name] = [row[1] for row in curves.history]
        gradients[name] = norms.means()
    errors: dict[str, list[float]] = {"batch": [], "group": []}
    for name, by_size in errors.items():
        for size in track(micro_batch_sizes, f"micro-batches, {name}"):
            by_size.append(train(name, 4, channels, size, seed, epochs))
    return Result(
        {name: largest_moments(layer(x), AXES[name]) for name, layer in layers.items()},
        {name: batch_influence(layer, x) for name, layer in layers.items()},
        losses, gradients, tuple(micro_batch_sizes), errors,
    )  # fmt: skip


def largest_moments(y: Tensor, axes: tuple[int, ...]) -> tuple[float, float]:
    """Return the largest |mean| and |variance − 1| of a tensor over the given axes.

    Args:
        y: the tensor, (N, C, H, W).
        axes: axes of its shape (N, G, C/G, H·W), with C/G channels in each of G groups.
    """
    groups = choose_num_groups(y.shape[1])
    grouped = y.unflatten(1, (groups, -1)).flatten(3).detach()
    mean, variance = grouped.mean(axes), grouped.var(axes, correction=0)
    return float(mean.abs().max()), float((variance - 1).abs().max())


def batch_influence(layer: torch.nn.Module, x: Tensor) -> float:
    """Return the largest change of the first sample's output when the others are scaled by 5."""
    other = torch.cat([x[:1], 5 * x[1:]])
    with torch.no_grad():
        return float((layer(x)[0] - layer(other)[0]).abs().max())


def train(
    name: str, depth: int, channels: int, micro_batch_size: int, seed: int, epochs: int,
    callbacks: list[Any] | None = None,
) -> float:  # fmt: skip
    """Train a stack of convolutions without pooling, with gradients accumulated to batches of 64;
    return its test error."""
    from zoo import CNN

    torch.manual_seed(seed)
    # with 157 digits for validation, 1,280 = 20 × 64 remain for training
    data = Digits(batch_size=micro_batch_size, seed=seed, val_size=157)
    model = CNN(
        data.input_shape, 10, channels=(channels,) * depth, pool_size=1, normalization=name,
        global_pooling="avg", optimizer="sgd", lr=0.02,
    )  # fmt: skip
    fit(model, data, epochs, callbacks or (), accumulate_grad_batches=64 // micro_batch_size)
    return 1 - accuracy_on_test(model, data)


def table(result: Result) -> Table:
    """Return the properties of the layers, gradients, losses, and errors by micro-batch size."""
    rows: list[Row] = []
    for name, (mean, variance) in result.moments.items():
        rows.append((f"{name}: largest |mean| over its axes", mean, 0))
        rows.append((f"{name}: largest |variance − 1|", variance, 0, "up to ε = 1e-5"))
    for name, change in result.influence.items():
        rows.append((f"{name}: influence of the other samples in the batch", change,
                     None if name == "batch" else 0))  # fmt: skip
    for name in NAMES:
        norms = result.gradients[name]
        rows.append((f"{name}: gradient norm, first layer / last layer",
                     float(norms[0] / norms[-1]), None,
                     f"final training loss {result.losses[name][-1]:.3g}"))  # fmt: skip
    for name, errors in result.errors.items():
        for size, error in zip(result.micro_batch_sizes, errors, strict=True):
            rows.append((f"{name}, micro-batches of {size}: test error", error))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the elements that share a mean, losses, gradient norms, and errors by micro-batch."""
    figure = new_figure(12, 6.6)
    above, below = subfigures(figure, 2, 1)
    for index, name in enumerate(AXES):
        axes: Any = above.add_subplot(1, 4, index + 1, projection="3d")
        cells = np.zeros(DRAWN_SHAPE, bool)
        cells[cells_of_one_mean(name)] = True
        axes.voxels(~cells, facecolors="#00000008", edgecolor="#00000022")
        axes.voxels(cells, facecolors=COLORS[4], edgecolor=COLORS[0], linewidth=0.4)
        axes.set(xlabel="Samples", ylabel="Channels", zlabel="Pixels")
        axes.set(xticks=[], yticks=[], zticks=[])
        axes.set_title(f"{sentence_case(name)}: elements that share a mean", fontsize=10)
    losses, norms, errors = below.subplots(1, 3)
    for color, name in zip(COLORS, NAMES, strict=False):
        epochs = range(1, len(result.losses[name]) + 1)
        losses.plot(epochs, result.losses[name], "o-", color=color, markersize=3, label=name)
        depth = range(1, len(result.gradients[name]) + 1)
        norms.semilogy(depth, result.gradients[name], "o-", color=color, markersize=3, label=name)
    for name, by_size in result.errors.items():
        color = COLORS[NAMES.index(name)]
        errors.plot(result.micro_batch_sizes, by_size, "o-", color=color, label=name)
    errors.set_xscale("log", base=2)
    errors.set_xticks(result.micro_batch_sizes, [str(size) for size in result.micro_batch_sizes])
    losses.set(xlabel="Epoch", ylabel="Loss", yscale="log", title="Training loss")
    norms.set(xlabel="Convolution", ylabel="Gradient norm", title="Gradients in the first epoch")
    errors.set(xlabel="Micro-batch size", ylabel="Test error", title="Accumulated batches of 64")
    for panel in (losses, norms, errors):
        panel.title.set_fontsize(10)
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.legend(frameon=False, fontsize=7)
    return figure


def cells_of_one_mean(name: str) -> tuple[slice, slice, slice]:
    """Return the elements of the drawn tensor (samples, channels, pixels) that share one mean.

    Group normalization has two groups of channels.
    """
    everything, first = slice(None), slice(0, 1)
    return {
        "batch": (everything, first, everything),
        "layer": (first, everything, everything),
        "instance": (first, first, everything),
        "group": (first, slice(0, 2), everything),
    }[name]
