"""Deep ensembles: several networks, trained together by vectorized steps."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.core.regression import Regressor
from zoo.core.task import Task
from zoo.errors import check_at_least
from zoo.models.supervised.cnn import ConvClassifier
from zoo.models.supervised.ensemble import EnsembleClassifier, EnsembleRegressor
from zoo.models.supervised.mlp import MLPClassifier
from zoo.networks.ensemble import vmap_members
from zoo.networks.grouped_ensemble import can_group, grouped_forward


class _JointlyTrained(Task):
    """Members whose outputs are computed together."""

    members: nn.ModuleList

    def build(self) -> None:
        self.members = self.make_members()

    def make_members(self) -> nn.ModuleList:
        """Create ``num_members`` members, each with its own random initial weights."""
        return nn.ModuleList(self.make_member() for _ in range(self.hparams["num_members"]))

    def member_outputs(self, x: Tensor) -> Tensor:
        member = self.members[0]
        if isinstance(member, Regressor):
            return vmap_members(self.members, x, "moments")
        # grouping needs logits that are the network's output, which a subclass may change
        is_plain = getattr(type(member), "logits", None) in (
            MLPClassifier.logits,
            ConvClassifier.logits,
        )
        if is_plain:
            networks: list[Any] = [m.network for m in self.members]
            if can_group(networks[0]):
                return grouped_forward(networks, x)
        return vmap_members(self.members, x)


class DeepEnsemble(_JointlyTrained, EnsembleClassifier):
    """Deep ensemble: classifiers with different initial weights, trained together.

    Each step computes the outputs of all members for one batch, by ``torch.func.vmap`` over their
    stacked weights or, for chains of common layers, by grouped convolutions and batched matrix
    products.
    The loss is the sum of the members' losses, so each member is trained as it would be on its own.
    ``members[m]`` is an ordinary model.

    Args:
        input_shape: shape of one sample.
        num_classes: number of classes, K.
        num_members: number of members, M, default 5.
        **ensemble: see :class:`~zoo.models.supervised.ensemble.EnsembleClassifier`.

    Shapes: (B, *input_shape) → log p(k|x), (B, K).

    Raises:
        InputError: members that are not classifiers; fewer than one member.

    Source: Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using
    deep ensembles, 2017.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, num_members: int = 5, **ensemble: Any
    ) -> None:
        super().__init__(input_shape, num_classes, **ensemble)
        check_at_least(1, num_members=num_members)


class DeepEnsembleRegressor(_JointlyTrained, EnsembleRegressor):
    """Deep ensemble: regressors with different initial weights, trained together.

    Args:
        input_shape: shape of one sample.
        num_targets: number of targets per sample, T.
        num_members: number of members, M, default 5.
        **ensemble: see :class:`~zoo.models.supervised.ensemble.EnsembleRegressor`.

    Shapes: (B, *input_shape) → (B, T).

    Raises:
        InputError: members that are not regressors; fewer than one member.

    Source: Lakshminarayanan et al., 2017.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_targets: int, num_members: int = 5, **ensemble: Any
    ) -> None:
        super().__init__(input_shape, num_targets, **ensemble)
        check_at_least(1, num_members=num_members)

    def member_loss(self, moments: Tensor, y: Tensor) -> Tensor:
        return self.members[0].loss(moments, y)  # type: ignore[operator]
