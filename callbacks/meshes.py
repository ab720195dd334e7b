"""Figures of meshes and voxel grids, and of paths between shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from callbacks.figures import FigureCallback, prediction_label, run_folder, writes_files
from callbacks.latent import LatentFigure
from zoo import plots
from zoo.errors import InputError, check_at_least
from zoo.functional.meshes import edge_length_distortion
from zoo.functional.paths import linear_path
from zoo.functional.voxels import voxel_faces

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Meshes(FigureCallback):
    """Draw meshes with a model's predictions.

    For a ``MeshClassifier``, the predicted class is the title of each mesh, and its score at each
    vertex the color; for a ``MeshSegmenter``, the color is the predicted part of each vertex.

    Args:
        num_samples: number of evaluation meshes, starting from the first; default 10.
        html: whether to also write the first mesh as an interactive figure,
            ``figures/meshes.html``, default False. Needs the package plotly.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Raises:
        InputError: ``html`` is set and plotly is not installed.
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
        self._first_mesh: plots.Mesh | None = None  # of the latest figure

    def _collect(self, batch: Any) -> None:
        if "face" not in batch:
            raise InputError(
                f"Meshes needs batches of meshes, got {type(batch).__name__}: leave the callback "
                "out"
            )
        if sum(b.num_graphs for b in self._inputs) < self.num_samples:
            self._inputs.append(batch)

    def _draw_inputs(self, device: torch.device) -> tuple[Any, ...]:
        return tuple(batch.to(device) for batch in self._inputs)

    def draw(self, model: Any, *inputs: Any) -> Figure:
        names = self.class_names(model.num_classes)
        predictions = [p for batch in inputs for p in _predictions(model, batch, names)]
        meshes, titles, accuracies = zip(*predictions[: self.num_samples], strict=True)
        self._first_mesh = meshes[0]
        if meshes[0].labels is None:
            title = f"{type(model).__name__}: {sum(accuracies):.0f} of {len(meshes)} correct"
            wrong = [accuracy < 1 for accuracy in accuracies]
            return plots.meshes(meshes, titles, title, wrong=wrong)
        accuracy = sum(accuracies) / len(accuracies)
        title = f"{type(model).__name__}: {accuracy:.1%} of the vertices correct"
        return plots.meshes(meshes, titles, title, names)

    def _save(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        super()._save(trainer, pl_module, name)
        if self.html and self._first_mesh is not None and writes_files(trainer):
            path = run_folder(trainer) / "figures" / f"{name}.html"
            plots.write_html(self._first_mesh, path, type(pl_module).__name__)


class _Prediction(NamedTuple):
    mesh: plots.Mesh
    title: str
    accuracy: float


def _predictions(model: Any, batch: Any, class_names: list[str]) -> Iterator[_Prediction]:
    """Yield each mesh of a batch with the colors, title and accuracy of its prediction."""
    scores, y = model.scores_and_labels(batch)
    vertex_logits = model.vertex_logits(batch, model.surfaces(batch)).cpu()
    sizes = batch.ptr.diff().tolist()
    has_parts = len(y) == batch.num_nodes
    labels_per_mesh = sizes if has_parts else [1] * len(sizes)
    predicted, labels = (t.cpu().split(labels_per_mesh) for t in (scores.argmax(1), y))
    for data, logits, p, t in zip(
        batch.to_data_list(), vertex_logits.split(sizes), predicted, labels, strict=True
    ):
        accuracy = float((p == t).float().mean())
        mesh = plots.Mesh(data.pos.cpu(), data.face.T.cpu())
        if has_parts:
            yield _Prediction(mesh._replace(labels=p), f"{accuracy:.1%} correct", accuracy)
        else:
            title = prediction_label(int(p), int(t), class_names)
            yield _Prediction(mesh._replace(values=logits[:, int(p)]), title, accuracy)


class Voxels(FigureCallback):
    """Draw the surface and a slice of voxel grids, with the predicted class as title.

    Args:
        num_samples: number of evaluation samples, starting from the first; default 5.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "voxels"
    needs = ("logits", "num_classes")
    made_for = "a classifier of voxel grids"

    def __init__(self, num_samples: int = 5, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        if x.ndim != 5:
            raise self.misfit(f"samples of shape {tuple(x.shape[1:])}")
        predicted = model.logits(x).argmax(1).cpu()
        names = self.class_names(model.num_classes)
        pairs = zip(predicted.tolist(), y.tolist(), strict=True)
        titles = [prediction_label(*pair, names) for pair in pairs]
        wrong = (predicted != y).tolist()
        title = f"{type(model).__name__}: {len(y) - sum(wrong)} of {len(y)} correct"
        grids = x[:, 0].cpu()
        surfaces = [plots.Mesh(*voxel_faces(grid)) for grid in grids]
        return plots.voxels(surfaces, grids, titles, title, wrong)


class ShapeInterpolation(LatentFigure):
    """Draw three paths between two shapes, with the stretch of the edges along each.

    The paths are a straight line in space, a straight line between the latent codes, and the
    isometric path between the codes. Their ends are the two evaluation shapes that differ most.
    A row's percentage is :func:`zoo.functional.meshes.edge_length_distortion`.

    Args:
        num_samples: number of evaluation shapes to choose from, default 100.
        steps: shapes along each path, both ends included; default 9.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "shape_interpolation"
    needs_encoder = True

    def __init__(
        self, num_samples: int = 100, steps: int = 9, every_n_epochs: int | None = None
    ) -> None:
        check_at_least(2, num_samples=num_samples, steps=steps)
        super().__init__(num_samples, every_n_epochs)
        self.steps = steps

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if "isometric" not in pl_module.path_types:
            raise InputError(
                "ShapeInterpolation needs a model with isometric paths, such as MeshAutoencoder, "
                f"got {type(pl_module).__name__}: leave the callback out"
            )

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        first, last = farthest_pair(x)
        x0, x1 = x[first, None], x[last, None]
        straight = linear_path(x0.flatten(1), x1.flatten(1), self.steps)
        paths = {
            "Straight in space": straight.view(-1, *x.shape[1:]),
            "Straight in latent space": model.interpolate(x0, x1, self.steps, "linear")[:, 0],
            "Isometric": model.interpolate(x0, x1, self.steps, "isometric")[:, 0],
        }
        labels = [
            f"{name}: {edge_length_distortion(path, x0[0], x1[0], model.edges):.1%}"
            for name, path in paths.items()
        ]
        rows = [model.to_images(path) for path in paths.values()]
        title = f"{type(model).__name__}: paths from shape {first} to {last}, with edge stretch"
        return plots.image_rows(rows, labels, title)


def farthest_pair(x: Tensor) -> tuple[int, int]:
    """Return the indices, ascending, of the two samples with the largest Euclidean distance."""
    flat = x.flatten(1)
    distances = torch.cdist(flat, flat)
    first, last = divmod(int(distances.argmax()), len(x))
    return min(first, last), max(first, last)
