"""Norm penalties and norm constraints on weights chosen by name."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.functional.penalties import clip_unit_norms_, lp_penalty

#: one number for all weights of two or more dimensions, or one for each name pattern
Strength = float | dict[str, float]


def select_parameters(module: nn.Module, strength: Strength) -> Iterator[tuple[Tensor, float]]:
    """Trainable parameters that a strength speaks of, each with its number.

    A name that several patterns match takes the first. Pruned weights go by their plain name.

    Raises:
        InputError: a pattern that matches no parameter (with the names there are).
    """
    named = {name.removesuffix("_orig"): p for name, p in module.named_parameters()}
    if not isinstance(strength, dict):
        yield from ((p, strength) for p in named.values() if p.ndim >= 2 and p.requires_grad)
        return
    for pattern in strength:
        if not any(fnmatchcase(name, pattern) for name in named):
            raise InputError(f"no parameter is called {pattern!r}; there are {', '.join(named)}")
    for name, p in named.items():
        matches = [value for pattern, value in strength.items() if fnmatchcase(name, pattern)]
        if matches and p.requires_grad:
            yield p, matches[0]


def penalty(module: nn.Module, strength: Strength, p: float) -> Tensor:
    """Σ λ Σ|w|^p over the chosen parameters: a scalar, part of the loss."""
    terms = [value * lp_penalty(w, p) for w, value in select_parameters(module, strength)]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def apply_max_norm(module: nn.Module, limit: Strength) -> None:
    """Scales back, in place, every unit of the chosen weights that is longer than its limit."""
    for weight, value in select_parameters(module, limit):
        clip_unit_norms_(weight, value)
