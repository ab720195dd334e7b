"""Codes of an autoencoder, a VAE and PCA in the plane, and what lies between.

An autoencoder is asked for reconstructions alone, and leaves holes among its codes: a line between
two codes may lead through places that decode to nothing like data. A VAE's decoder has to work for
draws from q(z|x) that overlap around 0. Holes are measured along lines between test digits of
different classes: how far the decoded images are from the nearest training digit, beside the same
for reconstructions of test digits; and by how unequal the steps along the line are, the longest
over the mean. PCA's decoder is linear: its line is the straight one between two reconstructions,
and its steps are equal.

Sources: Kingma and Welling, Auto-encoding variational Bayes, 2014; Ghosh et al., From variational
to deterministic autoencoders, 2020, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Digits
from zoo.functional.paths import linear_path
from zoo.plots.images import show_image, tile
from zoo.plots.latent import scatter_classes
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure, subfigures
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 9


@dataclass(frozen=True)
class Result:
    """Codes of test digits, one path decoded, and measures of all paths, by model."""

    labels: Tensor
    codes: dict[str, Tensor]
    ends: dict[str, Tensor]  # (2, 2), of the path that is drawn
    images: dict[str, Tensor]  # (STEPS, 1, 8, 8)
    distances: dict[str, Tensor]  # (paths, STEPS), to the nearest training digit
    reconstructed: dict[str, float]  # the same for reconstructions of test digits, mean
    unevenness: dict[str, Tensor]  # (paths,)
    straight: float  # PCA: largest distance of its path from the straight line of images


def run(epochs: int = 60, pairs: int = 300, seed: int = 0) -> Result:
    """Trains the three models on digits and walks between codes.

    Args:
        epochs: of the autoencoder and the VAE.
        pairs: test digits of different classes that are joined.
        seed: of weights, batches and pairs.
    """
    require(epochs >= 1 and pairs >= 1, "epochs and pairs must be at least 1")
    data = Digits(batch_size=64, seed=seed)
    train, _ = data.evaluation_samples("train")
    x, y = data.evaluation_samples("test")
    first, second = two_classes(y, pairs, seed)
    models = {name: make(name, data, epochs, seed) for name in track(
        ("PCA", "autoencoder", "VAE"), "models")}  # fmt: skip
    codes, ends, images, distances, unevenness, reconstructed = ({} for _ in range(6))
    with torch.no_grad():
        for name, model in models.items():
            z = model.encode(x)
            path = linear_path(z[first], z[second], STEPS)  # (STEPS, pairs, 2)
            decoded = model.decode(path.flatten(0, 1)).unflatten(0, path.shape[:2])
            codes[name], images[name] = z, decoded[:, 0]
            ends[name] = torch.stack([z[first[0]], z[second[0]]])
            distances[name] = nearest(decoded.flatten(0, 1), train).view(STEPS, -1).mT
            reconstructed[name] = float(nearest(model.reconstruct(x), train).mean())
            lengths = decoded.diff(dim=0).flatten(2).norm(dim=2)
            unevenness[name] = lengths.amax(0) / lengths.mean(0)
        pca = models["PCA"]
        ends_seen = [pca.reconstruct(x[i]).flatten(1) for i in (first, second)]
        straight = linear_path(ends_seen[0], ends_seen[1], STEPS)
        decoded = pca.decode(
            linear_path(pca.encode(x[first]), pca.encode(x[second]), STEPS).flatten(0, 1)
        )
        off = float((decoded.flatten(1) - straight.flatten(0, 1)).norm(dim=1).max())
    return Result(y, codes, ends, images, distances, reconstructed, unevenness, off)


def two_classes(y: Tensor, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of random samples, pairwise of different classes."""
    chosen = torch.randint(len(y), (20 * pairs + 20, 2), generator=generator(seed))
    first, second = chosen[y[chosen[:, 0]] != y[chosen[:, 1]]][:pairs].mT
    return first, second


def make(name: str, data: Digits, epochs: int, seed: int) -> Any:
    """A trained model of two latent dimensions."""
    from zoo import PCA, VAE, Autoencoder

    torch.manual_seed(seed)
    if name == "PCA":
        return fit(PCA(data.input_shape, 2), data, 1)
    kind = Autoencoder if name == "autoencoder" else VAE
    model = kind(data.input_shape, 2, hidden_dims=(128, 64), lr=3e-3, schedule="cosine")
    return fit(model, data, epochs)


def nearest(images: Tensor, train: Tensor) -> Tensor:
    """L2 distance to the nearest of the training images, (N,)."""
    return torch.cdist(images.flatten(1), train.flatten(1)).min(1).values


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for name, distances in result.distances.items():
        worst = float(distances.max(1).values.mean())
        base = result.reconstructed[name]
        rows += [
            (f"{name}: reconstructions to the nearest digit, mean L2", base),
            (f"{name}: farthest point of a path, mean L2", worst, None,
             f"{worst / base:.2f} times that of reconstructions"),
            (f"{name}: longest step / mean step", float(result.unevenness[name].mean()),
             1.0 if name == "PCA" else None),
        ]  # fmt: skip
    rows.append(("PCA: largest distance of a path from the straight line", result.straight, 0.0))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(11.5, 7.4)
    above, below = subfigures(figure, 2, 1, height_ratios=[2.1, 1])
    grid = above.subplots(2, 3, height_ratios=[5, 1])
    for column, (name, codes) in enumerate(result.codes.items()):
        axes, strip = grid[:, column]
        scatter_classes(axes, codes, result.labels)
        axes.plot(*result.ends[name].T, "o-", color=INK, markersize=5, markerfacecolor="white")
        axes.set_title(name, fontsize=10)
        show_image(strip, tile(result.images[name], STEPS))
        strip.set_title("the line, decoded", fontsize=8)
    farthest, steps = below.subplots(1, 2)
    where = torch.linspace(0, 1, STEPS)
    for color, (name, distances) in zip(COLORS, result.distances.items(), strict=False):
        farthest.plot(where, distances.mean(0) / result.reconstructed[name], "o-", color=color,
                      markersize=3, label=name)  # fmt: skip
        steps.hist(result.unevenness[name], bins=40, range=(1, 5), histtype="step", color=color,
                   linewidth=1.4, label=name)  # fmt: skip
    farthest.set(xlabel="place on the line")
    farthest.set_title("Distance to the nearest training digit; 1: reconstructions", fontsize=9)
    steps.set(xlabel="longest step / mean step", ylabel="lines")
    steps.set_title("How even the lines are", fontsize=9)
    add_grid_and_legend(farthest, steps, size=8)
    return figure
