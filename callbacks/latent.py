"""Figures of a latent space, for any ``LatentModel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from callbacks.figures import (
    FigureCallback,
    evaluation_mode,
    save_animation,
    save_figure,
    writes_files,
)
from zoo import plots
from zoo.errors import InputError, check_at_least, check_choice, check_integer
from zoo.functional.paths import interpolation_path
from zoo.models.latent.base import LatentModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_POINTS = 2_000  # generated points, and data points behind them, in a figure of Samples
NUM_CODES = 10_000  # codes from which the percentiles of LatentManifold are estimated
ENDS_PER_PATH = 40  # samples kept for each path, so that its ends can have different classes
WALK_STRIP = 12  # frames in the figure of a LatentWalk, approximately
PATH_NAMES = {"linear": "straight lines", "spherical": "arcs", "isometric": "isometric paths"}


class LatentFigure(FigureCallback):
    """Base class of the figures of a latent model.

    Raises:
        InputError: at the start of a run, if the figure does not fit the model.
    """

    #: whether the figure encodes samples
    needs_encoder = False
    #: whether the figure shows samples as images
    needs_images = True
    #: whether two-dimensional samples can be drawn as points instead
    takes_points = False

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        name, model = type(self).__name__, type(pl_module).__name__
        if not isinstance(pl_module, LatentModel):
            raise InputError(f"{name} needs a latent model, got {model}: leave the callback out")
        if self.needs_encoder and not pl_module.has_encoder:
            raise InputError(f"{name} needs an encoder, {model} has none: leave the callback out")
        shape = pl_module.input_shape
        if not self.needs_images or (self.takes_points and shape == (2,)):
            return
        if not pl_module.has_images:
            raise InputError(
                f"{model} cannot draw samples of shape {tuple(shape)}: leave {name} out "
                "(--trainer.callbacks null leaves out all callbacks)"
            )


class LatentScatter(LatentFigure):
    """Draw codes of evaluation samples in the plane, colored by class.

    Codes of more than two dimensions are projected onto their first two principal axes.

    Args:
        num_samples: number of evaluation samples, default 2,000.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_scatter"
    needs_encoder = True
    needs_images = False

    def __init__(self, num_samples: int = 2_000, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        codes = model.encode(x)
        size = f"{len(x):,} samples, {codes.shape[1]} dimensions"
        return plots.latent_scatter(codes, y, f"{type(model).__name__}: latent codes ({size})")


class LatentManifold(LatentFigure):
    """Draw images decoded from a grid over two latent dimensions.

    The grid runs over percentiles of 10,000 codes from ``sample_latent``. The other dimensions have
    the values of the code that is nearest to the median of all codes.

    Args:
        grid_size: number of images along each dimension, default 15.
        axes: indices of the two latent dimensions, default (0, 1).
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_manifold"

    def __init__(
        self,
        grid_size: int = 15,
        axes: tuple[int, int] = (0, 1),
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(1, every_n_epochs)
        check_at_least(2, grid_size=grid_size)
        check_at_least(0, axes=axes)
        self.grid_size = grid_size
        self.axes = axes

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        generator = torch.Generator(model.device).manual_seed(0)
        codes = model.sample_latent(NUM_CODES, generator)  # (N, D)
        horizontal, vertical = (min(axis, codes.shape[1] - 1) for axis in self.axes)
        percentiles = torch.linspace(1, 99, self.grid_size, device=codes.device)
        center = codes[(codes - codes.median(0).values).square().sum(1).argmin()]
        grid = center.repeat(self.grid_size, self.grid_size, 1)  # (grid_size, grid_size, D)
        values = codes.float().quantile(percentiles / 100, dim=0).to(codes)  # (grid_size, D)
        grid[:, :, vertical] = values[:, None, vertical]
        grid[:, :, horizontal] = values[None, :, horizontal]
        images = model.to_images(model.decode(grid.flatten(0, 1)))
        title = f"{type(model).__name__}: images decoded from a latent grid"
        axis_names = (f"z{horizontal + 1}", f"z{vertical + 1}")
        return plots.latent_manifold(images, percentiles.tolist(), title, axis_names)


class LatentInterpolation(LatentFigure):
    """Draw images decoded along latent paths between samples of different classes.

    For a model without an encoder, the paths join codes sampled from the model's density, the same
    codes each time.

    Args:
        num_pairs: number of paths, default 5.
        steps: images along each path, both ends included; default 11.
        kind: kind of path, ``linear`` (default) or another of the model's ``path_types``.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_interpolation"

    def __init__(
        self,
        num_pairs: int = 5,
        steps: int = 11,
        kind: str = "linear",
        every_n_epochs: int | None = None,
    ) -> None:
        check_at_least(1, num_pairs=num_pairs)
        check_at_least(2, steps=steps)
        super().__init__(ENDS_PER_PATH * num_pairs, every_n_epochs)
        self.num_pairs = num_pairs
        self.steps = steps
        self.kind = kind

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        check_choice("kind of path", self.kind, pl_module.path_types)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        title = f"{type(model).__name__}: {PATH_NAMES.get(self.kind, self.kind)} between"
        if model.has_encoder:
            rows, labels = self._between_samples(model, x, y)
            return plots.image_rows(rows, labels, f"{title} codes (inputs at both ends)")
        rows, labels = self._between_sampled_codes(model)
        return plots.image_rows(rows, labels, f"{title} sampled codes")

    def _between_samples(self, model: Any, x: Tensor, y: Tensor) -> tuple[list[Tensor], list[str]]:
        """Return rows of images with their inputs at both ends, and the classes of each row."""
        first, second = pairs_across_classes(y, self.num_pairs)
        paths = model.interpolate(x[first], x[second], self.steps, self.kind)
        rows = []
        for start, end, path in zip(x[first], x[second], paths.unbind(1), strict=True):
            images = model.to_images(torch.cat([start[None], path, end[None]]))
            blank = torch.ones_like(images[:1])
            rows.append(torch.cat([images[:1], blank, images[1:-1], blank, images[-1:]]))
        return rows, [f"{int(y[i])} → {int(y[j])}" for i, j in zip(first, second, strict=True)]

    def _between_sampled_codes(self, model: Any) -> tuple[list[Tensor], list[str]]:
        """Return rows of images between sampled codes, and the indices of each row's codes."""
        generator = torch.Generator(model.device).manual_seed(0)
        start, end = model.sample_latent(2 * self.num_pairs, generator).split(self.num_pairs)
        paths = interpolation_path(self.kind, start, end, self.steps)
        rows = [model.to_images(model.decode(path)) for path in paths.unbind(1)]
        return rows, [f"{2 * i + 1} → {2 * i + 2}" for i in range(self.num_pairs)]


class LatentWalk(LatentFigure):
    """Animate a closed path through latent space that visits evaluation samples in turn.

    Writes ``figures/latent_walk.gif``, and some of its frames as ``figures/latent_walk.png``.

    Args:
        num_samples: number of samples on the path, starting from the first; default 6.
        steps: frames from one sample to the next, default 8.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_walk"
    needs_encoder = True

    def __init__(
        self, num_samples: int = 6, steps: int = 8, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        check_at_least(1, steps=steps)
        self.steps = steps

    def _save(self, trainer: Trainer, pl_module: Any, name: str) -> None:
        inputs = self._draw_inputs(pl_module.device)
        if not inputs or not writes_files(trainer):
            return
        x = inputs[0]
        with evaluation_mode(pl_module):
            path = pl_module.interpolate(x, x.roll(-1, 0), self.steps + 1)[:-1]
            images = pl_module.to_images(path.transpose(0, 1).flatten(0, 1))
        model = type(pl_module).__name__
        frames = [plots.image_grid(image[None], model, columns=1, width=2.4) for image in images]
        save_animation(trainer, frames, name)
        strip = images[:: max(1, len(images) // WALK_STRIP)]
        title = f"{model}: latent walk through {len(x)} samples"
        figure = plots.image_rows([strip], [""], title)
        save_figure(trainer, figure, name)


class ExplainedVariance(FigureCallback):
    """Draw the explained variance of each principal component of a ``PCA``.

    Args:
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Raises:
        InputError: the model is not a ``PCA``.
    """

    name = "explained_variance"

    def __init__(self, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if not hasattr(type(pl_module), "explained_variance_ratio"):
            raise InputError(
                f"ExplainedVariance needs a PCA, got {type(pl_module).__name__}: leave the callback"
                " out"
            )

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        ratios = model.explained_variance_ratio
        total = f"{len(ratios)} components explain {ratios.sum():.1%} of the variance"
        return plots.explained_variance(ratios, f"{type(model).__name__}: {total}")


class Reconstructions(LatentFigure):
    """Draw evaluation samples above their reconstructions.

    Args:
        num_samples: number of evaluation samples, starting from the first; default 12.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "reconstructions"
    needs_encoder = True

    def __init__(self, num_samples: int = 12, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        reconstructed = model.reconstruct(x)
        error = (reconstructed - x).square().mean()
        title = f"{type(model).__name__}: reconstructions, mean squared error {error:.4f}"
        rows = [model.to_images(x), model.to_images(reconstructed)]
        return plots.image_rows(rows, ["Input", "Reconstruction"], title)


class Samples(LatentFigure):
    """Draw samples from the model, with the same noise each time.

    Two-dimensional samples are drawn as points over the data.

    Args:
        num_images: number of images, default 64; points are as many as the data points.
        seed: random seed of the noise, default 0.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "samples"
    takes_points = True

    def __init__(
        self, num_images: int = 64, seed: int = 0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(NUM_POINTS, every_n_epochs)
        check_at_least(1, num_images=num_images)
        check_integer(seed=seed)
        self.num_images = num_images
        self.seed = seed

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        generator = torch.Generator(model.device).manual_seed(self.seed)
        title = f"{type(model).__name__}: samples"
        if x.ndim == 2:
            samples = model.sample(len(x), generator=generator)
            return plots.scatter_panels([samples], x, [""], title)
        samples = model.sample(self.num_images, generator=generator)
        return plots.image_grid(model.to_images(samples), title)


def pairs_across_classes(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the indices of ``count`` pairs of samples, of different classes where possible.

    Args:
        labels: class indices, (N,).
        count: number of pairs.

    Returns:
        Indices of the first and of the second sample of each pair, (count,) each.
    """
    classes = labels.unique()
    if len(classes) < 2:
        indices = torch.arange(2 * count) % len(labels)
        return indices[:count], indices[count:]
    first: list[Tensor] = []
    second: list[Tensor] = []
    for pair in range(count):
        for ends, position in ((first, 2 * pair), (second, 2 * pair + 1)):
            members = (labels == classes[position % len(classes)]).nonzero()[:, 0]
            ends.append(members[position // len(classes) % len(members)])
    return torch.stack(first), torch.stack(second)
