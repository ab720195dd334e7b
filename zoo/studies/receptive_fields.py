"""What recurrence, convolution and attention can see, and at what price.

An output depends on those inputs for which its gradient is not 0. L causal convolutions of k taps
whose dilation doubles see 1 + (k − 1)(2^L − 1) tokens, L layers of attention with a window of w see
1 + L(w − 1), full attention and recurrence all that came before; but the gradient through a
recurrence fades with distance. In images, a stack of layers with kernels k_i and strides s_i sees
1 + Σ (k_i − 1) Π_{j<i} s_j pixels. Attention and convolution compute all tokens at once, recurrence
one after the other; generating, all go token by token.

Sources: Bengio, Simard and Frasconi, 1994; van den Oord et al., WaveNet, 2016; Luo et al.,
Understanding the effective receptive field, 2016.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.networks.conv_stack import ConvStack
from zoo.networks.sequence_network import SequenceConfig, SequenceNetwork
from zoo.networks.token_mixers import ConvolutionLayer
from zoo.plots.style import COLORS, add_grid_and_legend, new_figure
from zoo.studies.base import Table, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 4
KINDS = ("conv", "window", "transformer", "rnn", "lstm")
NAMES = {
    "conv": "dilated convolution", "window": f"attention, window {WINDOW}",
    "transformer": "attention", "rnn": "RNN", "lstm": "LSTM",
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Gradients of the last output by distance, fields by depth, an image's field, and times."""

    length: int
    gradients: dict[str, Tensor]  # (length,), from the last token back
    depths: tuple[int, ...]
    fields: dict[str, list[int]]
    pixels: dict[int, Tensor]  # convolutions → |gradient| of the middle output
    lengths: tuple[int, ...]
    parallel: dict[str, list[float]]  # milliseconds per token
    stepwise: dict[str, list[float]]


def run(
    length: int = 128, depths: tuple[int, ...] = (1, 2, 3, 4, 5),
    lengths: tuple[int, ...] = (64, 128, 256, 512), seed: int = 0,
) -> Result:  # fmt: skip
    """Takes gradients through networks as they are before training, and times them.

    Args:
        length: tokens of the sequences whose gradients are taken.
        depths: numbers of layers L.
        lengths: tokens of the sequences that are timed.
        seed: of weights and tokens.
    """
    require(length >= 8, f"length must be at least 8, got {length}")
    require(min(depths, default=0) >= 1, "depths must be positive numbers")
    require(min(lengths, default=0) >= 1, "lengths must be positive numbers")
    torch.manual_seed(seed)
    fields: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for kind in track(KINDS, "fields"):
        fields[kind] = [field(gradient(make(kind, depth), length)) for depth in depths]
    deepest = max(depths)
    parallel: dict[str, list[float]] = {}
    stepwise: dict[str, list[float]] = {}
    for kind in track(("conv", "transformer", "lstm"), "times"):
        parallel[kind] = [per_token(kind, count, False) for count in lengths]
        stepwise[kind] = [per_token(kind, count, True) for count in lengths]
    return Result(
        length, {kind: gradient(make(kind, deepest), length) for kind in KINDS}, tuple(depths),
        fields, {count: image_gradient(count) for count in (1, 2, 3)}, tuple(lengths), parallel,
        stepwise,
    )  # fmt: skip


def make(kind: str, layers: int, dim: int = 16) -> SequenceNetwork:
    """A causal stack whose weights are large enough for every path to count."""
    layer = "transformer" if kind == "window" else kind
    config = SequenceConfig(layer_type=layer, dim=dim, layers=layers, heads=2, init_std=0.3)
    window = WINDOW if kind == "window" else None
    network = SequenceNetwork(config, max_length=1024, causal=True, window=window)
    return network.double().eval()


def theory(kind: str, layers: int, length: int) -> int:
    """Tokens that the last output can see, itself included."""
    if kind == "conv":
        return min(length, 1 + (ConvolutionLayer.kernel_size - 1) * (2**layers - 1))
    if kind == "window":
        return min(length, 1 + layers * (WINDOW - 1))
    return length


def gradient(network: SequenceNetwork, length: int) -> Tensor:
    """Norms of the last output's gradient by each token, from the last one back, (length,)."""
    x = torch.randn(1, length, 16, dtype=torch.float64, requires_grad=True)
    network(x)[0, -1].pow(3).sum().backward()  # the sum alone is fixed by the last norm
    assert x.grad is not None
    return x.grad[0].norm(dim=1).flip(0)


def field(gradient: Tensor) -> int:
    """Distance to the farthest token whose gradient is not 0, itself counted."""
    return int(gradient.nonzero().max()) + 1


def image_stack(count: int) -> ConvStack:
    """Convolutions of 3×3, each with pooling of 2×2 after it."""
    return ConvStack(
        (1, 64, 64), (8,) * count, pooling="avg", normalization="none", activation="elu"
    )


def image_field(count: int) -> int:
    """1 + Σ (k_i − 1) Π s_j of convolutions (3, stride 1) and poolings (2, stride 2) in turn."""
    seen, step = 1, 1
    for _ in range(count):
        seen += (3 - 1) * step + (2 - 1) * step
        step *= 2
    return seen


def image_gradient(count: int) -> Tensor:
    """|∂(middle output)/∂pixel|, (64, 64)."""
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    y = image_stack(count).double()(x)
    middle = y.shape[-1] // 2
    y[0, :, middle, middle].sum().backward()
    assert x.grad is not None
    return x.grad[0, 0].abs()


def per_token(kind: str, length: int, stepwise: bool, repeats: int = 3) -> float:
    """Median milliseconds per token, all at once or one after the other with a state."""
    network = make(kind, 2, dim=64).float()
    x = torch.randn(1, length, 64)
    times = []
    with torch.no_grad():
        for _ in range(repeats):
            started = time.perf_counter()
            if stepwise:
                state = network.new_state()
                for token in x.split(1, dim=1):
                    network(token, state=state)
            else:
                network(x)
            times.append(1000 * (time.perf_counter() - started) / length)
    return statistics.median(times)


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for kind, fields in result.fields.items():
        for depth, seen in zip(result.depths, fields, strict=True):
            if kind in ("conv", "window") or depth == 1:
                rows.append((f"{NAMES[kind]}, {depth} layers: tokens seen", seen,
                             theory(kind, depth, result.length)))  # fmt: skip
    for count, pixels in result.pixels.items():
        side = int((pixels > 0).any(0).sum())
        rows.append((f"image, {count} × (convolution, pooling): side seen", side,
                     image_field(count)))  # fmt: skip
    for kind in ("transformer", "rnn", "lstm"):
        g = result.gradients[kind]
        rows.append((f"{NAMES[kind]}: gradient 30 tokens back / at the token",
                     float(g[min(30, len(g) - 1)] / g[0])))  # fmt: skip
    for kind, times in result.parallel.items():
        rows.append((f"{NAMES[kind]}, {result.lengths[-1]} tokens at once: ms per token", times[-1],
                     None, f"one after the other: {result.stepwise[kind][-1]:.3g} ms"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 6.8)
    (by_distance, by_depth, times), images = figure.subplots(2, 3)
    for color, (kind, g) in zip(COLORS, result.gradients.items(), strict=False):
        seen = g[g > 0]
        by_distance.semilogy(seen / g[0], color=color, label=NAMES[kind])
    by_distance.set(xlabel="tokens back", ylabel="gradient / that at the token")
    by_distance.set_title(f"Gradient of the last output, {max(result.depths)} layers", fontsize=10)
    for color, (kind, fields) in zip(COLORS, result.fields.items(), strict=False):
        expected = [theory(kind, depth, result.length) for depth in result.depths]
        by_depth.plot(result.depths, expected, color=color, linewidth=1)
        by_depth.plot(result.depths, fields, "o", color=color, label=NAMES[kind])
    by_depth.set(xlabel="layers", yscale="log")
    by_depth.set_title("Tokens seen (lines: theory)", fontsize=10)
    for color, kind in zip(COLORS, result.parallel, strict=False):
        times.loglog(result.lengths, result.parallel[kind], "o-", color=color,
                     label=f"{NAMES[kind]}, at once")  # fmt: skip
        times.loglog(result.lengths, result.stepwise[kind], "s--", color=color,
                     label=f"{NAMES[kind]}, one by one")  # fmt: skip
    times.set_xticks(result.lengths, [str(count) for count in result.lengths])
    times.minorticks_off()
    times.set(xlabel="tokens", ylabel="ms per token")
    times.set_title("Time, two layers of 64", fontsize=10)
    add_grid_and_legend(by_distance, by_depth, times)
    for axes, (count, pixels) in zip(images, result.pixels.items(), strict=True):
        axes.imshow(pixels / pixels.max(), cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"image: {count} × (convolution, pooling), "
                       f"{image_field(count)}×{image_field(count)} pixels", fontsize=9)  # fmt: skip
        axes.set(xticks=[], yticks=[])
    return figure
