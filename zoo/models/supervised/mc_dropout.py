"""MC dropout: the mean prediction of one network under random dropout masks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.core.regression import Regressor
from zoo.core.task import Task
from zoo.errors import InputError, check_at_least, check_integer
from zoo.models.supervised.ensemble import EnsembleClassifier, EnsembleRegressor
from zoo.networks.ensemble import forward_with_dropout

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class _DropoutSampled(Task):
    """A model that is evaluated several times with random dropout masks."""

    model: Task

    def build(self) -> None:
        self.model = self.make_member()
        if not any(isinstance(m, DROPOUTS) and m.p > 0 for m in self.model.modules()):
            raise InputError(
                f"MC dropout needs a model with dropout, but {self.hparams['member']} has none "
                "with these settings: set its dropout in member_settings"
            )

    def member_outputs(self, x: Tensor) -> Tensor:
        method = "moments" if isinstance(self.model, Regressor) else "logits"
        if self.training:
            return getattr(self.model, method)(x)[None]
        passes, seed = self.hparams["num_passes"], self.hparams["seed"]
        return forward_with_dropout(self.model, x, passes, DROPOUTS, seed, method)


class MCDropout(_DropoutSampled, EnsembleClassifier):
    """MC dropout: the mean prediction of a classifier under random dropout masks.

    Evaluation uses the same masks for all samples, so that predictions depend neither on the batch
    nor on the device.

    Args:
        input_shape: shape of one sample.
        num_classes: number of classes, K.
        num_passes: number of forward passes in evaluation, default 20.
        seed: random seed of the masks in evaluation, default 0.
        **ensemble: see :class:`~zoo.models.supervised.ensemble.EnsembleClassifier`; ``member`` is
            the model with dropout.

    Shapes: (B, *input_shape) → log p(k|x), (B, K).

    Raises:
        InputError: a model without dropout.

    Source: Gal and Ghahramani, Dropout as a Bayesian approximation, 2016; Kirsch et al., BatchBALD,
    2019, section 5 (the same masks for all samples).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        num_passes: int = 20,
        seed: int = 0,
        **ensemble: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **ensemble)
        check_at_least(1, num_passes=num_passes)
        check_integer(seed=seed)


class MCDropoutRegressor(_DropoutSampled, EnsembleRegressor):
    """MC dropout: the mean prediction of a regressor under random dropout masks.

    The masks are those of :class:`MCDropout`.

    Args:
        input_shape: shape of one sample.
        num_targets: number of targets per sample, T.
        num_passes: number of forward passes in evaluation, default 20.
        seed: random seed of the masks in evaluation, default 0.
        **ensemble: see :class:`~zoo.models.supervised.ensemble.EnsembleRegressor`; ``member`` is
            the model with dropout.

    Shapes: (B, *input_shape) → (B, T).

    Raises:
        InputError: a model without dropout.

    Source: Gal and Ghahramani, 2016; Kirsch et al., 2019.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        num_passes: int = 20,
        seed: int = 0,
        **ensemble: Any,
    ) -> None:
        super().__init__(input_shape, num_targets, **ensemble)
        check_at_least(1, num_passes=num_passes)
        check_integer(seed=seed)

    def member_loss(self, moments: Tensor, y: Tensor) -> Tensor:
        return self.model.loss(moments, y)
