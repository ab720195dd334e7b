"""Target models whose samples are rows of a tensor: images, point clouds, meshes, voxel grids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zoo import attacks, plots
from zoo.attacks.base import Attack
from zoo.attacks.robustness import is_correct
from zoo.core.classification import Classifier
from zoo.errors import InputError
from zoo.evaluation.robustness import AttackOutcome, AttackSpec, TargetModel
from zoo.functional.norm_balls import delta_norm
from zoo.functional.voxels import voxel_faces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_SAMPLES = 1_000  # default number of test samples
CHUNK = 500  # samples attacked at once
TRAINING_SAMPLES = 5_000  # for universal perturbations and substitutes

#: attacks on points and vertices, which have no bounds
VERTEX_SPECS: dict[str, AttackSpec] = {
    "pgd": AttackSpec(attacks.PGD, fixed={"bounds": None}),
    "fgsm": AttackSpec(attacks.FGSM, options=("norm", "target"), fixed={"bounds": None}),
    "bim": AttackSpec(attacks.BIM, options=("norm", "steps", "target"), fixed={"bounds": None}),
}


class DenseTarget(TargetModel):
    """Base class of targets whose test samples are one tensor.

    Args:
        path, model, data, options: see :class:`~zoo.evaluation.robustness.TargetModel`.
        x: test samples, (N, ...).
        y: class indices of the samples, int64 (N,).

    Raises:
        InputError: all samples belong to the target class.
    """

    num_shown = 8  # samples in a figure

    def __init__(
        self, path: str, model: Classifier, data: Any, options: Any, x: Tensor, y: Tensor
    ) -> None:
        super().__init__(path, model, data, options)
        if options.target is not None:  # samples of the target class cannot be attacked
            x, y = x[y != options.target], y[y != options.target]
            if not len(y):
                raise InputError(
                    f"--target {options.target}: all test samples already belong to this class, "
                    "choose another"
                )
        limit = options.test_samples or NUM_SAMPLES
        self.x, self.y = x[:limit].to(model.device), y[:limit].to(model.device)
        self.correct = self._is_correct(self.x, self.y)
        self.clean_accuracy, self.num_samples = float(self.correct.double().mean()), len(self.y)

    def _is_correct(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([is_correct(self.model, *chunk) for chunk in self._chunks(x, y)])

    @staticmethod
    def _chunks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(x.split(CHUNK), y.split(CHUNK), strict=True)

    def run_attack(self, attack: Attack, eps: float | None) -> AttackOutcome:
        x, y = self.x[self.correct], self.y[self.correct]
        x_adv = self.perturb(self.model, attack, x, y)
        is_robust = self._is_correct(x_adv, y)
        distances = self.distances(x_adv[~is_robust], x[~is_robust])
        distance = float(distances.mean()) if len(distances) else float("nan")
        budget = "minimum norm" if eps is None else f"ε = {eps:g}"
        title = f"{attack.name} on {type(self.model).__name__}, {budget}"

        def make_figure() -> Figure | None:
            if not len(x):
                return None
            return self.figure(attack, x[: self.num_shown], x_adv[: self.num_shown], title)

        return AttackOutcome(float(is_robust.sum()) / self.num_samples, distance, make_figure)

    def perturb(self, model: Classifier, attack: Attack, x: Tensor, y: Tensor) -> Tensor:
        """Attack samples in chunks; the model may differ from the target model."""
        return torch.cat([attack(model, *chunk) for chunk in self._chunks(x, y)]) if len(x) else x

    def distances(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Compute the size of each perturbation, (B,)."""
        return (x_adv - x).flatten(1).norm(dim=1)

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Compute the scores of samples, (B, K)."""
        return self.model.logits(x)

    def figure(self, attack: Attack, x: Tensor, x_adv: Tensor, title: str) -> Figure | None:
        """Plot samples and their adversarial versions; None if they cannot be shown."""
        raise NotImplementedError(f"{type(self).__name__} has no figure(attack, x, x_adv, title)")


class ImageTarget(DenseTarget):
    """Images with pixels in [0, 1]."""

    attack_specs: ClassVar = {
        "pgd": AttackSpec(attacks.PGD),
        "fgsm": AttackSpec(attacks.FGSM, options=("norm", "target")),
        "bim": AttackSpec(attacks.BIM, options=("norm", "steps", "target")),
        "apgd": AttackSpec(attacks.APGD),
        "square": AttackSpec(
            attacks.Square, steps_argument="queries", threat_model="score-based"
        ),
        "universal": AttackSpec(
            attacks.UniversalPerturbation, options=("norm", "steps", "target"),
            steps_argument="epochs",
        ),
        "transfer": AttackSpec(
            attacks.PGD, options=("norm", "steps", "target"), threat_model="decision-based",
        ),
        "carlini_wagner": AttackSpec(
            attacks.CarliniWagner, is_bounded=False, options=("norm", "steps", "target")
        ),
        "deep_fool": AttackSpec(
            attacks.DeepFool, is_bounded=False, options=("norm", "steps", "target")
        ),
        "lbfgs": AttackSpec(attacks.LBFGSAttack, is_bounded=False, options=("steps", "target")),
    }  # fmt: skip
    norms = ("linf", "l2")
    sample_noun = "images"
    eps_units: ClassVar = {"linf": "Linf, pixels in [0, 1]", "l2": "L2, pixels in [0, 1]"}

    def attack_settings(self, spec: AttackSpec, eps: float | None) -> dict[str, Any]:
        settings = super().attack_settings(spec, eps)
        if eps is None and "norm" in settings:
            settings["norm"] = "l2"  # the norm of the distances in the table
        return settings

    def make_attacks(self, name: str, radii: list[Any]) -> Iterator[Attack]:
        if name == "transfer":
            yield from self._substitute_attacks(radii)
        elif name == "universal":
            yield from self._universal_perturbations(radii)
        else:
            yield from super().make_attacks(name, radii)

    def _substitute_attacks(self, radii: list[Any]) -> Iterator[Attack]:
        """Train one substitute on predictions for training images; yield PGD on it for each ε."""
        x = self.data.evaluation_samples("train")[0][:TRAINING_SAMPLES].to(self.model.device)
        pgd = attacks.PGD(**self.attack_settings(self.available_attacks()["transfer"], 0.0))
        trainer = attacks.SubstituteAttack(attack=pgd, seed=self.options.seed)
        transfer, target = trainer.fit(self.model, x), self.options.target
        for eps in radii:
            attack = transfer.with_eps(eps)
            yield attack if target is None else attacks.Targeted(attack, target)

    def _universal_perturbations(self, radii: list[Any]) -> Iterator[Attack]:
        """Learn one perturbation for each ε on training images."""
        x, y = (part[:TRAINING_SAMPLES] for part in self.data.evaluation_samples("train"))
        device = self.model.device
        batches = list(zip(x.to(device).split(100), y.to(device).split(100), strict=True))
        for eps in radii:
            settings = self.attack_settings(self.available_attacks()["universal"], eps)
            attack = attacks.UniversalPerturbation(target=self.options.target, **settings)
            yield attack.fit(self.model, batches)

    def figure(self, attack: Attack, x: Tensor, x_adv: Tensor, title: str) -> Figure | None:
        if x.shape[1] not in (1, 3):
            return None
        if isinstance(attack, attacks.FixedPerturbation):
            return plots.universal_perturbation(attack.delta, x, x_adv, title)
        maxima = (self.scores(samples).softmax(1).max(1) for samples in (x, x_adv))
        before, after = ((predicted, confidence) for confidence, predicted in maxima)
        return plots.adversarial_images(x, x_adv, before, after, self.class_names, title)


class PointCloudTarget(DenseTarget):
    """Point clouds (B, N, 3), or vertices of meshes with the same faces."""

    attack_specs: ClassVar = {
        **VERTEX_SPECS,
        "apgd": AttackSpec(attacks.APGD, fixed={"bounds": None}),
        "drop": AttackSpec(
            attacks.PointDropping, options=("steps", "target"), steps_argument="rounds",
            eps_unit="fraction of points dropped",
        ),
        "carlini_wagner": AttackSpec(
            attacks.CarliniWagner, is_bounded=False, options=("norm", "steps", "target"),
            fixed={"bounds": None},
        ),
    }  # fmt: skip
    default_eps = (0.02, 0.05, 0.1)
    norms = ("point", "linf", "l2")
    sample_noun = "point clouds"
    eps_units: ClassVar = {
        "point": "largest displacement of a point",
        "linf": "largest coordinate of a displacement",
        "l2": "L2",
    }
    num_shown = 5

    @property
    def distance_name(self) -> str:  # type: ignore[override]
        names = {"point": "displacement", "linf": "mean Linf", "l2": "mean L2"}
        return names[self.options.norm]

    def distances(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return delta_norm(x_adv - x, self.options.norm)

    def available_attacks(self) -> dict[str, AttackSpec]:
        if not hasattr(self.data, "faces"):
            return self.attack_specs
        smooth = AttackSpec(
            attacks.SmoothPGD, options=("steps", "seed", "target"), fixed={"faces": self.data.faces}
        )
        return self.attack_specs | {"smooth": smooth}

    def figure(self, attack: Attack, x: Tensor, x_adv: Tensor, title: str) -> Figure | None:
        (old, before), (new, after) = (self.predictions(self.scores(s)) for s in (x, x_adv))
        fooled = (old != new).tolist()
        if hasattr(self.data, "faces"):
            faces = [self.data.faces] * len(x)
            return plots.displaced_meshes(list(x), list(x_adv), faces, before, after, fooled, title)
        return plots.displaced_point_clouds(x, x_adv, before, after, fooled, title)


class VoxelTarget(DenseTarget):
    """Binary voxel grids."""

    attack_specs: ClassVar = {
        "flips": AttackSpec(
            attacks.VoxelFlips, options=("steps", "target"), steps_argument="rounds"
        ),
    }
    default_eps = (0.02, 0.05, 0.1)
    norms = ("flips",)
    sample_noun = "voxel grids"
    eps_units: ClassVar = {"flips": "flips, as a fraction of the occupied voxels"}
    distance_name = "mean flips"
    num_shown = 3

    def distances(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return (x_adv != x).flatten(1).sum(1).double()

    def figure(self, attack: Attack, x: Tensor, x_adv: Tensor, title: str) -> Figure | None:
        # each grid is followed by its adversarial version
        grids = torch.stack([x, x_adv], 1).flatten(0, 1)
        predicted, captions = self.predictions(self.scores(grids))
        fooled = (predicted[::2] != predicted[1::2]).tolist()
        wrong = [value for is_fooled in fooled for value in (False, is_fooled)]
        grids = grids[:, 0].cpu()
        outsides = [plots.Mesh(*voxel_faces(grid)) for grid in grids]
        return plots.voxels(outsides, grids, captions, title, wrong)


def make_dense_target(path: str, model: Classifier, data: Any, options: Any) -> DenseTarget:
    """Return the target for a data module whose samples are tensors.

    Args:
        path, model, data, options: see :class:`~zoo.evaluation.robustness.TargetModel`.

    Raises:
        InputError: the data has no classes, or no attack supports its samples.
    """
    x, y = data.evaluation_samples("test")
    targets: dict[int, type[DenseTarget]] = {4: ImageTarget, 3: PointCloudTarget, 5: VoxelTarget}
    is_supported = x.ndim in targets and not y.is_floating_point() and y.ndim == 1
    if not is_supported or (x.ndim == 3 and x.shape[2] != 3):
        raise InputError(
            "attacks need images, point clouds, voxel grids, meshes or a graph with class labels, "
            f"got samples of shape {tuple(x.shape[1:])} with {y.dtype} labels of shape "
            f"{tuple(y.shape[1:])} from {type(data).__name__}"
        )
    return targets[x.ndim](path, model, data, options, x, y)
