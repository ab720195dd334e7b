"""Adversarial attacks: ``attack(model, x, y)`` → samples that the model takes for something else.

What each may see:

===================== ======================================================================
white box             the model's gradients
gray box              those of another model that resembles it, and its training data
black box, scores     the scores of any sample that it asks about
black box, classes    the class of any sample that it asks about
===================== ======================================================================
"""

from zoo.attacks.apgd import APGD
from zoo.attacks.base import Attack
from zoo.attacks.combine import Restarts, Targeted, WorstOf
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
]
