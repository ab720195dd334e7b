"""Lightning callbacks for any model that keeps the zoo's contracts."""

from callbacks.adversarial_training import (
    TRADES,
    AdversarialTraining,
    FastAdversarialTraining,
    FreeAdversarialTraining,
)
from callbacks.checkpoint import Checkpoint
from callbacks.early_stopping import EarlyStopping
from callbacks.figures import FigureCallback, save_figure
from callbacks.graphs import GraphClasses
from callbacks.interrupt import Interrupt, TrainingInterrupted
from callbacks.latent import (
    ExplainedVariance,
    LatentInterpolation,
    LatentManifold,
    LatentScatter,
    Reconstructions,
    Samples,
)
from callbacks.learning import LearningCurves
from callbacks.meshes import Meshes, ShapePaths, ShapeWalk, Voxels
from callbacks.over_time import SamplesOverTime
from callbacks.points import PointClouds
from callbacks.predictions import Calibration, ConfusionMatrix, DecisionBoundary, FittedCurve
from callbacks.progress import ProgressBar
from callbacks.pruning import SensitivityPruning
from callbacks.sequences import AttentionMaps, Forecasts, PositionSimilarity, TextSamples
from callbacks.weights import (
    Attributions,
    FeatureMaps,
    Filters,
    MaximizingInputs,
    WeightHistograms,
)

__all__ = [
    "TRADES",
    "AdversarialTraining",
    "AttentionMaps",
    "Attributions",
    "Calibration",
    "Checkpoint",
    "ConfusionMatrix",
    "DecisionBoundary",
    "EarlyStopping",
    "ExplainedVariance",
    "FastAdversarialTraining",
    "FeatureMaps",
    "FigureCallback",
    "Filters",
    "FittedCurve",
    "Forecasts",
    "FreeAdversarialTraining",
    "GraphClasses",
    "Interrupt",
    "LatentInterpolation",
    "LatentManifold",
    "LatentScatter",
    "LearningCurves",
    "MaximizingInputs",
    "Meshes",
    "PointClouds",
    "PositionSimilarity",
    "ProgressBar",
    "Reconstructions",
    "Samples",
    "SamplesOverTime",
    "SensitivityPruning",
    "ShapePaths",
    "ShapeWalk",
    "TextSamples",
    "TrainingInterrupted",
    "Voxels",
    "WeightHistograms",
    "save_figure",
]
