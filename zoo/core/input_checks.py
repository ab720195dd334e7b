"""Checks of the first batch of each epoch; checking every batch would make the CPU wait."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from zoo.core.signature import arguments_of
from zoo.errors import InputError


class InputChecks:
    """Mixin for a LightningModule that checks the first batch of each epoch.

    A family adds checks in ``check_batch``.
    """

    #: whether inputs are token ids, which are integers
    takes_tokens: ClassVar[bool] = False

    def check_batch(self, batch: Any) -> None:
        """Raise :class:`InputError` if the inputs of a dense batch are integers, such as uint8."""
        x = batch[0] if isinstance(batch, tuple | list) and batch else None
        if isinstance(x, Tensor) and not x.is_floating_point() and not self.takes_tokens:
            raise InputError(
                f"{type(self).__name__} needs inputs of a floating-point type, the data has "
                f"{x.dtype}: scale images to [0, 1] with x.float() / 255"
            )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if not batch_idx:
            self._check_class_weights()
            self.check_batch(batch)

    def _check_class_weights(self) -> None:
        """Raise :class:`InputError` if the data have class weights that the loss does not use."""
        model: Any = self
        wanted = getattr(model.trainer.datamodule, "class_weights", None)
        if wanted is None or getattr(model, "class_weights", None) is not None:
            return
        name = type(self).__name__
        if "class_weights" in arguments_of(type(self)):
            raise InputError(
                f"the data have class weights, but {name} was created without them: add "
                "class_weights=data.class_weights"
            )
        raise InputError(
            f"class_weights needs a classifier, but {name} has no loss with class weights"
        )

    def on_validation_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        if not batch_idx:
            self.check_batch(batch)

    def on_test_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        if not batch_idx:
            self.check_batch(batch)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        if not batch_idx:
            InputChecks.check_batch(self, batch)  # targets may be missing
