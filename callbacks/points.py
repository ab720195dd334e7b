"""Figures of point clouds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from callbacks.figures import FigureCallback, prediction_label
from zoo import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PointClouds(FigureCallback):
    """Draw point clouds with the predicted shape as title, or each point in its predicted part.

    Args:
        num_samples: number of evaluation samples, starting from the first; default 10.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "point_clouds"
    needs = ("logits", "num_classes")
    made_for = "a classifier of point clouds"

    def __init__(self, num_samples: int = 10, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        if x.ndim != 3 or x.shape[-1] != 3:
            raise self.misfit(f"samples of shape {tuple(x.shape[1:])}")
        predicted = model.logits(x).argmax(-1).cpu()
        names = self.class_names(model.num_classes)
        correct, clouds = predicted == y, x.cpu()
        if y.ndim == 2:  # a class for each point
            titles = [f"{accuracy:.0%} correct" for accuracy in correct.float().mean(1)]
            title = f"{type(model).__name__}: predicted parts"
            return plots.point_clouds(clouds, predicted, titles, names, title)
        pairs = zip(predicted.tolist(), y.tolist(), strict=True)
        titles = [prediction_label(*pair, names) for pair in pairs]
        title = f"{type(model).__name__}: {int(correct.sum())} of {len(y)} correct"
        return plots.point_clouds(clouds, None, titles, names, title, (~correct).tolist())
