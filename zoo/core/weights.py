"""Weights of a checkpoint in a model that differs from it: other layers, or compiled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.errors import InputError

COMPILED = "_orig_mod."  # in the names of weights of a compiled module
SHOWN = 3  # names of new tensors in the message


def copy_matching(model: nn.Module, weights: dict[str, Any], path: str | Path) -> str:
    """Copy the weights whose names and shapes are those of a model.

    Args:
        model: model that receives the weights.
        weights: ``state_dict`` of the checkpoint.
        path: path of the checkpoint, for messages.

    Returns:
        One line with the number of copied tensors, and the names of those that are new.

    Raises:
        InputError: no tensor has the same name and shape.
    """
    own = model.state_dict()
    matching = {
        name: weights[name]
        for name, value in own.items()
        if name in weights and weights[name].shape == value.shape
    }
    new = [_describe(name, value, weights.get(name)) for name, value in own.items()
           if name not in matching]  # fmt: skip
    if not matching:
        raise InputError(
            f"no weight of {path} has the name and shape of one of {type(model).__name__}: choose "
            "a checkpoint of this model or of one with the same layers"
        )
    model.load_state_dict(matching, strict=False)
    more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
    rest = f"; new: {', '.join(new[:SHOWN])}{more}" if new else ""
    return f"{len(matching)} of {len(own)} tensors are those of {path}{rest}"


def _describe(name: str, value: torch.Tensor, other: torch.Tensor | None) -> str:
    shape = tuple(value.shape)
    return f"{name} {shape}" if other is None else f"{name} {shape} for {tuple(other.shape)}"


def match_compiled(weights: dict[str, Any], model: torch.nn.Module) -> dict[str, Any]:
    """Rename the weights of submodules that are compiled only in the checkpoint or in the model.

    ``torch.compile`` puts ``_orig_mod.`` into the names of a module's weights.

    Args:
        weights: ``state_dict`` of a checkpoint.
        model: model that will receive the weights.
    """
    names = {name.replace(COMPILED, ""): name for name in model.state_dict()}
    return {names.get(n.replace(COMPILED, ""), n): value for n, value in weights.items()}
