"""Latent spaces of an autoencoder, a VAE and PCA: decoding points between codes.

Do points between the codes of real images decode to realistic images? An autoencoder is trained
only to reconstruct, so its latent space can have holes: on a line between two codes there may be
points that decode to nothing like the data. The decoder of a VAE has to work for samples of q(z|x)
for all x, which overlap around 0. The decoder of PCA is linear: it maps a line between two codes to
the straight line between the two reconstructions, in equal steps.

The study measures holes along lines between test digits of different classes, in two ways: by the
distance from decoded images to the nearest training digit, compared with the same distance for
reconstructions of test digits; and by the unevenness of the decoded path, its longest step divided
by its mean step.

Sources: Kingma and Welling, Auto-encoding variational Bayes, 2014; Ghosh et al., From variational
to deterministic autoencoders, 2020, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Digits
from zoo.errors import check_at_least
from zoo.functional.paths import linear_path
from zoo.plots.images import show_image, tile
from zoo.plots.latent import scatter_classes
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure, subfigures
from zoo.studies.base import Row, Table, fit, make_generator, sentence_case, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 9  # points on a line, ends included


@dataclass(frozen=True)
class Result:
    """Codes of test digits, one decoded line, and measurements on all lines, by model."""

    labels: Tensor
    codes: dict[str, Tensor]
    ends: dict[str, Tensor]  # codes at the ends of the drawn line, (2, 2)
    images: dict[str, Tensor]  # the drawn line, decoded, (STEPS, 1, 8, 8)
    distances: dict[str, Tensor]  # to the nearest training digit, (pairs, STEPS)
    reconstruction_distance: dict[str, float]  # mean over reconstructions of test digits
    unevenness: dict[str, Tensor]  # (pairs,)
    pca_deviation: float  # largest distance of PCA's decoded lines from straight lines


def run(epochs: int = 60, pairs: int = 300, seed: int = 0) -> Result:
    """Train the three models on digits, and decode lines between codes.

    Args:
        epochs: training epochs of the autoencoder and the VAE.
        pairs: number of lines, between test digits of different classes.
        seed: random seed of initial weights, batches and pairs.
    """
    check_at_least(1, epochs=epochs, pairs=pairs)
    data = Digits(batch_size=64, seed=seed)
    train_images, _ = data.evaluation_samples("train")
    x, y = data.evaluation_samples("test")
    first, second = pairs_of_two_classes(y, pairs, seed)
    models = {
        name: train(name, data, epochs, seed)
        for name in track(("PCA", "autoencoder", "VAE"), "models")
    }
    codes, ends, images, distances, unevenness, reconstruction_distance = ({} for _ in range(6))
    with torch.no_grad():
        for name, model in models.items():
            z = model.encode(x)
            line = linear_path(z[first], z[second], STEPS)  # (STEPS, pairs, 2)
            decoded = model.decode(line.flatten(0, 1)).unflatten(0, line.shape[:2])
            codes[name], images[name] = z, decoded[:, 0]
            ends[name] = torch.stack([z[first[0]], z[second[0]]])
            distances[name] = nearest(decoded.flatten(0, 1), train_images).view(STEPS, -1).mT
            reconstruction_distance[name] = float(
                nearest(model.reconstruct(x), train_images).mean()
            )
            step_norms = decoded.diff(dim=0).flatten(2).norm(dim=2)
            unevenness[name] = step_norms.amax(0) / step_norms.mean(0)
        pca = models["PCA"]
        reconstructions = [pca.reconstruct(x[i]).flatten(1) for i in (first, second)]
        straight = linear_path(reconstructions[0], reconstructions[1], STEPS)
        line = linear_path(pca.encode(x[first]), pca.encode(x[second]), STEPS)
        decoded = pca.decode(line.flatten(0, 1)).flatten(1)
        deviation = float((decoded - straight.flatten(0, 1)).norm(dim=1).max())
    return Result(y, codes, ends, images, distances, reconstruction_distance, unevenness, deviation)


def pairs_of_two_classes(y: Tensor, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return indices of the first and second samples of pairs from two classes, (pairs,) each."""
    chosen = torch.randint(len(y), (20 * pairs + 20, 2), generator=make_generator(seed))
    first, second = chosen[y[chosen[:, 0]] != y[chosen[:, 1]]][:pairs].mT
    return first, second


def train(name: str, data: Digits, epochs: int, seed: int) -> Any:
    """Train a model with two latent dimensions."""
    from zoo import PCA, VAE, Autoencoder

    torch.manual_seed(seed)
    if name == "PCA":
        return fit(PCA(data.input_shape, 2), data, 1)
    cls = Autoencoder if name == "autoencoder" else VAE
    model = cls(data.input_shape, 2, hidden_dims=(128, 64), lr=3e-3, schedule="cosine")
    return fit(model, data, epochs)


def nearest(images: Tensor, train_images: Tensor) -> Tensor:
    """Return the L2 distance of each image to the nearest training image, (N,)."""
    return torch.cdist(images.flatten(1), train_images.flatten(1)).min(1).values


def table(result: Result) -> Table:
    """Return distances to training digits, and the unevenness of decoded lines."""
    rows: list[Row] = []
    for name, distances in result.distances.items():
        worst = float(distances.max(1).values.mean())
        base = result.reconstruction_distance[name]
        rows += [
            (f"{name}: reconstructions to the nearest training digit, mean L2", base),
            (f"{name}: farthest point of a line, mean L2", worst, None,
             f"{worst / base:.2f} times that of reconstructions"),
            (f"{name}: longest step / mean step", float(result.unevenness[name].mean()),
             1.0 if name == "PCA" else None),
        ]  # fmt: skip
    rows.append(("PCA: largest deviation from the straight line, L2", result.pca_deviation, 0.0))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the codes with one line and its decoded images, and measurements on all lines."""
    figure = new_figure(11.5, 7.4)
    above, below = subfigures(figure, 2, 1, height_ratios=[2.1, 1])
    grid = above.subplots(2, 3, height_ratios=[5, 1])
    for column, (name, codes) in enumerate(result.codes.items()):
        axes, strip = grid[:, column]
        scatter_classes(axes, codes, result.labels)
        axes.plot(*result.ends[name].T, "o-", color=INK, markersize=5, markerfacecolor="white")
        axes.set_title(sentence_case(name), fontsize=10)
        show_image(strip, tile(result.images[name], STEPS))
        strip.set_title("Decoded line", fontsize=8)
    farthest, unevenness = below.subplots(1, 2)
    positions = torch.linspace(0, 1, STEPS)
    for color, (name, distances) in zip(COLORS, result.distances.items(), strict=False):
        relative = distances.mean(0) / result.reconstruction_distance[name]
        farthest.plot(positions, relative, "o-", color=color, markersize=3, label=name)
        unevenness.hist(result.unevenness[name], bins=40, range=(1, 5), histtype="step",
                        color=color, linewidth=1.4, label=name)  # fmt: skip
    farthest.set(xlabel="Position on the line", ylabel="Relative distance")
    farthest.set_title("Distance to the nearest training digit (reconstructions: 1)", fontsize=9)
    unevenness.set(xlabel="Longest step / mean step", ylabel="Lines")
    unevenness.set_title("Unevenness of decoded lines", fontsize=9)
    add_grid_and_legend(farthest, unevenness, size=8)
    return figure
