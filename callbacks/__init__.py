"""Lightning callbacks for any model that keeps the zoo's contracts."""

from callbacks.checkpoint import Checkpoint
from callbacks.early_stopping import EarlyStopping
from callbacks.figures import FigureCallback, save_figure
from callbacks.interrupt import Interrupt, TrainingInterrupted
from callbacks.latent import (
    LatentInterpolation,
    LatentManifold,
    LatentScatter,
    Reconstructions,
    Samples,
)
from callbacks.progress import ProgressBar

__all__ = [
    "Checkpoint",
    "EarlyStopping",
    "FigureCallback",
    "Interrupt",
    "LatentInterpolation",
    "LatentManifold",
    "LatentScatter",
    "ProgressBar",
    "Reconstructions",
    "Samples",
    "TrainingInterrupted",
    "save_figure",
]
