"""Figures of the predictions of classifiers and regressors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from callbacks.figures import FigureCallback
from zoo import plots
from zoo.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID_SIZE = 200  # points along each axis of a decision boundary's grid
CHUNK = 2_000  # samples per forward pass


class PredictionFigure(FigureCallback):
    """Base class of the figures of a model's predictions on evaluation samples.

    Args:
        num_samples: number of evaluation samples, starting from the first; default 10,000.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    needs = ("logits", "num_classes")
    made_for = "a classifier"

    def __init__(self, num_samples: int = 10_000, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)


class ConfusionMatrix(PredictionFigure):
    """Draw the confusion matrix of a ``Classifier``.

    Args:
        num_samples, every_n_epochs: see :class:`PredictionFigure`.
    """

    name = "confusion_matrix"

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        predicted = _logits(model, x).argmax(1).cpu()
        classes = model.num_classes
        counts = torch.bincount(y * classes + predicted, minlength=classes**2)
        title = _accuracy_title(model, predicted, y)
        return plots.confusion_matrix(
            counts.view(classes, classes), self.class_names(classes), title
        )


class Calibration(PredictionFigure):
    """Draw the reliability diagram of a ``Classifier``: accuracy against confidence.

    Args:
        num_samples, every_n_epochs: see :class:`PredictionFigure`.
    """

    name = "calibration"

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        return plots.calibration(_logits(model, x).softmax(1), y, type(model).__name__)


class DecisionBoundary(PredictionFigure):
    """Draw the predicted classes over the plane, for a ``Classifier`` with two features.

    Args:
        num_samples, every_n_epochs: see :class:`PredictionFigure`.
    """

    name = "decision_boundary"

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
            torch.linspace(float(a), float(b), GRID_SIZE, device=x.device)
            for a, b in zip(low - margin, high + margin, strict=True)
        )
        rows, columns = torch.meshgrid(vertical, horizontal, indexing="ij")
        grid = torch.stack([columns.flatten(), rows.flatten()], dim=1).view(-1, *x.shape[1:])
        probabilities = _logits(model, grid).softmax(1).view(GRID_SIZE, GRID_SIZE, -1)
        title = _accuracy_title(model, _logits(model, x).argmax(1).cpu(), y)
        names = self.class_names(model.num_classes)
        return plots.decision_boundary(horizontal, vertical, probabilities, points, y, names, title)


class FittedCurve(PredictionFigure):
    """Draw a regressor's function of one feature with data and residuals.

    Only the first target is drawn. A band of two standard deviations is added where the model
    predicts a variance or is an ensemble (the standard deviation of its members' predictions). For
    several features, the figure shows predictions against true values instead.

    Args:
        num_samples, every_n_epochs: see :class:`PredictionFigure`.
    """

    name = "fitted_curve"
    needs = ("moments", "predict")
    made_for = "a regressor"

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        features, target = x.flatten(1).cpu(), y.reshape(len(y), -1)[:, 0].cpu()
        prediction = model.predict(x)[:, 0].cpu()
        error = (prediction - target).square().mean()
        title = f"{type(model).__name__}: mean squared error {error:.4g} ({len(y):,} samples)"
        if features.shape[1] != 1:
            return plots.predicted_against_true(target, prediction, title)
        low, high = float(features.min()), float(features.max())
        grid = torch.linspace(low, high, 400, device=x.device, dtype=x.dtype)
        curve, band = _curve_and_band(model, grid.view(-1, *x.shape[1:]))
        truth = None
        if hasattr(self.data, "ground_truth"):
            truth = torch.as_tensor(self.data.ground_truth(grid.cpu().numpy()))
        return plots.fitted_curve(
            features[:, 0], target, prediction, grid.cpu(), curve, title, band, truth
        )


def _curve_and_band(model: Any, x: Tensor) -> tuple[Tensor, tuple[str, Tensor] | None]:
    """Return a regressor's first output, (G,), and the label and half width of its band, if any."""
    moments = model.moments(x)[:, 0].cpu()  # (G, 1 or 2)
    if moments.shape[1] == 2:
        return moments[:, 0], ("± 2 predicted standard deviations", 2 * moments[:, 1].sqrt())
    if not hasattr(model, "member_outputs"):
        return moments[:, 0], None
    deviation = model.member_outputs(x)[:, :, 0, 0].std(0, correction=0).cpu()
    return moments[:, 0], ("± 2 standard deviations of the members", 2 * deviation)


def _accuracy_title(model: Any, predicted: Tensor, y: Tensor) -> str:
    accuracy = (predicted == y).float().mean()
    return f"{type(model).__name__}: accuracy {accuracy:.2%} ({len(y):,} samples)"


def _logits(model: Any, x: Tensor) -> Tensor:
    """Return logits, (N, K), computed in chunks."""
    return torch.cat([model.logits(chunk) for chunk in x.split(CHUNK)])
