"""Output of a run: the table of metrics, paths and predictions."""

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
    """Return a table with one line per metric: name, value and meaning.

    The loss is left out if another metric has the same value.

    Args:
        stage: ``val`` or ``test``, the prefix of the names.
        metrics: values by name, without the prefix.
        notes: meanings by name.
        remarks: lines below the metrics; see :meth:`zoo.core.task.Task.remarks`, default none.
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
    """Return a path relative to the working folder, or as given if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


@rank_zero_only
def print_rank_zero(text: str) -> None:
    """Print a text in the first process only."""
    print(text, flush=True)


def concatenate_batches(batches: Any) -> Any:
    """Return the predictions of all batches as one dictionary, tensors concatenated.

    Predictions that are not dictionaries are returned as given, in a list.
    """
    if batches and isinstance(batches[0], dict):
        return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    return batches
