"""Adversarial attacks: ``x_adv = attack(model, x, y)``.

Threat models, by the information that an attack uses:

============== ================================================================================
white-box      gradients of the target model
transfer       gradients of a substitute model, such as one trained on the same data (gray-box)
score-based    scores of the target model for any sample (black-box)
decision-based predicted classes of the target model for any sample (black-box)
============== ================================================================================

Point clouds and vertices are samples (B, N, 3) without bounds (``bounds=None``). On them, PGD, its
variants and Carlini and Wagner's attack support the norms ``linf`` (each coordinate) and ``point``
(each point). Attacks on graphs are in :mod:`zoo.attacks.graphs`, which needs PyG.
"""

from zoo.attacks.apgd import APGD
from zoo.attacks.base import Attack
from zoo.attacks.defenses import PurifiedModel, jaccard_filter, remove_outliers
from zoo.attacks.gradient import BIM, FGSM, PGD, RandomFGSM
from zoo.attacks.greedy import PointDropping, VoxelFlips
from zoo.attacks.latent import LatentPGD
from zoo.attacks.lbfgs import LBFGSAttack
from zoo.attacks.meshes import MeshAttack, SmoothPGD
from zoo.attacks.minimum_norm import CarliniWagner, DeepFool
from zoo.attacks.robustness import RobustnessReport, evaluate_robustness
from zoo.attacks.spectral import SpectralShiftAttack, UniversalSpectralAttack
from zoo.attacks.square import Square
from zoo.attacks.transfer import SubstituteAttack, TransferAttack
from zoo.attacks.universal import FixedPerturbation, UniversalPerturbation
from zoo.attacks.wrappers import AttackEnsemble, Restarts, Targeted

__all__ = [
    "APGD",
    "BIM",
    "FGSM",
    "PGD",
    "Attack",
    "AttackEnsemble",
    "CarliniWagner",
    "DeepFool",
    "FixedPerturbation",
    "LBFGSAttack",
    "LatentPGD",
    "MeshAttack",
    "PointDropping",
    "PurifiedModel",
    "RandomFGSM",
    "Restarts",
    "RobustnessReport",
    "SmoothPGD",
    "SpectralShiftAttack",
    "Square",
    "SubstituteAttack",
    "Targeted",
    "TransferAttack",
    "UniversalPerturbation",
    "UniversalSpectralAttack",
    "VoxelFlips",
    "evaluate_robustness",
    "jaccard_filter",
    "remove_outliers",
]
