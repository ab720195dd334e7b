"""Checks of the first batch of each epoch; checking every batch would make the CPU wait."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

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
            self.check_batch(batch)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        if not batch_idx:
            self.check_batch(batch)

    def on_test_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        if not batch_idx:
            self.check_batch(batch)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        if not batch_idx:
            InputChecks.check_batch(self, batch)  # targets may be missing
