"""Pictures of what classifiers and regressors predict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from callbacks.figures import FigureCallback
from zoo import plots
from zoo.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PredictionFigure(FigureCallback):
    """A figure of a model's predictions for evaluation samples.

    Args:
        num_samples: evaluation samples, the first ones; default 10,000.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    def __init__(self, num_samples: int = 10_000, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def _class_names(self, count: int) -> list[str]:
        names = getattr(self.data, "class_names", None) or []
        return list(names) if len(names) == count else [str(k) for k in range(count)]


class ConfusionMatrix(PredictionFigure):
    """Which class is taken for which, for any ``Classifier``."""

    name = "confusion_matrix"

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        predicted = _logits(model, x).argmax(1).cpu()
        classes = model.num_classes
        counts = torch.bincount(y * classes + predicted, minlength=classes**2)
        accuracy = (predicted == y).float().mean()
        title = f"{type(model).__name__}: accuracy {accuracy:.2%} of {len(y)}"
        return plots.confusion_matrix(
            counts.view(classes, classes), self._class_names(classes), title
        )


class Calibration(PredictionFigure):
    """Accuracy against confidence, for any ``Classifier``."""

    name = "calibration"

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        return plots.calibration(_logits(model, x).softmax(1), y, type(model).__name__)


class DecisionBoundary(PredictionFigure):
    """The classes over the plane, for any ``Classifier`` of two features."""

    name = "decision_boundary"
    side = 200  # points of the grid along each axis

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        if x[0].numel() != 2:
            raise InputError(
                f"DecisionBoundary needs two features, the data has {x[0].numel()}: "
                "leave the callback out"
            )
        points = x.flatten(1)
        low, high = points.amin(0), points.amax(0)
        margin = 0.15 * (high - low)
        horizontal, vertical = (
            torch.linspace(float(a), float(b), self.side, device=x.device)
            for a, b in zip(low - margin, high + margin, strict=True)
        )
        rows, columns = torch.meshgrid(vertical, horizontal, indexing="ij")
        grid = torch.stack([columns.flatten(), rows.flatten()], dim=1).view(-1, *x.shape[1:])
        probabilities = _logits(model, grid).softmax(1).view(self.side, self.side, -1)
        accuracy = (_logits(model, x).argmax(1).cpu() == y).float().mean()
        title = f"{type(model).__name__}: accuracy {accuracy:.2%} of {len(y)}"
        names = self._class_names(model.num_classes)
        return plots.decision_boundary(horizontal, vertical, probabilities, points, y, names, title)


class FittedCurve(PredictionFigure):
    """A regressor's function of one feature with data and residuals; of several features,
    predictions against true values. The first target is drawn, with a band of two standard
    deviations where the model predicts them, else of an ensemble's members.
    """

    name = "fitted_curve"

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        x_flat, target = x.flatten(1).cpu(), y.reshape(len(y), -1)[:, 0].cpu()
        prediction = model.predict(x)[:, 0].cpu()
        error = (prediction - target).square().mean()
        title = f"{type(model).__name__}: squared error {error:.4g} of {len(y)}"
        if x_flat.shape[1] != 1:
            return plots.predicted_against_true(target, prediction, title)
        low, high = float(x_flat.min()), float(x_flat.max())
        grid = torch.linspace(low, high, 400, device=x.device, dtype=x.dtype)
        inputs = grid.view(-1, *x.shape[1:])
        curve, band = _curve_and_band(model, inputs)
        truth = None
        if hasattr(self.data, "ground_truth"):
            truth = torch.as_tensor(self.data.ground_truth(grid.cpu().numpy()))
        return plots.fitted_curve(
            x_flat[:, 0], target, prediction, grid.cpu(), curve, title, band, truth
        )


def _curve_and_band(model: Any, x: Tensor) -> tuple[Tensor, tuple[str, Tensor] | None]:
    """A regressor's first target, and what is known of how far it may be off."""
    moments = model.moments(x)[:, 0].cpu()  # (G, 1 or 2)
    if moments.shape[1] == 2:
        return moments[:, 0], ("± 2 standard deviations, predicted", 2 * moments[:, 1].sqrt())
    if not hasattr(model, "member_outputs"):
        return moments[:, 0], None
    spread = model.member_outputs(x)[:, :, 0, 0].std(0, correction=0).cpu()
    return moments[:, 0], ("± 2 standard deviations among members", 2 * spread)


def _logits(model: Any, x: Tensor, chunk: int = 2_000) -> Tensor:
    return torch.cat([model.logits(part) for part in x.split(chunk)])
