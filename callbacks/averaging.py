"""Weights averaged by Lightning's callbacks: those that are evaluated, and the final ones.

``WeightAveraging`` evaluates and saves the average from the start; ``StochasticWeightAveraging``
puts it in place of the weights only when training ends.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import Tensor


def averaging_callback(trainer: Trainer) -> WeightAveraging | None:
    """Return the callback whose average is validated in place of the weights, or None."""
    found = (c for c in trainer.callbacks if isinstance(c, WeightAveraging))
    return next((c for c in found if c._average_model is not None), None)


def evaluated_weights(trainer: Trainer, module: LightningModule) -> dict[str, Tensor]:
    """Return the weights that are validated: the average, if there is one."""
    callback = averaging_callback(trainer)
    average: Any = callback and callback._average_model
    weights: dict[str, Tensor] = (average.module if average else module).state_dict()
    return weights


def ends_with_average(trainer: Trainer) -> bool:
    """Return whether stochastic weight averaging has replaced the last weights by its average."""
    found = (c for c in trainer.callbacks if isinstance(c, StochasticWeightAveraging))
    callback = next(found, None)
    if callback is None or not callback._initialized:
        return False
    return trainer.current_epoch > callback.swa_end


def stop_averaging(trainer: Trainer) -> None:
    """Remove the averaging callbacks, which would restore the last weights in a test."""
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]
