"""Pictures of a latent space, for any ``LatentModel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from callbacks.figures import FigureCallback
from zoo import plots
from zoo.errors import InputError
from zoo.functional.paths import interpolation_path
from zoo.models.latent.base import LatentModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


POINTS = 2_000  # of samples in the plane, and of data below them


class LatentScatter(FigureCallback):
    """Codes of evaluation inputs in the plane, coloured by class (through PCA beyond 2-D).

    Args:
        num_samples: inputs, default 2000.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_scatter"

    def __init__(self, num_samples: int = 2000, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        codes = model.encode(x)
        title = f"{type(model).__name__}: codes of {len(x)} inputs, {codes.shape[1]} dimensions"
        return plots.latent_scatter(codes, y, title)


class _Shown(FigureCallback):
    """A figure that shows samples as pictures."""

    plane = False  # whether points in the plane do as well

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if not isinstance(pl_module, LatentModel):
            raise InputError(
                f"{type(self).__name__} draws samples of a latent model, which "
                f"{type(pl_module).__name__} is not: leave the callback out"
            )
        shape = pl_module.input_shape
        if self.plane and len(shape) == 1:
            return
        if len(shape) != 3 and type(pl_module).to_images is LatentModel.to_images:
            raise InputError(
                f"{type(pl_module).__name__} cannot draw samples of shape {tuple(shape)}: leave "
                f"{type(self).__name__} out (--trainer.callbacks null leaves all out)"
            )


class LatentManifold(_Shown):
    """Decoded grid over the percentiles of the model's density over codes.

    Two latent axes run over their percentiles (of 10,000 codes from ``sample_latent``), the others
    stay at those of the code that is nearest to all medians.

    Args:
        side: images along each axis, default 15.
        axes: the two latent axes, default (0, 1).
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_manifold"

    def __init__(
        self, side: int = 15, axes: tuple[int, int] = (0, 1), every_n_epochs: int | None = None
    ) -> None:
        super().__init__(1, every_n_epochs)
        if side < 2:
            raise ValueError(f"side must be at least 2, got {side}")
        self.side = side
        self.axes = axes

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        generator = torch.Generator(model.device).manual_seed(0)
        codes = model.sample_latent(10_000, generator)  # (N, D)
        horizontal, vertical = (min(axis, codes.shape[1] - 1) for axis in self.axes)
        levels = torch.linspace(1, 99, self.side, device=codes.device)
        middle = codes[(codes - codes.median(0).values).square().sum(1).argmin()]
        grid = middle.repeat(self.side, self.side, 1)  # (side, side, D)
        values = codes.float().quantile(levels / 100, dim=0).to(codes)  # (side, D)
        grid[:, :, vertical] = values[:, None, vertical]
        grid[:, :, horizontal] = values[None, :, horizontal]
        title = f"{type(model).__name__}: decoded grid over the density of codes"
        names = (f"z{horizontal + 1}", f"z{vertical + 1}")
        images = model.to_images(model.decode(grid.flatten(0, 1)))
        return plots.manifold(images, levels.tolist(), title, names)


class LatentInterpolation(_Shown):
    """Paths in latent space between inputs of different classes, decoded; for a model without an
    encoder between codes drawn from its density, the same every time.

    Args:
        pairs: paths, default 5.
        steps: images along each, both ends included, default 11.
        kind: ``linear`` (default), ``spherical_path``, or another that the model has.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "latent_interpolation"

    def __init__(
        self,
        pairs: int = 5,
        steps: int = 11,
        kind: str = "linear",
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(40 * pairs, every_n_epochs)
        self.pairs = pairs
        self.steps = steps
        self.kind = kind

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.kind not in pl_module.path_types:
            known = ", ".join(pl_module.path_types)
            raise InputError(f"unknown kind of path {self.kind!r}; choose from {known}")

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        lines = {"linear": "straight lines", "spherical": "arcs"}.get(self.kind, "isometric paths")
        name = type(model).__name__
        if not model.has_encoder:
            generator = torch.Generator(model.device).manual_seed(0)
            ends = model.sample_latent(2 * self.pairs, generator)
            codes = interpolation_path(
                self.kind, ends[: self.pairs], ends[self.pairs :], self.steps
            )
            rows = [model.to_images(model.decode(line)) for line in codes.unbind(1)]
            labels = [f"{2 * i + 1} → {2 * i + 2}" for i in range(self.pairs)]
            return plots.image_rows(rows, labels, f"{name}: decoded {lines} between sampled codes")
        first, second = _pairs(y, self.pairs)
        lines_between = model.interpolate(x[first], x[second], self.steps, self.kind)
        rows = []
        for start, end, line in zip(x[first], x[second], lines_between.unbind(1), strict=True):
            images = model.to_images(torch.cat([start[None], line, end[None]]))
            blank = torch.ones_like(images[:1])
            rows.append(torch.cat([images[:1], blank, images[1:-1], blank, images[-1:]]))
        labels = [f"{int(y[i])} → {int(y[j])}" for i, j in zip(first, second, strict=True)]
        title = f"{name}: decoded {lines} between codes (inputs at both ends)"
        return plots.image_rows(rows, labels, title)


class ExplainedVariance(FigureCallback):
    """How much of the data's variance each principal component explains, for ``PCA``."""

    name = "explained_variance"

    def __init__(self, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        ratios = model.explained_variance_ratio
        title = f"{type(model).__name__}: {len(ratios)} components explain {ratios.sum():.1%}"
        return plots.explained_variance(ratios, title)


class Reconstructions(_Shown):
    """Inputs above their reconstructions.

    Args:
        num_samples: inputs, default 12.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "reconstructions"

    def __init__(self, num_samples: int = 12, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        reconstructed = model.reconstruct(x)
        error = (reconstructed - x).square().mean()
        title = f"{type(model).__name__}: reconstructions, mean squared error {error:.4f}"
        rows = [model.to_images(x), model.to_images(reconstructed)]
        return plots.image_rows(rows, ["input", "reconstruction"], title)


class Samples(_Shown):
    """New samples from the model, the same noise every time: images, or points in the plane over
    those of the data.

    Args:
        num_images: how many images, default 64; of points there are as many as of the data.
        seed: of the noise, default 0.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "samples"
    plane = True

    def __init__(
        self, num_images: int = 64, seed: int = 0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(POINTS, every_n_epochs)
        self.num_images = num_images
        self.seed = seed

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        generator = torch.Generator(model.device).manual_seed(self.seed)
        title = f"{type(model).__name__}: samples"
        if x.ndim == 2:
            return plots.point_panels([model.sample(len(x), generator=generator)], x, [title])
        samples = model.sample(self.num_images, generator=generator)
        return plots.image_grid(model.to_images(samples), title)


def _pairs(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices of ``count`` pairs of inputs, of different classes where there are several."""
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
