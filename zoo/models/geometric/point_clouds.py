"""Clouds of points: which shape a cloud is, and which part of it each point."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_choice, check_non_negative
from zoo.networks.mlp import MLP
from zoo.networks.point_clouds import POINT_NETWORKS, PointFeatures, PointNetwork, SharedMLP


class PointModel(Classifier):
    """A classifier around a network on clouds of points.

    Loss: cross-entropy, plus ``alignment`` · ‖I − A Aᵀ‖²_F for the alignment A that a PointNet
    learns of its features.

    Args:
        num_classes: K.
        network: ``pointnet``, ``pointnet2`` (PointNet++), ``dgcnn``, or ``invariant``: a DGCNN on
            distances, which rotations do not change.
        width: W of the network, default 64; see :mod:`zoo.networks.point_clouds`.
        k: neighbours of ``dgcnn`` and ``invariant``, default 20.
        dropout: in the head, default 0.4.
        alignment: weight of the penalty, default 0.001.
        **classifier: see :class:`~zoo.core.classification.Classifier`.

    Raises:
        ValueError: unknown network.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "misalignment": "‖I − A Aᵀ‖² of the learned alignment of features, mean over clouds",
    }
    supports_mixup: ClassVar[bool] = False

    def __init__(
        self,
        num_classes: int,
        network: str = "pointnet",
        width: int = 64,
        k: int = 20,
        dropout: float = 0.4,
        alignment: float = 0.001,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        check_choice("network", network, POINT_NETWORKS)
        check_at_least(1, width=width, k=k)
        check_non_negative(alignment=alignment)

    def make_network(self, per_point: bool) -> PointNetwork:
        """The network; with ``per_point`` it has features of each point too."""
        hp = self.hparams
        neighbors = {"k": hp["k"]} if hp["network"] in ("dgcnn", "invariant") else {}
        return POINT_NETWORKS[hp["network"]](hp["width"], per_point=per_point, **neighbors)

    def scores_of(self, found: PointFeatures) -> Tensor:
        """Scores of the classes from what the network found."""
        raise NotImplementedError(f"{type(self).__name__} has no scores_of(found)")

    def logits(self, x: Tensor) -> Tensor:
        return self.scores_of(self.network(x))

    def step(self, batch: Any) -> dict[str, Any]:
        if not isinstance(batch, tuple | list) or batch[0].ndim != 3 or batch[0].shape[2] != 3:
            raise InputError(
                f"{type(self).__name__} needs clouds of points, (B, N, 3): choose other data"
            )
        x, y = batch
        found = self.network(x)
        scores, y = self.scores_of(found).flatten(0, -2), y.flatten()
        parts: dict[str, Any] = self.parts(scores, y)
        if found.misalignment is not None:
            parts["misalignment"] = found.misalignment
            parts["loss"] = parts["loss"] + self.hparams["alignment"] * found.misalignment
        if not self.training:
            parts["outputs"] = self.probabilities(scores.detach()), y
        return parts


class PointClassifier(PointModel):
    """Which shape a cloud of points is.

    Args:
        num_classes: K.
        **points: see :class:`PointModel`.

    Shapes: (B, N, 3) → (B, K).
    """

    def __init__(self, num_classes: int, **points: Any) -> None:
        super().__init__(num_classes, **points)

    def build(self) -> None:
        hp = self.hparams
        self.network = self.make_network(per_point=False)
        sizes = [self.network.cloud_dim, 8 * hp["width"], 4 * hp["width"], self.num_classes]
        self.head = MLP(sizes, dropout=hp["dropout"], normalization="batch")

    def scores_of(self, found: PointFeatures) -> Tensor:
        return self.head(found.cloud)


class PointSegmenter(PointModel):
    """Which part of a shape each point of a cloud is.

    Args:
        num_classes: K, parts of all shapes together.
        **points: see :class:`PointModel`.

    Shapes: (B, N, 3) → (B, N, K).
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "accuracy": "fraction of points classified correctly",
        "iou": "points in both over points in either of a part and its prediction, mean over parts",
    }

    def __init__(self, num_classes: int, **points: Any) -> None:
        super().__init__(num_classes, **points)

    def build(self) -> None:
        hp = self.hparams
        self.network = self.make_network(per_point=True)
        width = hp["width"]
        self.head = nn.Sequential(
            SharedMLP([self.network.point_dim, 4 * width, 2 * width]),
            nn.Dropout(hp["dropout"]),
            nn.Linear(2 * width, self.num_classes),
        )

    def scores_of(self, found: PointFeatures) -> Tensor:
        return self.head(found.points)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return (*batch[1].shape, self.num_classes)

    def make_metrics(self) -> dict[str, Metric]:
        return super().make_metrics() | {"iou": MulticlassJaccardIndex(self.num_classes)}

    @torch.no_grad()
    def segment(self, x: Tensor) -> Tensor:
        """The likeliest part of each point, (B, N, 3) → (B, N)."""
        return self.logits(x).argmax(-1)
