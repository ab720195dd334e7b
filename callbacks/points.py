"""Pictures of clouds of points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from callbacks.figures import FigureCallback, named
from zoo import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PointClouds(FigureCallback):
    """Clouds of the evaluation data with what a model says: which shape each is, or in colours
    which part each point.

    Args:
        num_samples: clouds, the first ones; default 10.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "point_clouds"

    def __init__(self, num_samples: int = 10, every_n_epochs: int | None = None) -> None:
        super().__init__(num_samples, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        predicted = model.logits(x).argmax(-1).cpu()
        names = getattr(self.data, "classes", None) or [str(k) for k in range(model.num_classes)]
        right, clouds = predicted == y, x.cpu()
        if y.ndim == 2:
            titles = [f"{share:.0%} right" for share in right.float().mean(1)]
            title = f"{type(model).__name__}: parts as predicted"
            return plots.point_clouds(clouds, predicted, titles, names, title)
        pairs = zip(predicted.tolist(), y.tolist(), strict=True)
        titles = [named(*pair, names) for pair in pairs]
        title = f"{type(model).__name__}: {int(right.sum())} of {len(y)} right"
        return plots.point_clouds(clouds, None, titles, names, title, (~right).tolist())
