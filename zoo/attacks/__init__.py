"""Adversarial attacks: ``attack(model, x, y)`` → samples that the model takes for something else.

What each may see:

===================== ======================================================================
white box             the model's gradients
gray box              those of another model that resembles it, and its training data
black box, scores     the scores of any sample that it asks about
black box, classes    the class of any sample that it asks about
===================== ======================================================================

Points and vertices are samples (B, N, 3) without bounds (``bounds=None``), for which PGD and its
kin and Carlini and Wagner's attack have the norms ``linf`` (each coordinate) and ``point`` (each
point). Attacks on graphs are in :mod:`zoo.attacks.graphs`, which needs PyG.
"""

from zoo.attacks.apgd import APGD
from zoo.attacks.base import Attack
from zoo.attacks.combine import Restarts, Targeted, WorstOf
from zoo.attacks.defenses import PurifiedModel, jaccard_filter, remove_outliers
from zoo.attacks.gradient import BIM, FGSM, PGD, RandomFGSM
from zoo.attacks.greedy import PointDropping, VoxelFlips
from zoo.attacks.latent import LatentPGD
from zoo.attacks.meshes import OnMeshes, SmoothPGD
from zoo.attacks.minimal import CarliniWagner, DeepFool
from zoo.attacks.penalty import PenaltyAttack
from zoo.attacks.robustness import RobustnessReport, evaluate_robustness
from zoo.attacks.spectral import ShiftedSpectrum, UniversalSpectrum
from zoo.attacks.square import Square
from zoo.attacks.transfer import TransferAttack, Transferred
from zoo.attacks.universal import AddedPerturbation, UniversalPerturbation

__all__ = [
    "APGD",
    "BIM",
    "FGSM",
    "PGD",
    "AddedPerturbation",
    "Attack",
    "CarliniWagner",
    "DeepFool",
    "LatentPGD",
    "OnMeshes",
    "PenaltyAttack",
    "PointDropping",
    "PurifiedModel",
    "RandomFGSM",
    "Restarts",
    "RobustnessReport",
    "ShiftedSpectrum",
    "SmoothPGD",
    "Square",
    "Targeted",
    "TransferAttack",
    "Transferred",
    "UniversalPerturbation",
    "UniversalSpectrum",
    "VoxelFlips",
    "WorstOf",
    "evaluate_robustness",
    "jaccard_filter",
    "remove_outliers",
]
