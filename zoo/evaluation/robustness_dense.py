"""Images, clouds of points, shapes of one connectivity and voxels: tensors with a row for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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

IMAGES = 1_000  # samples that are judged, unless told otherwise
CHUNK = 500  # samples that are attacked at once
LEARNED = 5_000  # training samples that a universal perturbation or a substitute learns from


class DenseTarget(TargetModel):
    """Test samples as one tensor.

    Args:
        x, y: test samples and their classes.
        **victim: see :class:`~zoo.evaluation.robustness.TargetModel`.
    """

    shown = 8  # in a figure

    def __init__(
        self, path: str, model: Classifier, data: Any, options: Any, x: Tensor, y: Tensor
    ) -> None:
        super().__init__(path, model, data, options)
        if options.target is not None:  # those of the class itself have nothing to reach
            x, y = x[y != options.target], y[y != options.target]
        limit = options.images or IMAGES
        self.x, self.y = x[:limit].to(model.device), y[:limit].to(model.device)
        self.right = torch.cat([is_correct(model, *part) for part in self.parts(self.x, self.y)])
        self.clean, self.count = float(self.right.double().mean()), len(self.y)

    @staticmethod
    def parts(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Both, as many at once as are attacked together."""
        return zip(x.split(CHUNK), y.split(CHUNK), strict=True)

    def under(self, attack: Attack, eps: float | None) -> AttackOutcome:
        x, y = self.x[self.right], self.y[self.right]
        found = self.attacked(self.model, attack, x, y)
        held = torch.cat([is_correct(self.model, *part) for part in self.parts(found, y)])
        far = self.distances(found[~held], x[~held])
        distance = float(far.mean()) if len(far) else float("nan")
        budget = f"nearest {self.what}" if eps is None else f"ε = {eps:g}"
        title = f"{attack.name} on {type(self.model).__name__}, {budget}"
        draw = partial(self.picture, attack, x[: self.shown], found[: self.shown], title)
        return AttackOutcome(float(held.sum()) / self.count, distance, draw)

    def attacked(self, model: Classifier, attack: Attack, x: Tensor, y: Tensor) -> Tensor:
        """What an attack makes of samples."""
        return torch.cat([attack(model, *part) for part in self.parts(x, y)]) if len(x) else x

    def distances(self, found: Tensor, x: Tensor) -> Tensor:
        """How far each sample went, (B,)."""
        return (found - x).flatten(1).norm(dim=1)

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """What the model says of samples, (B, K)."""
        return self.model.logits(x)

    def picture(self, attack: Attack, x: Tensor, found: Tensor, title: str) -> Figure | None:
        """The figure, if the model was right about anything."""
        return self.figure(attack, x, found, title) if len(x) else None

    def figure(self, attack: Attack, x: Tensor, found: Tensor, title: str) -> Figure | None:
        """Some samples before and after."""
        raise NotImplementedError(f"{type(self).__name__} has no figure(attack, x, found, title)")


class ImageTarget(DenseTarget):
    """Images in [0, 1]."""

    catalog: ClassVar = {
        "pgd": AttackSpec(attacks.PGD),
        "fgsm": AttackSpec(attacks.FGSM, settings=("norm", "target")),
        "bim": AttackSpec(attacks.BIM, settings=("norm", "steps", "target")),
        "apgd": AttackSpec(attacks.APGD),
        "square": AttackSpec(attacks.Square, steps="queries", sight="black box, scores"),
        "universal": AttackSpec(
            attacks.UniversalPerturbation, settings=("norm", "steps", "target"), steps="epochs"
        ),
        "transfer": AttackSpec(
            attacks.PGD, settings=("norm", "steps", "target"), sight="black box, classes"
        ),
        "carlini_wagner": AttackSpec(attacks.CarliniWagner, False, ("norm", "steps", "target")),
        "deep_fool": AttackSpec(attacks.DeepFool, False, ("norm", "steps", "target")),
        "penalty": AttackSpec(attacks.PenaltyAttack, False, ("steps", "target")),
    }  # fmt: skip
    norms = ("linf", "l2")
    what = "images"
    units: ClassVar = {"linf": "Linf, pixels in [0, 1]", "l2": "L2, pixels in [0, 1]"}

    def settings(self, entry: AttackSpec, eps: float | None) -> dict[str, Any]:
        found = super().settings(entry, eps)
        if eps is None and "norm" in found:
            found["norm"] = "l2"  # the distance that the table shows
        return found

    def ready(self, name: str, budgets: list[Any]) -> Iterator[Attack]:
        if name == "transfer":
            yield from self._transferred(budgets)
        elif name == "universal":
            yield from self._universal(budgets)
        else:
            yield from super().ready(name, budgets)

    def _transferred(self, budgets: list[Any]) -> Iterator[Attack]:
        """PGD on a substitute, which is learned once."""
        asked = self.data.evaluation_samples("train")[0][:LEARNED].to(self.model.device)
        inner = attacks.PGD(**self.settings(self.entries()["transfer"], 0.0))
        learned = attacks.TransferAttack(attack=inner, seed=self.options.seed)
        substitute = learned.fit(self.model, asked)
        for eps in budgets:
            made = substitute.with_eps(eps)
            target = self.options.target
            yield made if target is None else attacks.Targeted(made, target)

    def _universal(self, budgets: list[Any]) -> Iterator[Attack]:
        """One perturbation for each budget, learned on training images."""
        x, y = (part[:LEARNED] for part in self.data.evaluation_samples("train"))
        device = self.model.device
        batches = list(zip(x.to(device).split(100), y.to(device).split(100), strict=True))
        for eps in budgets:
            settings = self.settings(self.entries()["universal"], eps)
            made = attacks.UniversalPerturbation(target=self.options.target, **settings)
            yield made.fit(self.model, batches)

    def figure(self, attack: Attack, x: Tensor, found: Tensor, title: str) -> Figure | None:
        if x.shape[1] not in (1, 3):
            return None
        if isinstance(attack, attacks.AddedPerturbation):
            return plots.universal_perturbation(attack.delta, x, found, title)
        before, after = (self.scores(s).softmax(1).max(1) for s in (x, found))
        said = [(classes, sure) for sure, classes in (before, after)]
        return plots.adversarial_images(x, found, said[0], said[1], self.class_names, title)


class PointCloudTarget(DenseTarget):
    """Clouds of points (B, N, 3), or the vertices of shapes that share their faces."""

    catalog: ClassVar = {
        "pgd": AttackSpec(attacks.PGD, fixed={"bounds": None}),
        "fgsm": AttackSpec(attacks.FGSM, settings=("norm", "target"), fixed={"bounds": None}),
        "bim": AttackSpec(attacks.BIM, settings=("norm", "steps", "target"), fixed={"bounds": None}),
        "apgd": AttackSpec(attacks.APGD, fixed={"bounds": None}),
        "drop": AttackSpec(attacks.PointDropping, settings=("steps", "target"), steps="rounds",
                      unit="share of the points"),
        "carlini_wagner": AttackSpec(
            attacks.CarliniWagner, False, ("norm", "steps", "target"), {"bounds": None}
        ),
    }  # fmt: skip
    budgets = (0.02, 0.05, 0.1)
    norms = ("point", "linf", "l2")
    what = "clouds"
    units: ClassVar = {
        "point": "longest way of a point", "linf": "largest coordinate of a way", "l2": "L2",
    }  # fmt: skip
    shown = 5

    @property
    def distance(self) -> str:  # type: ignore[override]
        return {"point": "longest way", "linf": "mean Linf", "l2": "mean L2"}[self.options.norm]

    def distances(self, found: Tensor, x: Tensor) -> Tensor:
        return delta_norm(found - x, self.options.norm)

    def entries(self) -> dict[str, AttackSpec]:
        if not hasattr(self.data, "faces"):
            return self.catalog
        faces = self.data.faces
        return self.catalog | {
            "smooth": AttackSpec(attacks.SmoothPGD, settings=("steps", "seed", "target"),
                            fixed={"faces": faces}),
        }  # fmt: skip

    def figure(self, attack: Attack, x: Tensor, found: Tensor, title: str) -> Figure | None:
        (old, before), (new, after) = (self.said(self.scores(s)) for s in (x, found))
        fooled = (old != new).tolist()
        if hasattr(self.data, "faces"):
            faces = [self.data.faces] * len(x)
            return plots.displaced_meshes(list(x), list(found), faces, before, after, fooled, title)
        return plots.displaced_point_clouds(x, found, before, after, fooled, title)


class VoxelTarget(DenseTarget):
    """Grids of voxels, full or empty."""

    catalog: ClassVar = {
        "flips": AttackSpec(attacks.VoxelFlips, settings=("steps", "target"), steps="rounds"),
    }
    budgets = (0.02, 0.05, 0.1)
    norms = ("flips",)
    what = "grids"
    units: ClassVar = {"flips": "flips, as a share of the full voxels"}
    distance = "flips"
    shown = 3

    def distances(self, found: Tensor, x: Tensor) -> Tensor:
        return (found != x).flatten(1).sum(1).double()

    def figure(self, attack: Attack, x: Tensor, found: Tensor, title: str) -> Figure | None:
        # each grid, and behind it what became of it
        grids = torch.stack([x, found], 1).flatten(0, 1)
        predicted, titles = self.said(self.scores(grids))
        fooled = (predicted[::2] != predicted[1::2]).tolist()
        wrong = [part for one in fooled for part in (False, one)]
        grids = grids[:, 0].cpu()
        outsides = [plots.Mesh(*voxel_faces(grid)) for grid in grids]
        return plots.voxels(outsides, grids, titles, title, wrong)


def make_dense_target(path: str, model: Classifier, data: Any, options: Any) -> DenseTarget:
    """The victim for data whose samples are tensors.

    Raises:
        InputError: no classes, or samples that no attack here fits.
    """
    x, y = data.evaluation_samples("test")
    kinds: dict[int, Any] = {4: ImageTarget, 3: PointCloudTarget, 5: VoxelTarget}
    fits = x.ndim in kinds and not y.is_floating_point() and y.ndim == 1
    if not fits or (x.ndim == 3 and x.shape[2] != 3):
        raise InputError(
            f"attacks need images, clouds, voxels, meshes or a graph with classes, "
            f"{type(data).__name__} has {tuple(x.shape[1:])} with labels {tuple(y.shape[1:])}"
        )
    return kinds[x.ndim](path, model, data, options, x, y)
