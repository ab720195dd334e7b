"""Convolution: algebra, shift equivariance, and assumptions about images.

Which properties make convolution suitable for images? (f ∗ g)_i = Σ_j f_j g_{i−j} is commutative,
linear, and equivariant to shifts as far as the border allows. With circular padding equivariance is
exact everywhere, with zero padding only away from the border, with stride s only for shifts by
multiples of s. After max pooling, outputs change less under small shifts. A convolution with k×k
kernels has c_out (c_in k² + 1) parameters, independent of the size of the image.

A convolution also assumes that neighboring pixels belong together. If the pixels of all images are
shuffled by one fixed permutation, a fully connected network learns as well as before, and a
convolutional network does not.

Sources: Goodfellow, Bengio and Courville, Deep learning, chapter 9; Greydanus, Scaling down deep
learning, 2020, on shuffled pixels.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, interpolate, max_pool2d, pad

from datamodules import Digits
from zoo.errors import check_at_least
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import Row, Table, accuracy_on_test, fit, make_generator, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float64)[None, None]
PADDINGS = ("circular", "zero")
#: identities that fail, as they should
VIOLATED = ("shift equivariance, zero padding, at the border", "stride 2, shift by 1 vs. none")


class ShuffledDigits(Digits):
    """Digits with the pixels of all images shuffled by the same permutation."""

    def load(self, train: bool) -> Any:
        x, y = super().load(train)
        order = torch.randperm(x[0].numel(), generator=make_generator(0))
        return x.flatten(1)[:, order].view_as(x), y


DATA = {"original pixels": Digits, "shuffled pixels": ShuffledDigits}


@dataclass(frozen=True)
class Result:
    """Errors of identities, outputs of convolutions, effects of shifts, and accuracies."""

    identities: dict[str, float]  # largest difference between the two sides
    image: Tensor
    outputs: dict[str, Tensor]
    differences: dict[str, Tensor]  # padding → conv(shift x) − shift conv(x)
    pooled: dict[int, float]  # pooling window → relative change under a shift by one pixel
    accuracies: dict[str, dict[str, Tensor]]  # model → data → (num_seeds,)
    parameters: dict[str, tuple[int, int]]  # counted, formula
    milliseconds: dict[str, float]


def run(epochs: int = 12, num_seeds: int = 3, seed: int = 0) -> Result:
    """Check identities, and train an MLP and a CNN on original and on shuffled digits.

    Args:
        epochs: training epochs of each network.
        num_seeds: number of trainings of each network on each kind of data, with consecutive seeds.
        seed: random seed of the first training and of the random signals.
    """
    check_at_least(1, epochs=epochs, num_seeds=num_seeds)
    data = Digits()
    data.setup()
    image = data.evaluation_samples("test")[0][3:4].double()
    image = interpolate(image, scale_factor=4, mode="bilinear")
    accuracies: dict[str, dict[str, Tensor]] = {}
    for model in track(("MLP", "CNN"), "networks"):
        accuracies[model] = {
            name: torch.tensor([train(model, cls, epochs, seed + k) for k in range(num_seeds)])
            for name, cls in DATA.items()
        }
    differences = {name: shift_difference(image, name) for name in PADDINGS}
    outputs = {name: convolve(image, name)[0, 0] for name in PADDINGS}
    outputs["stride 2"] = convolve(image, "circular", stride=2)[0, 0]
    return Result(
        identity_errors(make_generator(seed)), image[0, 0], outputs, differences,
        {window: pooling_change(image, window) for window in (1, 2, 4, 8, 32)},
        accuracies, parameter_counts(), {name: milliseconds(name) for name in ("MLP", "CNN")},
    )  # fmt: skip


def convolve(x: Tensor, padding: str, stride: int = 1) -> Tensor:
    """Convolve images with the Sobel kernel, which responds to vertical edges.

    torch's conv2d computes a cross-correlation, so the kernel is flipped.
    """
    mode = "circular" if padding == "circular" else "constant"
    return conv2d(pad(x, (1, 1, 1, 1), mode=mode), SOBEL.flip(2, 3), stride=stride)


def full_convolution(f: Tensor, g: Tensor) -> Tensor:
    """Return (f ∗ g)_i = Σ_j f_j g_{i−j} of two signals at all i where they overlap."""
    overlap = len(g) - 1
    return conv1d(pad(f, (overlap, overlap))[None, None], g.flip(0)[None, None])[0, 0]


def identity_errors(rng: torch.Generator) -> dict[str, float]:
    """Return the largest difference between the sides of each identity, on random inputs."""
    f, g, h = (torch.randn(n, generator=rng, dtype=torch.float64) for n in (40, 9, 40))
    x = torch.randn(1, 1, 16, 16, generator=rng, dtype=torch.float64)
    two_pixels = convolve(x.roll(2, 2), "circular", 2) - convolve(x, "circular", 2).roll(1, 2)
    one_pixel = convolve(x.roll(1, 2), "circular", 2) - convolve(x, "circular", 2)
    zero_padded = shift_difference(x, "zero")
    conv = full_convolution
    differences = {
        "f ∗ g vs. g ∗ f": conv(f, g) - conv(g, f),
        "(2f + 3h) ∗ g vs. 2 f ∗ g + 3 h ∗ g": (
            conv(2 * f + 3 * h, g) - 2 * conv(f, g) - 3 * conv(h, g)
        ),
        "shift equivariance, circular padding": shift_difference(x, "circular"),
        "shift equivariance, zero padding, away from the border": zero_padded[2:-2, 2:-2],
        "shift equivariance, zero padding, at the border": zero_padded,
        "stride 2, shift by 2 vs. shift of the output by 1": two_pixels,
        "stride 2, shift by 1 vs. none": one_pixel,
    }
    return {name: float(difference.abs().max()) for name, difference in differences.items()}


def shift_difference(x: Tensor, padding: str) -> Tensor:
    """Return conv(shift x) − shift conv(x) for a circular shift by one pixel down, (H, W)."""
    return (convolve(x.roll(1, 2), padding) - convolve(x, padding).roll(1, 2))[0, 0]


def pooling_change(x: Tensor, window: int) -> float:
    """Return ‖p(shift x) − p(x)‖/‖p(x)‖, where p is convolution followed by max pooling."""
    before, after = (max_pool2d(convolve(v, "circular"), window) for v in (x, x.roll(1, 2)))
    return float((after - before).norm() / before.norm())


def make_model(name: str, data: Any) -> Any:
    """Create the MLP or the CNN, which have similar numbers of parameters."""
    from zoo import CNN, MLPClassifier

    if name == "CNN":
        return CNN(data.input_shape, 10, channels=(16, 32), lr=5e-3)
    return MLPClassifier(
        data.input_shape, 10, hidden_dims=(90,), dropout=0.0, input_dropout=0.0, lr=5e-3
    )


def train(name: str, data_class: type[Digits], epochs: int, seed: int) -> float:
    """Train the MLP or the CNN; return its test accuracy."""
    torch.manual_seed(seed)
    data = data_class(batch_size=64, seed=seed)
    return accuracy_on_test(fit(make_model(name, data), data, epochs), data)


def parameter_counts() -> dict[str, tuple[int, int]]:
    """Return numbers of parameters, counted and by the formula, of a convolution with 16 kernels of
    3×3 and of a fully connected layer with as many outputs, for 8×8 and 32×32 pixels."""
    counts = {}
    for side in (8, 32):
        layers = {
            "convolution": (torch.nn.Conv2d(1, 16, 3), 16 * (1 * 3**2 + 1)),
            "fully connected": (
                torch.nn.Linear(side**2, 16 * side**2), (side**2 + 1) * 16 * side**2
            ),
        }  # fmt: skip
        for name, (layer, formula) in layers.items():
            counts[f"{name}, {side}×{side}"] = sum(p.numel() for p in layer.parameters()), formula
    return counts


def milliseconds(name: str, repeats: int = 9) -> float:
    """Return the median time of a forward pass with 256 digits, in milliseconds."""
    data = Digits()
    model = make_model(name, data).eval()
    x = torch.rand(256, *data.input_shape)
    times = []
    with torch.no_grad():
        for _ in range(repeats):
            started = time.perf_counter()
            model.logits(x)
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def table(result: Result) -> Table:
    """Return errors of identities, effects of pooling, numbers of parameters, and accuracies."""
    rows: list[Row] = [
        (name, error, None if name in VIOLATED else 0) for name, error in result.identities.items()
    ]
    rows += [
        (f"relative change under a shift by one pixel, pooling {window}×{window}", change)
        for window, change in result.pooled.items()
    ]
    rows += [(f"parameters: {name}", *counts) for name, counts in result.parameters.items()]
    for model, by_data in result.accuracies.items():
        for name, values in by_data.items():
            sd = f"± {float(values.std()):.2g} over {len(values)} seeds"
            rows.append((f"test accuracy: {model}, {name}", float(values.mean()), None,
                         sd if len(values) > 1 else "one seed"))  # fmt: skip
        rows.append((f"{model}: time for 256 digits (ms)", result.milliseconds[model]))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw edges and their equivariance, the effect of pooling, and accuracies."""
    figure = new_figure(11, 6)
    above, below = subfigures(figure, 2, 1, height_ratios=[1, 1])
    images = {
        "Digit": result.image,
        "Edges, circular padding": result.outputs["circular"],
        "Edges, stride 2": result.outputs["stride 2"],
        "Equivariance error, circular": result.differences["circular"],
        "Equivariance error, zero padding": result.differences["zero"],
    }
    edge_limit = float(result.outputs["circular"].abs().max())
    error_limit = float(result.differences["zero"].abs().max())
    for axes, (name, image) in zip(above.subplots(1, 5), images.items(), strict=True):
        limit = error_limit if name.startswith("Equivariance") else edge_limit
        signed = {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
        axes.imshow(image, **({"cmap": "gray_r"} if name == "Digit" else signed))
        axes.set_title(name, fontsize=9)
        axes.set(xticks=[], yticks=[])
    pooling, bars = below.subplots(1, 2)
    windows = [f"{w}×{w}" for w in result.pooled]
    pooling.plot(windows, list(result.pooled.values()), "o-", color=COLORS[0])
    pooling.set(xlabel="Pooling window", ylabel="Relative change", ylim=(0, None))
    pooling.set_title("Change of pooled edges under a shift by one pixel", fontsize=10)
    pooling.grid(alpha=0.25, linewidth=0.5)
    _draw_accuracies(bars, result)
    return figure


def _draw_accuracies(axes: Axes, result: Result) -> None:
    for offset, name, color in zip((0.0, 0.4), DATA, COLORS, strict=False):
        values = torch.stack([by_data[name] for by_data in result.accuracies.values()])
        x = torch.arange(len(values)) + offset
        axes.bar(x, values.mean(1), 0.38, color=color, alpha=0.7, label=name)
        for position, dots in zip(x.tolist(), values, strict=True):
            axes.plot([position] * len(dots), dots, "o", color="black", markersize=3)
    axes.set_xticks([0.2, 1.2], list(result.accuracies))
    axes.set(ylim=(0.8, 1), ylabel="Test accuracy")
    axes.set_title("Digits, original and shuffled by one permutation", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
