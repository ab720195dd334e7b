"""Norm penalties and norm constraints on weights selected by name."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.functional.penalties import clip_unit_norms_, lp_penalty

#: one number for all weights with two or more dimensions, or one for each name pattern
Strength = float | dict[str, float]


def select_parameters(module: nn.Module, strength: Strength) -> Iterator[tuple[Tensor, float]]:
    """Yield the trainable parameters that a strength applies to, each with its value.

    The first matching pattern applies. Pruned weights match by their original name.

    Args:
        module: module whose parameters are selected.
        strength: one number, or one for each name pattern.

    Raises:
        InputError: a pattern that matches no parameter (with the names of all parameters).
    """
    named = {name.removesuffix("_orig"): p for name, p in module.named_parameters()}
    if not isinstance(strength, dict):
        yield from ((p, strength) for p in named.values() if p.ndim >= 2 and p.requires_grad)
        return
    for pattern in strength:
        if not any(fnmatchcase(name, pattern) for name in named):
            raise InputError(
                f"no parameter matches {pattern!r}; the parameters are {', '.join(named)}"
            )
    for name, p in named.items():
        matches = [value for pattern, value in strength.items() if fnmatchcase(name, pattern)]
        if matches and p.requires_grad:
            yield p, matches[0]


def penalty(module: nn.Module, strength: Strength, p: float) -> Tensor:
    """Compute Σ λ Σ|w|^p over the selected parameters, a scalar."""
    terms = [value * lp_penalty(w, p) for w, value in select_parameters(module, strength)]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def apply_max_norm(module: nn.Module, limit: Strength) -> None:
    """Rescale, in place, every unit of the selected weights whose norm exceeds its limit."""
    for weight, value in select_parameters(module, limit):
        clip_unit_norms_(weight, value)
