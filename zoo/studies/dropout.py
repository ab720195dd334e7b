"""Dropout as an ensemble of sub-networks: by sampling, scaling and counting.

A network with n units that are dropped with probability 1 − p is an ensemble of 2ⁿ networks that
share weights. In evaluation its weights are scaled instead, by p. With one hidden layer that is
exact: the mean score over all masks is the score of the scaled network, and the normalised
geometric mean of all softmax predictions is its softmax. A mean over K drawn masks differs from the
whole by a deviation that falls with 1/√K. With more layers scaling is an approximation. Training
with dropout makes units rely less on each other and the code sparser. The deviation between masks
(MC dropout) is said to show where a regressor has seen nothing; that between the networks of an
ensemble does, in the gap and outside.

Sources: Srivastava et al., Dropout, 2014, sections 7.1 and 7.2; Goodfellow, Bengio and Courville,
Deep learning, section 7.12; Gal and Ghahramani, 2016; Lakshminarayanan et al., 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Digits, ToyCurves
from datamodules.tables import Table as Columns
from zoo.networks import MLP
from zoo.plots.style import COLORS, INK, finish, new_figure
from zoo.studies.base import Table, fit, generator, require, track
from zoo.studies.masks import all_masks, masked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = (1, 4, 16, 64, 256, 1024)


class GapCurve(ToyCurves):
    """A sine with nothing between −0.1 and 0.5."""

    def load_table(self) -> Columns:
        whole = super().load_table()
        kept = (whole.x[:, 0] < -0.1) | (whole.x[:, 0] > 0.5)
        return Columns(
            whole.x[kept], whole.y[kept], whole.feature_names, target_names=whole.target_names
        )


@dataclass(frozen=True)
class Result:
    """Gaps between ways to average, errors of sampling, codes, and bands of two regressors."""

    gaps: dict[str, float]
    predictions: dict[str, tuple[Tensor, Tensor]]  # geometric mean, scaled network
    sampled: Tensor  # root mean square error of the mean over K masks
    expected: Tensor
    active: dict[str, float]  # share of hidden units that are on
    correlation: dict[str, float]  # mean |correlation| of two of them
    accuracy: dict[str, float]
    activations: dict[str, Tensor]
    x: Tensor
    y: Tensor
    grid: Tensor
    bands: dict[str, tuple[Tensor, Tensor]]  # mean, deviation between members


def run(
    units: int = 10, keep: float = 0.5, epochs: int = 40, members: int = 10, seed: int = 0
) -> Result:  # fmt: skip
    """Counts all masks of a small network, and trains with and without dropout.

    Args:
        units: n, at most 14.
        keep: p, between 0 and 1.
        epochs: of the classifiers.
        members: of the deep ensemble.
        seed: of everything random.
    """
    require(2 <= units <= 14, f"units must lie between 2 and 14, got {units}")
    require(0 < keep < 1, f"keep must lie between 0 and 1, got {keep:g}")
    require(epochs >= 1 and members >= 2, "epochs must be at least 1, members at least 2")
    sampled, expected = sampling(units, keep, seed)
    codes = {name: code(rate, epochs, seed) for name, rate in track(
        {"without dropout": 0.0, "with dropout": 0.5}.items(), "classifiers")}  # fmt: skip
    data = GapCurve("sine", num_samples=150, noise=0.1, seed=seed)
    data.setup()
    x, y = data.split("train")
    grid = torch.linspace(-1.6, 1.6, 200)[:, None]
    bands = {name: band(name, data, grid, members, seed) for name in track(
        ("MC dropout", "deep ensemble"), "regressors")}  # fmt: skip
    return Result(
        *gaps(units, keep, seed), sampled, expected,
        {name: float((h > 0).double().mean()) for name, (h, _) in codes.items()},
        {name: correlated(h) for name, (h, _) in codes.items()},
        {name: right for name, (_, right) in codes.items()},
        {name: h.flatten() for name, (h, _) in codes.items()},
        x[:, 0], y[:, 0], grid[:, 0], bands,
    )  # fmt: skip


def network(hidden: tuple[int, ...], seed: int) -> tuple[MLP, Tensor]:
    """A small network and inputs, in float64."""
    torch.manual_seed(seed)
    net = MLP([5, *hidden, 3]).double()
    for p in net.parameters():
        torch.nn.init.normal_(p)
    return net, torch.randn(20, 5, dtype=torch.float64)


@torch.no_grad()
def gaps(units: int, keep: float, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Largest differences between the scaled network and means over all masks; predictions."""
    found: dict[str, Tensor] = {}
    predictions = {}
    for name, hidden in (("one layer", (units,)), ("two layers", (units // 2, units - units // 2))):
        net, x = network(hidden, seed)
        masks, weight = all_masks(units, keep)
        scores = masked(net, x, masks)  # (2ⁿ, B, K)
        scaled = masked(net, x, torch.full((1, units), keep, dtype=x.dtype))[0]
        log_p = scores.log_softmax(-1)
        geometric = (weight[:, None, None] * log_p).sum(0).softmax(-1)
        arithmetic = (weight[:, None, None] * log_p.exp()).sum(0)
        mean = (weight[:, None, None] * scores).sum(0)
        found |= {
            f"{name}: mean score and scaled network": mean - scaled,
            f"{name}: geometric mean of predictions and scaled network": (
                geometric - scaled.softmax(-1)
            ),
            f"{name}: arithmetic mean of predictions and scaled network": (
                arithmetic - scaled.softmax(-1)
            ),
        }
        predictions[name] = geometric.flatten(), scaled.softmax(-1).flatten()
    return {name: float(gap.abs().max()) for name, gap in found.items()}, predictions


@torch.no_grad()
def sampling(units: int, keep: float, seed: int, repeats: int = 50) -> tuple[Tensor, Tensor]:
    """Root mean square error of the mean prediction over K drawn masks, and its theory: the
    deviation between masks over √K."""
    net, x = network((units,), seed)
    masks, weight = all_masks(units, keep)
    p = masked(net, x, masks).softmax(-1)
    whole = (weight[:, None, None] * p).sum(0)
    variance = (weight[:, None, None] * (p - whole).square()).sum(0).mean()
    errors = []
    for draws in DRAWS:
        chosen = torch.multinomial(weight, repeats * draws, True, generator=generator(seed))
        means = p[chosen].unflatten(0, (repeats, draws)).mean(1)
        errors.append((means - whole).square().mean().sqrt())
    return torch.stack(errors), (variance / torch.tensor(DRAWS, dtype=p.dtype)).sqrt()


def code(rate: float, epochs: int, seed: int) -> tuple[Tensor, float]:
    """Hidden activations of a classifier on test digits, and its accuracy."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(128,), dropout=rate, input_dropout=0.0, lr=3e-3
    )
    fit(model, data, epochs)
    x, y = data.evaluation_samples("test")
    hidden = torch.nn.Sequential(*list(model.network.children())[:3])  # up to the ReLU
    with torch.no_grad():
        return hidden(x), float((model.logits(x).argmax(1) == y).double().mean())


def correlated(hidden: Tensor) -> float:
    """Mean |correlation| between two hidden units that are not silent."""
    alive = hidden[:, hidden.std(0) > 1e-6]
    matrix = torch.corrcoef(alive.mT).abs()
    count = len(matrix)
    return float((matrix.sum() - count) / (count * (count - 1)))


def band(name: str, data: Any, grid: Tensor, members: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean prediction on a grid, and the deviation between masks or members."""
    from zoo import DeepEnsembleRegressor, MCDropoutRegressor

    torch.manual_seed(seed)
    settings = {"hidden_dims": (64, 64), "dropout": 0.1 if name == "MC dropout" else 0.0}
    common: dict[str, Any] = {"member_settings": settings, "lr": 5e-3}
    if name == "MC dropout":
        model: Any = MCDropoutRegressor((1,), 1, num_passes=200, **common)
    else:
        model = DeepEnsembleRegressor((1,), 1, num_members=members, **common)
    fit(model, data, 300)
    with torch.no_grad():
        outputs = model.member_outputs(grid)[..., 0, 0]  # (members, grid)
    return outputs.mean(0), outputs.std(0)


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = [
        (name, gap, 0 if name.startswith("one layer") and "arithmetic" not in name else None)
        for name, gap in result.gaps.items()
    ]
    for draws, error, expected in zip(
        DRAWS, result.sampled.tolist(), result.expected.tolist(), strict=True
    ):
        rows.append((f"error of the mean over {draws:,} masks", error, expected))
    for name in result.active:
        rows.append((f"{name}: hidden units that are on", result.active[name], None,
                     f"test accuracy {result.accuracy[name]:.1%}"))  # fmt: skip
        rows.append((f"{name}: mean |correlation| of two units", result.correlation[name]))
    outside = result.grid.abs() > 1.1
    places = {"in the gap": (result.grid > -0.1) & (result.grid < 0.5), "outside": outside}
    seen = ~outside & ~places["in the gap"]
    for name, (_, deviation) in result.bands.items():
        rows += [
            (f"{name}: deviation {where} / where there are data",
             float(deviation[place].mean() / deviation[seen].mean()))
            for where, place in places.items()
        ]  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 7)
    (sampling, hidden, bars), (exact, mc, ensemble) = figure.subplots(2, 3)
    exact.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for color, (name, pair) in zip(COLORS, result.predictions.items(), strict=False):
        exact.plot(*pair, "o", color=color, markersize=4, label=name)
    exact.set(xlabel="geometric mean over all masks", ylabel="scaled network")
    exact.set_title("Probabilities of classes", fontsize=10)
    sampling.loglog(DRAWS, result.expected, color=INK, linewidth=1, label="deviation/√K")
    sampling.loglog(DRAWS, result.sampled, "o", color=COLORS[1], label="measured")
    sampling.set(xlabel="masks K")
    sampling.set_title("Error of the mean over K masks", fontsize=10)
    limit = max(float(h.quantile(0.999)) for h in result.activations.values())
    for color, (name, h) in zip(COLORS, result.activations.items(), strict=False):
        hidden.hist(h, bins=60, range=(0, limit), color=color, alpha=0.5, log=True, label=name)
    hidden.set(xlabel="activation of a hidden unit")
    hidden.set_title("Codes of test digits", fontsize=10)
    for shift, (name, color) in enumerate(zip(result.active, COLORS, strict=False)):
        heights = [result.active[name], result.correlation[name]]
        bars.bar([shift * 0.4, 1 + shift * 0.4], heights, 0.38, color=color, alpha=0.7, label=name)
    bars.set_xticks([0.2, 1.2], ["units on", "|correlation| of units"])
    bars.set_title("Sparsity and co-adaptation", fontsize=10)
    for axes, (name, (mean, deviation)) in zip((mc, ensemble), result.bands.items(), strict=True):
        axes.plot(result.x, result.y, "o", color=COLORS[4], markersize=3, label="data")
        axes.plot(result.grid, (torch.pi * result.grid).sin(), color=INK, linewidth=0.8,
                  linestyle="--", label="truth")  # fmt: skip
        axes.plot(result.grid, mean, color=COLORS[1], label="mean")
        axes.fill_between(result.grid, mean - 2 * deviation, mean + 2 * deviation, alpha=0.25,
                          color=COLORS[1], linewidth=0, label="± 2 deviations")  # fmt: skip
        axes.set(ylim=(-2.2, 2.2), xlabel="x")
        axes.set_title(name, fontsize=10)
    finish(sampling, hidden, bars, exact, mc, ensemble)
    return figure
