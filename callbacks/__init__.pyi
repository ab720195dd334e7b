"""Lightning callbacks for any model that follows the contracts of the zoo's base classes."""

from .adversarial_training import TRADES as TRADES
from .adversarial_training import AdversarialTraining as AdversarialTraining
from .adversarial_training import FastAdversarialTraining as FastAdversarialTraining
from .adversarial_training import FreeAdversarialTraining as FreeAdversarialTraining
from .checkpoint import Checkpoint as Checkpoint
from .early_stopping import EarlyStopping as EarlyStopping
from .figures import FigureCallback as FigureCallback
from .figures import save_figure as save_figure
from .graphs import GraphClasses as GraphClasses
from .interrupt import Interrupt as Interrupt
from .interrupt import TrainingInterrupted as TrainingInterrupted
from .latent import ExplainedVariance as ExplainedVariance
from .latent import LatentInterpolation as LatentInterpolation
from .latent import LatentManifold as LatentManifold
from .latent import LatentScatter as LatentScatter
from .latent import LatentWalk as LatentWalk
from .latent import Reconstructions as Reconstructions
from .latent import Samples as Samples
from .learning_curves import LearningCurves as LearningCurves
from .meshes import Meshes as Meshes
from .meshes import ShapeInterpolation as ShapeInterpolation
from .meshes import Voxels as Voxels
from .points import PointClouds as PointClouds
from .predicted_meshes import PredictedMeshes as PredictedMeshes
from .predictions import Calibration as Calibration
from .predictions import ConfusionMatrix as ConfusionMatrix
from .predictions import DecisionBoundary as DecisionBoundary
from .predictions import FittedCurve as FittedCurve
from .progress import ProgressBar as ProgressBar
from .pruning import SensitivityPruning as SensitivityPruning
from .samples_over_time import SamplesOverTime as SamplesOverTime
from .sequences import AttentionMaps as AttentionMaps
from .sequences import Forecasts as Forecasts
from .sequences import PositionSimilarity as PositionSimilarity
from .sequences import TextSamples as TextSamples
from .weights import ActivationMaximization as ActivationMaximization
from .weights import Attributions as Attributions
from .weights import FeatureMaps as FeatureMaps
from .weights import Filters as Filters
from .weights import WeightHistograms as WeightHistograms

__all__: list[str]
