"""What a convolution is, and what it takes for granted about images.

(f ∗ g)_i = Σ_j f_j g_{i−j} is commutative and linear, and commutes with shifts as long as the
border does: around the edges (circular padding) everywhere, with zeros outside only away from the
border, with stride s for shifts by multiples of s. Pooling gives small shifts up for less change.
A convolution with k×k kernels has c_out (c_in k² + 1) parameters whatever the image's size, and it
believes in neighbourhoods: with all pixels shuffled in the same way, a fully connected network
learns as before and a convolutional one does not.

Source: Goodfellow, Bengio and Courville, Deep learning, chapter 9; shuffled pixels as in Greydanus,
Scaling down deep learning, 2020.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, max_pool2d, pad

from datamodules import Digits
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float64)[None, None]
PADDINGS = ("circular", "zeros")


class ShuffledDigits(Digits):
    """Digits whose pixels all stand elsewhere, in the same order for every image."""

    def load(self, train: bool) -> Any:
        x, y = super().load(train)
        order = torch.randperm(x[0].numel(), generator=generator(0))
        return x.flatten(1)[:, order].view_as(x), y


@dataclass(frozen=True)
class Result:
    """Differences that ought to be 0 or not, pictures of them, and accuracies (seeds)."""

    laws: dict[str, float]
    image: Tensor
    outputs: dict[str, Tensor]
    differences: dict[str, Tensor]  # conv(shift x) − shift conv(x)
    pooled: dict[int, float]  # window → relative change by a shift of one pixel
    accuracies: dict[str, dict[str, Tensor]]
    parameters: dict[str, tuple[int, int]]  # counted, by the formula
    milliseconds: dict[str, float]


def run(epochs: int = 12, seeds: int = 3, seed: int = 0) -> Result:
    """Checks the laws, and trains both networks on digits as they are and shuffled.

    Args:
        epochs: of each training.
        seeds: trainings of each network on each data.
        seed: of the first of them, and of the random signals.
    """
    require(epochs >= 1 and seeds >= 1, "epochs and seeds must be at least 1")
    data = Digits()
    data.setup()
    image = data.evaluation_samples("test")[0][3:4].double()
    image = torch.nn.functional.interpolate(image, scale_factor=4, mode="bilinear")
    accuracies: dict[str, dict[str, Tensor]] = {}
    for model in track(("MLP", "CNN"), "networks"):
        accuracies[model] = {
            name: torch.tensor([accuracy(model, kind, epochs, seed + k) for k in range(seeds)])
            for name, kind in (("as they are", Digits), ("shuffled", ShuffledDigits))
        }
    differences = {name: shift_difference(image, name) for name in PADDINGS}
    outputs = {name: convolve(image, name)[0, 0] for name in PADDINGS}
    outputs["stride 2"] = convolve(image, "circular", stride=2)[0, 0]
    return Result(
        laws(generator(seed)), image[0, 0], outputs, differences,
        {window: pooling_change(image, window) for window in (1, 2, 4, 8, 32)},
        accuracies, parameters(), {name: milliseconds(name) for name in ("MLP", "CNN")},
    )  # fmt: skip


def convolve(x: Tensor, padding: str, stride: int = 1) -> Tensor:
    """Edges of an image; convolution proper, with the kernel turned around."""
    mode = "circular" if padding == "circular" else "constant"
    return conv2d(pad(x, (1, 1, 1, 1), mode=mode), EDGES.flip(2, 3), stride=stride)


def full(f: Tensor, g: Tensor) -> Tensor:
    """(f ∗ g)_i = Σ_j f_j g_{i−j} of two signals, all places where any two samples meet."""
    reach = len(g) - 1
    return conv1d(pad(f, (reach, reach))[None, None], g.flip(0)[None, None])[0, 0]


def laws(random: torch.Generator) -> dict[str, float]:
    """Largest differences between two sides of equations on random signals and images."""
    f, g, h = (torch.randn(n, generator=random, dtype=torch.float64) for n in (40, 9, 40))
    x = torch.randn(1, 1, 16, 16, generator=random, dtype=torch.float64)
    twice = convolve(x.roll(2, 2), "circular", 2) - convolve(x, "circular", 2).roll(1, 2)
    once = convolve(x.roll(1, 2), "circular", 2) - convolve(x, "circular", 2)
    border = shift_difference(x, "zeros")
    gaps = {
        "f ∗ g and g ∗ f": full(f, g) - full(g, f),
        "(2f + 3h) ∗ g and 2 f ∗ g + 3 h ∗ g": (
            full(2 * f + 3 * h, g) - 2 * full(f, g) - 3 * full(h, g)
        ),
        "shift before and after, circular": shift_difference(x, "circular"),
        "shift before and after, zeros, away from the border": border[2:-2, 2:-2],
        "shift before and after, zeros, at the border": border,
        "stride 2, shift by 2 and by 1 after": twice,
        "stride 2, shift by 1 and none after": once,
    }  # fmt: skip
    return {name: float(gap.abs().max()) for name, gap in gaps.items()}


def shift_difference(x: Tensor, padding: str) -> Tensor:
    """conv(shift x) − shift conv(x) for a shift by a pixel down, around the edge."""
    return (convolve(x.roll(1, 2), padding) - convolve(x, padding).roll(1, 2))[0, 0]


def pooling_change(x: Tensor, window: int) -> float:
    """‖p(shift x) − p(x)‖/‖p(x)‖ of edges after max pooling."""
    before, after = (max_pool2d(convolve(v, "circular"), window) for v in (x, x.roll(1, 2)))
    return float((after - before).norm() / before.norm())


def make(name: str, data: Any) -> Any:
    """Both networks at about the same size."""
    from zoo import CNN, MLPClassifier

    if name == "CNN":
        return CNN(data.input_shape, 10, channels=(16, 32), lr=5e-3)
    return MLPClassifier(
        data.input_shape, 10, hidden_dims=(90,), dropout=0.0, input_dropout=0.0, lr=5e-3
    )


def accuracy(name: str, kind: type[Digits], epochs: int, seed: int) -> float:
    """On the test digits, after training."""
    torch.manual_seed(seed)
    data = kind(batch_size=64, seed=seed)
    model = fit(make(name, data), data, epochs)
    x, y = data.evaluation_samples("test")
    with torch.no_grad():
        return float((model.logits(x).argmax(1) == y).double().mean())


def parameters() -> dict[str, tuple[int, int]]:
    """Of a convolution with 16 kernels of 3×3 and of a fully connected layer with as many outputs,
    on 8×8 and on 32×32 pixels: counted, and by the formula."""
    counts = {}
    for side in (8, 32):
        conv, dense = torch.nn.Conv2d(1, 16, 3), torch.nn.Linear(side**2, 16 * side**2)
        theory = 16 * (1 * 3**2 + 1), (side**2 + 1) * 16 * side**2
        for name, layer, formula in zip(("convolution", "fully connected"), (conv, dense), theory,
                                        strict=True):  # fmt: skip
            counts[f"{name}, {side}×{side}"] = sum(p.numel() for p in layer.parameters()), formula
    return counts


def milliseconds(name: str, repeats: int = 9) -> float:
    """Median time of the scores of 256 digits."""
    data = Digits()
    model = make(name, data).eval()
    x = torch.rand(256, *data.input_shape)
    times = []
    with torch.no_grad():
        for _ in range(repeats):
            started = time.perf_counter()
            model.logits(x)
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def table(result: Result) -> Table:
    broken = ("at the border", "none after")
    rows: list[tuple[str | float | None, ...]] = [
        (name, gap, None if name.endswith(broken) else 0) for name, gap in result.laws.items()
    ]
    rows += [
        (f"change by a shift of a pixel, pooling {window}×{window}", change)
        for window, change in result.pooled.items()
    ]
    rows += [(f"parameters: {name}", *counts) for name, counts in result.parameters.items()]
    for model, by in result.accuracies.items():
        for name, values in by.items():
            spread = f"± {float(values.std()):.2g} over {len(values)} seeds"
            rows.append((f"accuracy, {model}, pixels {name}", float(values.mean()), None,
                         spread if len(values) > 1 else "one seed"))  # fmt: skip
        rows.append((f"{model}: ms for 256 digits", result.milliseconds[model]))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(11, 6)
    above, below = subfigures(figure, 2, 1, height_ratios=[1, 1])
    pictures = {
        "digit": result.image,
        "edges, circular": result.outputs["circular"],
        "edges, stride 2": result.outputs["stride 2"],
        "shift before − after, circular": result.differences["circular"],
        "shift before − after, zeros": result.differences["zeros"],
    }
    scale = float(result.outputs["circular"].abs().max())
    gap = float(result.differences["zeros"].abs().max())
    for axes, (name, picture) in zip(above.subplots(1, 5), pictures.items(), strict=True):
        reach = gap if name.startswith("shift") else scale
        signed = {"cmap": "RdBu", "vmin": -reach, "vmax": reach}
        axes.imshow(picture, **({"cmap": "gray_r"} if name == "digit" else signed))
        axes.set_title(name, fontsize=9)
        axes.set(xticks=[], yticks=[])
    pooling, bars = below.subplots(1, 2)
    windows = [f"{w}×{w}" for w in result.pooled]
    pooling.plot(windows, list(result.pooled.values()), "o-", color=COLORS[0])
    pooling.set(xlabel="pooling window", ylim=(0, None))
    pooling.set_title("Change of pooled edges by a shift of one pixel", fontsize=10)
    pooling.grid(alpha=0.25, linewidth=0.5)
    _bars(bars, result)
    return figure


def _bars(axes: Axes, result: Result) -> None:
    for shift, (name, color) in enumerate((("as they are", COLORS[0]), ("shuffled", COLORS[1]))):
        values = torch.stack([by[name] for by in result.accuracies.values()])
        places = torch.arange(len(values)) + 0.4 * shift
        axes.bar(places, values.mean(1), 0.38, color=color, alpha=0.7, label=f"pixels {name}")
        for place, dots in zip(places.tolist(), values, strict=True):
            axes.plot([place] * len(dots), dots, "o", color="black", markersize=3)
    axes.set_xticks([0.2, 1.2], list(result.accuracies))
    axes.set(ylim=(0.8, 1), ylabel="test accuracy")
    axes.set_title("Digits, all pixels shuffled alike", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
