"""Receptive fields and costs of recurrence, convolution and attention.

How far back can a sequence model see, and what does it cost? An output depends on exactly those
inputs for which its gradient is not zero. L causal convolutions with kernel size k and dilation
doubling from layer to layer see 1 + (k − 1)(2^L − 1) tokens; L layers of attention with window w
see 1 + L(w − 1); full attention and recurrence see all earlier tokens, but the gradient through a
recurrence vanishes with distance. For images, layers with kernel sizes k_i and strides s_i see
1 + Σ (k_i − 1) Π_{j<i} s_j pixels along each side.

Attention and convolution compute all tokens in parallel, recurrence one after the other. In
generation, all of them go token by token.

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

from zoo.errors import check_at_least
from zoo.networks.conv_stack import ConvStack
from zoo.networks.sequence_network import SequenceConfig, SequenceNetwork
from zoo.networks.token_mixers import ConvolutionLayer
from zoo.plots.style import COLORS, add_grid_and_legend, new_figure
from zoo.studies.base import Row, Table, check_each_at_least, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 4
KINDS = {
    "conv": "dilated convolution", "window": f"attention, window {WINDOW}",
    "transformer": "attention", "rnn": "RNN", "lstm": "LSTM",
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Gradients by distance, receptive fields by depth and of image stacks, and times."""

    length: int
    gradients: dict[str, Tensor]  # gradient norm of the last output, from its token back, (length,)
    depths: tuple[int, ...]
    fields: dict[str, list[int]]
    pixels: dict[int, Tensor]  # number of convolutions → |gradient| of the center output
    lengths: tuple[int, ...]
    parallel_ms: dict[str, list[float]]  # milliseconds per token
    stepwise_ms: dict[str, list[float]]


def run(
    length: int = 128, depths: tuple[int, ...] = (1, 2, 3, 4, 5),
    lengths: tuple[int, ...] = (64, 128, 256, 512), seed: int = 0,
) -> Result:  # fmt: skip
    """Compute gradients through untrained networks, and time them.

    Args:
        length: number of tokens of the sequences whose gradients are computed, at least 8; from
            about 500 on, gradients through the RNN underflow to zero.
        depths: numbers of layers L.
        lengths: numbers of tokens of the sequences that are timed.
        seed: random seed of weights and inputs.
    """
    check_at_least(8, length=length)
    check_each_at_least(1, depths=depths, lengths=lengths)
    torch.manual_seed(seed)
    fields: dict[str, list[int]] = {}
    for kind in track(KINDS, "receptive fields"):
        fields[kind] = [
            receptive_field(token_gradients(make_network(kind, depth), length)) for depth in depths
        ]
    parallel_ms: dict[str, list[float]] = {}
    stepwise_ms: dict[str, list[float]] = {}
    for kind in track(("conv", "transformer", "lstm"), "times"):
        parallel_ms[kind] = [time_per_token(kind, count, stepwise=False) for count in lengths]
        stepwise_ms[kind] = [time_per_token(kind, count, stepwise=True) for count in lengths]
    return Result(
        length, {kind: token_gradients(make_network(kind, max(depths)), length) for kind in KINDS},
        tuple(depths), fields, {count: pixel_gradients(count) for count in (1, 2, 3)},
        tuple(lengths), parallel_ms, stepwise_ms,
    )  # fmt: skip


def make_network(kind: str, layers: int, dim: int = 16) -> SequenceNetwork:
    """Create a causal stack, with initial weights so large that no path has a gradient of zero."""
    layer_type = "transformer" if kind == "window" else kind
    config = SequenceConfig(layer_type=layer_type, dim=dim, layers=layers, heads=2, init_std=0.3)
    window = WINDOW if kind == "window" else None
    network = SequenceNetwork(config, max_length=1024, causal=True, window=window)
    return network.double().eval()


def expected_field(kind: str, layers: int, length: int) -> int:
    """Return the number of tokens that the last output sees in theory, its own included."""
    if kind == "conv":
        return min(length, 1 + (ConvolutionLayer.kernel_size - 1) * (2**layers - 1))
    if kind == "window":
        return min(length, 1 + layers * (WINDOW - 1))
    return length


def token_gradients(network: SequenceNetwork, length: int) -> Tensor:
    """Return the gradient norms of the last output by each token, from the last one back,
    (length,)."""
    x = torch.randn(1, length, 16, dtype=torch.float64, requires_grad=True)
    # the plain sum of the output would be constant because of the final normalization
    network(x)[0, -1].pow(3).sum().backward()
    assert x.grad is not None
    return x.grad[0].norm(dim=1).flip(0)


def receptive_field(gradients: Tensor) -> int:
    """Return the number of tokens up to the farthest one with a gradient that is not zero."""
    return int(gradients.nonzero().max()) + 1


def make_image_stack(count: int) -> ConvStack:
    """Create 3×3 convolutions, each followed by 2×2 average pooling."""
    return ConvStack(
        (1, 64, 64), (8,) * count, pooling="avg", normalization="none", activation="elu"
    )


def expected_image_field(count: int) -> int:
    """Return 1 + Σ (k_i − 1) Π s_j for convolutions (k = 3, s = 1) and poolings (k = 2, s = 2) in
    turn."""
    field, stride = 1, 1
    for _ in range(count):
        field += (3 - 1) * stride + (2 - 1) * stride
        stride *= 2
    return field


def pixel_gradients(count: int) -> Tensor:
    """Return |∂(center output)/∂pixel| of a stack of ``count`` convolutions, (64, 64)."""
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    y = make_image_stack(count).double()(x)
    center = y.shape[-1] // 2
    y[0, :, center, center].sum().backward()
    assert x.grad is not None
    return x.grad[0, 0].abs()


def time_per_token(kind: str, length: int, stepwise: bool, repeats: int = 3) -> float:
    """Return the median milliseconds per token of a network with two layers.

    Args:
        kind: one of ``KINDS``.
        length: number of tokens.
        stepwise: whether tokens are given one by one, with a state, instead of all at once.
        repeats: number of timings, default 3.
    """
    network = make_network(kind, 2, dim=64).float()
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
    """Return receptive fields next to their theory, relative gradients, and times."""
    rows: list[Row] = []
    for kind, fields in result.fields.items():
        for depth, field in zip(result.depths, fields, strict=True):
            if kind in ("conv", "window") or depth == 1:
                label = f"{KINDS[kind]}, {depth} {'layer' if depth == 1 else 'layers'}: tokens seen"
                rows.append((label, field, expected_field(kind, depth, result.length)))
    for count, pixels in result.pixels.items():
        side = int((pixels > 0).any(0).sum())
        rows.append((f"image, {count} × (convolution, pooling): side in pixels", side,
                     expected_image_field(count)))  # fmt: skip
    for kind in ("transformer", "rnn", "lstm"):
        g = result.gradients[kind]
        back = min(30, len(g) - 1)
        rows.append((f"{KINDS[kind]}: gradient {back} tokens back / at the last token",
                     float(g[back] / g[0])))  # fmt: skip
    for kind, times in result.parallel_ms.items():
        stepwise = f"one by one: {result.stepwise_ms[kind][-1]:.3g} ms"
        rows.append((f"{KINDS[kind]}, {result.lengths[-1]} tokens in parallel: ms per token",
                     times[-1], None, stepwise))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw gradients by distance, receptive fields by depth and of images, and times."""
    figure = new_figure(12, 6.8)
    (by_distance, by_depth, times), images = figure.subplots(2, 3)
    for color, (kind, g) in zip(COLORS, result.gradients.items(), strict=False):
        by_distance.semilogy(g[g > 0] / g[0], color=color, label=KINDS[kind])
    by_distance.set(xlabel="Tokens back", ylabel="Relative gradient norm")
    by_distance.set_title(f"Gradient of the last output, {max(result.depths)} layers", fontsize=10)
    for color, (kind, fields) in zip(COLORS, result.fields.items(), strict=False):
        expected = [expected_field(kind, depth, result.length) for depth in result.depths]
        by_depth.plot(result.depths, expected, color=color, linewidth=1)
        by_depth.plot(result.depths, fields, "o", color=color, label=KINDS[kind])
    by_depth.set(xlabel="Layers", ylabel="Tokens", yscale="log")
    by_depth.set_title("Receptive field (lines: theory)", fontsize=10)
    for color, kind in zip(COLORS, result.parallel_ms, strict=False):
        times.loglog(result.lengths, result.parallel_ms[kind], "o-", color=color,
                     label=f"{KINDS[kind]}, parallel")  # fmt: skip
        times.loglog(result.lengths, result.stepwise_ms[kind], "s--", color=color,
                     label=f"{KINDS[kind]}, one by one")  # fmt: skip
    times.set_xticks(result.lengths, [str(count) for count in result.lengths])
    times.minorticks_off()
    times.set(xlabel="Tokens", ylabel="Time per token (ms)")
    times.set_title("Time of two layers of width 64", fontsize=10)
    add_grid_and_legend(by_distance, by_depth, times)
    for axes, (count, pixels) in zip(images, result.pixels.items(), strict=True):
        side = expected_image_field(count)
        axes.imshow(pixels / pixels.max(), cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"{count} × (convolution, pooling): {side}×{side} pixels", fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure
