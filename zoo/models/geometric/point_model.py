"""PointModel: base class of classifiers of point clouds."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from zoo.core.classification import Classifier
from zoo.errors import (
    InputError,
    check_at_least,
    check_choice,
    check_non_negative,
    check_probability,
)
from zoo.networks.point_clouds import POINT_NETWORKS, PointFeatures, PointNetwork


class PointModel(Classifier):
    """A classifier around a network on point clouds.

    Loss: cross-entropy, plus ``orthogonality_weight`` · ‖I − A Aᵀ‖²_F for the feature transform A
    of a PointNet.

    A subclass provides ``logits_from_features``.

    Args:
        num_classes: number of classes, K.
        network: ``pointnet`` (default), ``pointnet2`` (PointNet++), ``dgcnn``, or ``invariant``, a
            DGCNN on distances, which rotations do not change; see :mod:`zoo.networks.point_clouds`.
        width: width of the network, W, default 64.
        k: number of neighbors of ``dgcnn`` and ``invariant``, the point itself included, default
            20.
        dropout: dropout probability in the head, default 0.4.
        orthogonality_weight: weight of the penalty on the feature transform of ``pointnet``,
            default 0.001.
        **classifier: see :class:`~zoo.core.classification.Classifier`.

    Raises:
        InputError: unknown network, or numbers out of range.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "orthogonality_penalty": "‖I − A Aᵀ‖²_F of the feature transform A, mean over clouds",
    }
    supports_mixup: ClassVar[bool] = False  # the points of two clouds do not correspond

    def __init__(
        self,
        num_classes: int,
        network: str = "pointnet",
        width: int = 64,
        k: int = 20,
        dropout: float = 0.4,
        orthogonality_weight: float = 0.001,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        check_choice("network", network, POINT_NETWORKS)
        check_at_least(1, width=width, k=k)
        check_non_negative(orthogonality_weight=orthogonality_weight)
        check_probability(dropout=dropout)

    def make_network(self, per_point: bool) -> PointNetwork:
        """Create the network.

        Args:
            per_point: whether the output has features of each point in addition to those of the
                cloud.
        """
        hp = self.hparams
        neighbors = {"k": hp["k"]} if hp["network"] in ("dgcnn", "invariant") else {}
        return POINT_NETWORKS[hp["network"]](hp["width"], per_point=per_point, **neighbors)

    def logits_from_features(self, features: PointFeatures) -> Tensor:
        """Compute the logits from the output of the network."""
        raise NotImplementedError(f"{type(self).__name__} has no logits_from_features(features)")

    def logits(self, x: Tensor) -> Tensor:
        return self.logits_from_features(self.network(x))

    def step(self, batch: Any) -> dict[str, Any]:
        if not isinstance(batch, tuple | list) or batch[0].ndim != 3 or batch[0].shape[2] != 3:
            raise InputError(
                f"{type(self).__name__} needs point clouds, (B, N, 3): choose other data"
            )
        x, y = batch
        features = self.network(x)
        # logits of clouds, (B, K), or of points, (B, N, K)
        logits, y = self.logits_from_features(features).flatten(0, -2), y.flatten()
        parts: dict[str, Any] = self.parts(logits, y)
        penalty = features.orthogonality_penalty
        if penalty is not None:
            parts["orthogonality_penalty"] = penalty
            parts["loss"] = parts["loss"] + self.hparams["orthogonality_weight"] * penalty
        if not self.training:
            parts["outputs"] = self.probabilities(logits.detach()), y
        return parts
