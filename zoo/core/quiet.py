"""Library messages that are of no use to the user."""

from __future__ import annotations

import logging
import warnings


def silence_libraries() -> None:
    """Silence libraries' device listings, advertisements and known deprecation warnings.

    Other warnings are printed as one line, without the code that gave them.
    """
    warnings.formatwarning = _format_warning
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not")
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than")
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # the zoo's loaders repeat their batches without being replaced
    warnings.filterwarnings("ignore", message="You requested to overfit but enabled")
    # the EMA copy of a network is always in evaluation mode
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    warnings.filterwarnings("ignore", message="You have overridden `on_after_batch_transfer`")
    warnings.filterwarnings("ignore", message="`weights_only` was not set")
    warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")  # PyG's import


def _format_warning(message: Warning | str, *_: object, **__: object) -> str:
    return f"warning: {' '.join(str(message).split())}\n"
