"""PointClassifier: classification of point clouds."""

from __future__ import annotations

from torch import Tensor

from zoo.models.geometric.point_model import PointModel
from zoo.networks.mlp import MLP
from zoo.networks.point_clouds import PointFeatures


class PointClassifier(PointModel):
    """Classifier of point clouds: an MLP on the features of the cloud.

    Args:
        num_classes: number of classes, K.
        **points: see :class:`~zoo.models.geometric.point_model.PointModel`.

    Shapes: (B, N, 3) → logits (B, K).

    Batch: (x, y), points (B, N, 3) and class indices (B,).
    """

    def build(self) -> None:
        hp = self.hparams
        self.network = self.make_network(per_point=False)
        sizes = [self.network.cloud_dim, 8 * hp["width"], 4 * hp["width"], self.num_classes]
        self.head = MLP(sizes, dropout=hp["dropout"], normalization="batch")

    def logits_from_features(self, features: PointFeatures) -> Tensor:
        return self.head(features.cloud)
