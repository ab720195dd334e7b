"""Parser of the command line for LightningCLI, and the settings of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser

from zoo.cli.error_text import one_line
from zoo.errors import InputError

register_type(torch.device)  # whose name is written to config.yaml, as of callbacks that average


@dataclass
class CheckpointSettings:
    """Checkpoints of a run: ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Args:
        monitor: metric by which the best checkpoint is chosen, default ``val/loss``; null keeps
            only the last one.
        mode: ``min`` or ``max``; null (default) chooses it by the metric.
        every_n_train_steps: number of steps after which ``last.ckpt`` is written; null (default)
            writes it after every epoch.
        upload: whether to upload the checkpoints to Weights & Biases as an artifact, default false.
    """

    monitor: str | None = "val/loss"
    mode: str | None = None
    every_n_train_steps: int | None = None
    upload: bool = False


class ZooParser(LightningArgumentParser):
    """Parser whose errors are one line and suggest similar names."""

    #: names of the arguments of the chosen ``model`` and ``data``, for suggestions
    arguments: ClassVar[dict[str, set[str]]] = {}

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:  # a nested parser; the outer one names the option
            super().error(message, ex)
        raise InputError(self.explain(message, ex)) from ex

    def explain(self, message: str, ex: Exception | None = None) -> str:
        """Return the message as one line."""
        parser = getattr(ex, "subcommand_parser", None) or self
        return one_line(message, parser._option_string_actions, self.arguments)
