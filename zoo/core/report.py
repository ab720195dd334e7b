"""What a run says at its end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only


def metrics_table(
    stage: str, metrics: dict[str, float], notes: dict[str, str], remarks: Sequence[str] = ()
) -> str:
    """The metrics of a stage, one a line with its meaning; the loss only when nothing equals it.

    Remarks on the run as a whole come below.
    """
    shown = {
        name: value
        for name, value in metrics.items()
        if name != "loss" or value not in [v for n, v in metrics.items() if n != "loss"]
    }
    width = max([len(name) for name in shown], default=0) + len(stage) + 1
    lines = [
        f"{stage + '/' + name:<{width}}  {value:>10.5g}   {notes.get(name, '')}".rstrip()
        for name, value in shown.items()
    ]
    lines += remarks
    rule = "─" * max([len(line) for line in lines], default=0)
    return "\n".join(["", rule, *lines, rule])


def short_path(path: str | Path) -> str:
    """Relative to the working folder where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


@rank_zero_only
def print_rank_zero(text: str) -> None:
    print(text, flush=True)


def concatenate_batches(batches: Any) -> Any:
    """Predictions of all batches as one: dictionaries of tensors are concatenated."""
    if batches and isinstance(batches[0], dict):
        return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    return batches
