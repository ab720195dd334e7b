"""What normalisation layers normalise, what that does to gradients and training.

Each computes (x − mean)/√(var + ε) γ + β on a tensor (N, C, H, W), with mean and variance over

    batch      (N, H, W), for each channel        layer   (C, H, W), for each sample
    instance   (H, W), for each sample and channel        group   (C/G, H, W), for each sample

so that all but the first leave a sample's result to the sample alone. In a deep stack without any
of them the first layers' gradients vanish. The last panel separates the two things that a batch
size decides: gradients are always means over 64 digits, put together from parts of 4 to 64. Group
normalisation does not notice; batch normalisation has only the part to take its moments from.

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
from zoo.networks.normalization import choose_num_groups, make_image_norm
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("none", "batch", "layer", "instance", "group")
#: what each takes its mean over, as axes of (N, G, C/G, H·W)
OVER = {"batch": (0, 3), "layer": (1, 2, 3), "instance": (3,), "group": (2, 3)}
DRAWN = (4, 4, 4)  # N, C, pixels of the tensor that is drawn


class Gradients(Callback):
    """Mean gradient norm of every convolution's kernels over the first epoch, from input on."""

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
        return torch.tensor(self.sums) / self.count


class Curves(LearningCurves):
    """The history alone, without a picture of its own."""

    def on_fit_end(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Result:
    """Statistics of the layers, curves and gradients by name, errors by batch size."""

    moments: dict[str, tuple[float, float]]  # largest |mean| and |variance − 1|
    others: dict[str, float]  # change of a sample's result when the rest of its batch changes
    losses: dict[str, list[float]]
    gradients: dict[str, Tensor]
    part_sizes: tuple[int, ...]
    errors: dict[str, list[float]]


def run(
    epochs: int = 6, depth: int = 10, channels: int = 8,
    part_sizes: tuple[int, ...] = (4, 16, 64), seed: int = 0,
) -> Result:  # fmt: skip
    """Looks at the layers, and trains deep stacks of convolutions on digits.

    Args:
        epochs: of each training.
        depth: convolutions.
        channels: of each, even.
        part_sizes: digits that go through the network together, divisors of 64 from 2 on.
        seed: of weights and batches.
    """
    require(epochs >= 1 and depth >= 2, "epochs must be at least 1, depth at least 2")
    require(
        channels >= 4 and channels % 2 == 0, f"channels must be even, from 4 on; got {channels}"
    )
    fits = [size >= 2 and 64 % size == 0 for size in part_sizes]
    require(bool(fits) and all(fits), "part_sizes must be divisors of 64, from 2 on")
    x = torch.randn(6, channels, 8, 8, generator=generator(seed)).double() * 3 + 2
    layers = {name: make_image_norm(name, channels)[0].double() for name in OVER}
    losses, gradients = {}, {}
    for name in track(NAMES, "networks"):
        curves, spy = Curves(), Gradients()
        train(name, depth, channels, 64, seed, epochs, [curves, spy])
        losses[name] = [row[1] for row in curves.history]
        gradients[name] = spy.means()
    errors: dict[str, list[float]] = {"batch": [], "group": []}
    for name, kept in errors.items():
        for size in track(part_sizes, f"parts, {name}"):
            kept.append(train(name, 4, channels, size, seed, epochs))
    return Result(
        {name: moments(layer(x), OVER[name]) for name, layer in layers.items()},
        {name: influence(layer, x) for name, layer in layers.items()},
        losses, gradients, tuple(part_sizes), errors,
    )  # fmt: skip


def moments(y: Tensor, over: tuple[int, ...]) -> tuple[float, float]:
    """Largest |mean| and |variance − 1| over what a layer normalises."""
    groups = choose_num_groups(y.shape[1])
    parts = y.unflatten(1, (groups, -1)).flatten(3).detach()
    mean, variance = parts.mean(over), parts.var(over, correction=0)
    return float(mean.abs().max()), float((variance - 1).abs().max())


def influence(layer: torch.nn.Module, x: Tensor) -> float:
    """How far the first sample's result moves when all others are multiplied by 5."""
    other = torch.cat([x[:1], 5 * x[1:]])
    with torch.no_grad():
        return float((layer(x)[0] - layer(other)[0]).abs().max())


def train(
    name: str, depth: int, channels: int, part: int, seed: int, epochs: int,
    callbacks: list[Any] | None = None,
) -> float:  # fmt: skip
    """A stack of convolutions without pooling, trained on parts of batches of 64; its error in
    test."""
    from zoo import CNN

    torch.manual_seed(seed)
    data = Digits(batch_size=part, seed=seed, val_size=157)  # 1,280 = 20 × 64 are left
    model = CNN(
        data.input_shape, 10, channels=(channels,) * depth, pool_size=1, normalization=name,
        global_pooling="avg", optimizer="sgd", lr=0.02,
    )  # fmt: skip
    fit(model, data, epochs, callbacks or (), accumulate_grad_batches=64 // part)
    x, y = data.evaluation_samples("test")
    with torch.no_grad():
        return float((model.logits(x).argmax(1) != y).double().mean())


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for name, (mean, variance) in result.moments.items():
        rows.append((f"{name}: largest |mean| over its axes", mean, 0))
        rows.append((f"{name}: largest |variance − 1|", variance, 0, "up to ε = 1e-5"))
    for name, change in result.others.items():
        rows.append((f"{name}: a sample's change with the rest of its batch", change,
                     None if name == "batch" else 0))  # fmt: skip
    for name in NAMES:
        norms = result.gradients[name]
        rows.append((f"{name}: gradient of the first layer / the last", float(norms[0] / norms[-1]),
                     None, f"training loss at the end {result.losses[name][-1]:.3g}"))  # fmt: skip
    for name, errors in result.errors.items():
        for size, error in zip(result.part_sizes, errors, strict=True):
            rows.append((f"{name}, parts of {size}: test error", error))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 6.6)
    above, below = subfigures(figure, 2, 1)
    for place, name in enumerate(OVER):
        axes: Any = above.add_subplot(1, 4, place + 1, projection="3d")
        cells = np.zeros(DRAWN, bool)
        cells[normalized_together(name)] = True
        axes.voxels(np.ones(DRAWN, bool) & ~cells, facecolors="#00000008", edgecolor="#00000022")
        axes.voxels(cells, facecolors=COLORS[4], edgecolor=COLORS[0], linewidth=0.4)
        axes.set(xlabel="samples", ylabel="channels", zlabel="pixels")
        axes.set(xticks=[], yticks=[], zticks=[])
        axes.set_title(f"{name}: one mean", fontsize=10)
    curves, norms, sizes = below.subplots(1, 3)
    for color, name in zip(COLORS, NAMES, strict=False):
        curves.plot(range(1, len(result.losses[name]) + 1), result.losses[name], "o-", color=color,
                    markersize=3, label=name)  # fmt: skip
        depth = range(1, len(result.gradients[name]) + 1)
        norms.semilogy(depth, result.gradients[name], "o-", color=color, markersize=3, label=name)
    for name, errors in result.errors.items():
        sizes.plot(result.part_sizes, errors, "o-", color=COLORS[NAMES.index(name)], label=name)
    sizes.set_xscale("log", base=2)
    sizes.set_xticks(result.part_sizes, [str(size) for size in result.part_sizes])
    curves.set(xlabel="epoch", yscale="log")
    norms.set(xlabel="convolution, from the input")
    sizes.set(xlabel="digits that share moments")
    titles = ("Training loss", "Gradient norm in the first epoch", "Test error, gradients of 64")
    for panel, title in zip((curves, norms, sizes), titles, strict=True):
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.legend(frameon=False, fontsize=7)
    return figure


def normalized_together(name: str) -> tuple[slice, slice, slice]:
    """The cells of the drawn tensor (N, C, pixels) that share one mean; two groups of channels."""
    everything, first = slice(None), slice(0, 1)
    return {
        "batch": (everything, first, everything),
        "layer": (first, everything, everything),
        "instance": (first, first, everything),
        "group": (first, slice(0, 2), everything),
    }[name]
