"""Adversarial attacks: ``attack(model, x, y)`` → samples that the model takes for something else.

What each may see:

===================== ======================================================================
white box             the model's gradients
gray box              those of another model that resembles it, and its training data
black box, scores     the scores of any sample that it asks about
black box, classes    the class of any sample that it asks about
===================== ======================================================================

Those on graphs are in :mod:`zoo.attacks.graphs`, which needs PyG; points are samples (B, N, 3)
without bounds, for which PGD and its kin have the norms ``linf`` (each coordinate) and ``point``.
"""

from zoo.attacks.apgd import APGD
from zoo.attacks.base import Attack
from zoo.attacks.combine import Restarts, Targeted, WorstOf
from zoo.attacks.defences import Purified, jaccard_filter, remove_outliers
from zoo.attacks.gradient import BIM, FGSM, PGD, RandomFGSM
from zoo.attacks.minimal import CarliniWagner, DeepFool
from zoo.attacks.penalty import PenaltyAttack
from zoo.attacks.robustness import Robustness, evaluate
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
    "PenaltyAttack",
    "Purified",
    "RandomFGSM",
    "Restarts",
    "Robustness",
    "Square",
    "Targeted",
    "TransferAttack",
    "Transferred",
    "UniversalPerturbation",
    "WorstOf",
    "evaluate",
    "jaccard_filter",
    "remove_outliers",
]
