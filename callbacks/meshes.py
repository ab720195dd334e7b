"""Pictures of meshes and voxels, and of paths between shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from callbacks.figures import (
    FigureCallback,
    evaluation_mode,
    named,
    run_dir,
    save_animation,
    save_figure,
)
from zoo import plots
from zoo.errors import InputError
from zoo.functional.meshes import edge_length_distortion
from zoo.functional.paths import linear_path
from zoo.functional.voxels import voxel_faces

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Meshes(FigureCallback):
    """Meshes of the evaluation data with what a model says: which shape each is, brighter where it
    sees it, or in colours which part each vertex.

    Args:
        num_samples: meshes, the first ones; default 10.
        html: also writes the first as ``figures/meshes.html``, to turn around with the mouse; needs
            the package plotly. Default no.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Raises:
        InputError: ``html`` without plotly.
    """

    name = "meshes"

    def __init__(
        self, num_samples: int = 10, html: bool = False, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        if html:
            try:
                import plotly  # noqa: F401
            except ModuleNotFoundError:
                raise InputError(
                    'html needs the package plotly: pip install "lightning-model-zoo[html]"'
                ) from None
        self.html = html
        self._batches: list[Any] = []
        self._shown: list[plots.Drawn] = []

    def _begin(self, stage: str) -> None:
        if stage != self._stage:
            self._stage, self._batches = stage, []

    def _collect(self, batch: Any) -> None:
        if "face" not in batch:
            raise InputError(
                f"Meshes draws meshes, the data brings {type(batch).__name__}: leave the callback "
                "out"
            )
        if sum(b.num_graphs for b in self._batches) < self.num_samples:
            self._batches.append(batch)

    def _gathered(self, device: torch.device) -> tuple[Any, ...]:
        return tuple(batch.to(device) for batch in self._batches)

    def draw(self, model: Any, *inputs: Any) -> Figure:
        names = list(getattr(self.data, "classes", None) or map(str, range(model.num_classes)))
        seen = [one for batch in inputs for one in _judged(model, batch, names)]
        drawn, titles, shares = zip(*seen[: self.num_samples], strict=True)
        self._shown = list(drawn)
        if drawn[0].labels is None:
            title = f"{type(model).__name__}: {sum(shares):.0f} of {len(shares)} right"
            return plots.meshes(drawn, titles, title, wrong=[share < 1 for share in shares])
        share = sum(shares) / len(shares)
        title = f"{type(model).__name__}: {share:.1%} of vertices right"
        return plots.meshes(drawn, titles, title, names)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        super()._draw(trainer, pl_module, name)
        if self.html and self._shown and trainer.is_global_zero and not trainer.fast_dev_run:
            path = run_dir(trainer) / "figures" / f"{name}.html"
            plots.write_html(self._shown[0], path, type(pl_module).__name__)


def _judged(model: Any, batch: Any, names: list[str]) -> Iterator[tuple[plots.Drawn, str, float]]:
    """Each mesh of a batch as it is to be drawn, its title, and which share of it is right."""
    scores, y = model.scores_and_labels(batch)
    votes = model.vertex_scores(batch)[0].cpu()
    sizes = batch.ptr.diff().tolist()
    parts = len(y) == batch.num_nodes
    each = sizes if parts else [1] * len(sizes)
    found, true = scores.argmax(1).cpu().split(each), y.cpu().split(each)
    every = zip(batch.to_data_list(), votes.split(sizes), found, true, strict=True)
    for mesh, vote, f, t in every:
        pos, faces, right = mesh.pos.cpu(), mesh.face.T.cpu(), float((f == t).float().mean())
        if parts:
            yield plots.Drawn(pos, faces, labels=f), f"{right:.1%} right", right
        else:
            yield plots.Drawn(pos, faces, vote[:, int(f)]), named(int(f), int(t), names), right


class Voxels(FigureCallback):
    """Grids of voxels with which shape a model says each is: from outside, and cut in the middle.

    Args:
        num_samples: grids, the first ones; default 5.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "voxels"

    def __init__(self, num_samples: int = 5, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        predicted = model.logits(x).argmax(1).cpu()
        names = list(getattr(self.data, "classes", None) or map(str, range(model.num_classes)))
        pairs = zip(predicted.tolist(), y.tolist(), strict=True)
        titles = [named(*pair, names) for pair in pairs]
        wrong = (predicted != y).tolist()
        title = f"{type(model).__name__}: {int((predicted == y).sum())} of {len(y)} right"
        grids = x[:, 0].cpu()
        outsides = [plots.Drawn(*voxel_faces(grid)) for grid in grids]
        return plots.voxels(outsides, grids, titles, title, wrong)


class ShapePaths(FigureCallback):
    """Ways between two far shapes, and how much each stretches edges: straight through space,
    straight between codes, and the path of least change.

    The two are those evaluation shapes that differ most. A row's number is
    :func:`zoo.functional.meshes.edge_length_distortion`.

    Args:
        num_samples: evaluation shapes among which to choose, default 100.
        steps: shapes along a way, both ends included; default 9.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "shape_paths"

    def __init__(
        self, num_samples: int = 100, steps: int = 9, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        self.steps = steps

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        first, last = farthest(x)
        x0, x1 = x[first, None], x[last, None]
        ways = {
            "through space": linear_path(x0.flatten(1), x1.flatten(1), self.steps).view(
                -1, *x.shape[1:]
            )
        }
        for kind, label in (("linear", "codes, straight"), ("isometric", "codes, isometric")):
            ways[label] = model.interpolate(x0, x1, self.steps, kind)[:, 0]
        labels = [
            f"{name}: {edge_length_distortion(way, x0[0], x1[0], model.edges):.1%}"
            for name, way in ways.items()
        ]
        rows = [model.to_images(way) for way in ways.values()]
        title = f"{type(model).__name__}: from shape {first} to shape {last}, and stretch of edges"
        return plots.image_rows(rows, labels, title)


class ShapeWalk(FigureCallback):
    """An animation that walks through latent space from one evaluation input to the next.

    Args:
        num_samples: inputs on the way, the first ones; default 6.
        steps: pictures between two of them, default 8.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "shape_walk"

    def __init__(
        self, num_samples: int = 6, steps: int = 8, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        self.steps = steps

    def _draw(self, trainer: Trainer, pl_module: Any, name: str) -> None:
        inputs = self._gathered(pl_module.device)
        if not inputs or not trainer.is_global_zero or trainer.fast_dev_run:
            return
        x = inputs[0]
        with evaluation_mode(pl_module):
            way = pl_module.interpolate(x, x.roll(-1, 0), self.steps + 1)[:-1]
            images = pl_module.to_images(way.transpose(0, 1).flatten(0, 1))
        title = f"{type(pl_module).__name__}: {len(x)} inputs"
        frames = [plots.image_grid(image[None], title, columns=1, width=2.4) for image in images]
        save_animation(trainer, frames, name)
        strip = images[:: max(1, len(images) // 12)]
        save_figure(
            trainer, plots.image_rows([strip], [""], f"{title}, a walk between codes"), name
        )


def farthest(x: Tensor) -> tuple[int, int]:
    """The two samples that differ most."""
    flat = x.flatten(1)
    distances = torch.cdist(flat, flat)
    first, last = divmod(int(distances.argmax()), len(x))
    return min(first, last), max(first, last)
