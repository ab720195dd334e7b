"""Targets in float32 at every precision of the Trainer."""

from __future__ import annotations

from functools import partial
from typing import Any

from lightning.pytorch.plugins.precision import HalfPrecision, Precision


def keep_targets(plugin: Precision) -> None:
    """Keep the targets of batches (x, y) in float32 at precision bf16-true or 16-true.

    The Trainer's plugin would convert them together with the inputs: 250,037 would become 249,856.

    Args:
        plugin: the Trainer's precision plugin, changed in place.
    """
    if isinstance(plugin, HalfPrecision) and "convert_input" not in vars(plugin):
        plugin.convert_input = partial(_convert_inputs, plugin.convert_input)


def _convert_inputs(convert: Any, batch: Any) -> Any:
    """Convert a batch except its targets."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return (convert(batch[0]), batch[1])
    return convert(batch)
