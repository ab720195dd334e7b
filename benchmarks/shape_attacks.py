"""Attacks on clouds of points, voxels, moving bodies, and through a decoder, on generated data.

* points: a PointNet on the shapes of ``datamodules.Shapes``: ways of each point up to ε (the clouds
  have a radius of 1), the same behind a filter of outliers that the attack does not see, points
  dropped; mean distances that Carlini and Wagner's attack needs; a network trained against PGD.
* voxels: a VoxNet on the same shapes in grids of 24³, flips as a share of the full voxels, and as
  many flips of random voxels.
* bodies: a PointNet on the vertices of ``datamodules.Articulated`` (which of four movements a pose
  is from): ways of each vertex, smooth ones, and the universal spectral attack, learned on 24
  training bodies and tried on 24 unseen ones. Lengths are in the data's units, in which the
  vertices deviate from the mean body by 1; a body is about 22 high.
* codes: a CNN on handwritten digits, attacked within a ball of codes of a VAE (16 dimensions).

Run: python -m benchmarks.shape_attacks [points] [voxels] [bodies] [codes]. Writes the section
"Attacks on shapes" of docs/results.md.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from benchmarks.loop import elsewhere
from callbacks import AdversarialTraining
from datamodules import Articulated, Digits, Shapes
from zoo import CNN, VAE, PointClassifier, VoxelClassifier
from zoo.attacks import (
    PGD,
    CarliniWagner,
    LatentPGD,
    PointDropping,
    PurifiedModel,
    SmoothPGD,
    UniversalSpectralAttack,
    VoxelFlips,
    remove_outliers,
)
from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.core.quiet import silence_libraries
from zoo.core.speed import keep_freed_memory
from zoo.functional.norm_balls import delta_norm

SECTION = "Attacks on shapes"
HEADER = ("what", "measured", "runs", "command")
SEEDS = 3
TESTED = 100  # samples that are attacked
Figures = dict[str, float]


def fit(model: Any, data: Any, epochs: int, *callbacks: L.Callback) -> Any:
    with elsewhere():
        trainer = L.Trainer(
            max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, data)
    return model.eval()


@torch.no_grad()
def accuracy(model: Any, x: Tensor, y: Tensor) -> float:
    return float((getattr(model, "logits", model)(x).argmax(1) == y).double().mean())


def points(seed: int) -> Figures:
    data = Shapes(num_points=256, seed=seed)
    x, y = (part[:TESTED] for part in data.evaluation_samples("test"))

    def network() -> PointClassifier:
        L.seed_everything(seed, verbose=False)
        return PointClassifier(data.num_classes, width=16, lr=2e-3, schedule="cosine")

    model = fit(network(), data, 10)
    found = {"points, PointNet: accuracy": accuracy(model, x, y)}
    filtered: Any = PurifiedModel(model, remove_outliers)
    found["… behind the filter of outliers"] = accuracy(filtered, x, y)
    ways = {eps: PGD(eps=eps, norm="point", bounds=None) for eps in (0.02, 0.05, 0.1)}
    for eps, attack in ways.items():
        attacked = attack(model, x, y)
        found[f"… PGD-40, each point up to {eps}"] = accuracy(model, attacked, y)
        found[f"… PGD-40, each point up to {eps}, behind the filter"] = accuracy(
            filtered, attacked, y
        )
    for eps in (0.05, 0.1, 0.25):
        found[f"… {eps:.0%} of the points dropped"] = accuracy(
            model, PointDropping(eps=eps)(model, x, y), y
        )
    for norm in ("l2", "linf", "point"):
        nearest = CarliniWagner(norm=norm, bounds=None, steps=150)
        attacked = nearest(model, x[:40], y[:40])
        broken = model.logits(attacked).argmax(1) != y[:40]
        name = f"… Carlini and Wagner, {norm}"
        found[f"{name}: accuracy"] = accuracy(model, attacked, y[:40])
        found[f"{name}: mean distance"] = float(delta_norm(attacked - x[:40], norm)[broken].mean())
    against = AdversarialTraining(
        PGD(eps=0.05, norm="point", bounds=None, steps=4, early_stop=False), eps_warmup=0.3
    )
    model = fit(network(), data, 10, against)
    found["… trained against PGD-4 up to 0.05: accuracy"] = accuracy(model, x, y)
    for eps, attack in ways.items():
        name = f"… trained against PGD-4 up to 0.05, PGD-40, each point up to {eps}"
        found[name] = accuracy(model, attack(model, x, y), y)
    return found


def voxels(seed: int) -> Figures:
    data = Shapes(voxel_resolution=24, seed=seed)
    x, y = (part[:TESTED] for part in data.evaluation_samples("test"))
    L.seed_everything(seed, verbose=False)
    model = VoxelClassifier((1, 24, 24, 24), data.num_classes, width=8, lr=2e-3, schedule="cosine")
    model = fit(model, data, 6)
    found = {"voxels, VoxNet: accuracy": accuracy(model, x, y)}
    for eps in (0.02, 0.05, 0.1):
        attacked = VoxelFlips(eps=eps)(model, x, y)
        found[f"… flips of {eps:.0%} of the full voxels"] = accuracy(model, attacked, y)
        # each voxel may be flipped, with as many flips to expect
        chance = eps * x.flatten(1).sum(1) / x[0].numel()
        flipped = torch.rand(x.shape) < chance.view(-1, 1, 1, 1, 1)
        name = f"… as many random flips, {eps:.0%}"
        found[name] = accuracy(model, torch.where(flipped, 1 - x, x), y)
    return found


def bodies(seed: int) -> Figures:
    data = Articulated(num_samples=300, seed=seed)
    L.seed_everything(seed, verbose=False)
    model = PointClassifier(4, width=8, lr=5e-3, schedule="cosine")
    model = fit(model, data, 10)
    x, y = data.evaluation_samples("test")
    found = {"bodies, PointNet: accuracy": accuracy(model, x, y)}
    right = model.logits(x).argmax(1) == y
    x, y = x[right][:24], y[right][:24]
    for eps in (0.5, 1.0, 2.0):
        for name, attack in (
            ("each vertex", PGD(eps=eps, norm="point", bounds=None)),
            ("smooth, each vertex", SmoothPGD(eps=eps, faces=data.faces)),
        ):
            found[f"… PGD-40, {name} up to {eps}: broken"] = 1 - accuracy(
                model, attack(model, x, y), y
            )
    learn, classes = data.evaluation_samples("train")
    right = model.logits(learn).argmax(1) == classes
    learn, classes = learn[right][:24], classes[right][:24]
    spectral = UniversalSpectralAttack(faces=data.faces).fit(model, learn, classes)
    found["… universal spectral attack, bodies that it was learned on: broken"] = 1 - accuracy(
        model, spectral.training_shapes, classes
    )
    attacked = spectral(model, x, y)
    found["… universal spectral attack, unseen bodies: broken"] = 1 - accuracy(model, attacked, y)
    found["… its mean shift of an eigenvalue, relative"] = float(spectral.shift.abs().mean())
    found["… the longest way of a vertex of unseen bodies"] = float(
        delta_norm(attacked - x, "point").mean()
    )
    return found


def codes(seed: int) -> Figures:
    data = Digits(seed=seed)
    L.seed_everything(seed, verbose=False)
    vae = fit(VAE((1, 8, 8), 16, lr=2e-3), data, 60)
    model = fit(CNN((1, 8, 8), 10, (16, 32), lr=5e-3), data, 20)
    x, y = data.evaluation_samples("test")
    found = {"codes, CNN on digits: accuracy": accuracy(model, x, y)}
    for eps in (0.5, 1.0, 2.0):
        attacked = LatentPGD(eps=eps, autoencoder=vae)(model, x, y)
        found[f"… codes moved by {eps:g}"] = accuracy(model, attacked, y)
        length = float((attacked - x).flatten(1).norm(dim=1).mean())
        found[f"… codes moved by {eps:g}: mean L2 of the images"] = length
        blind = PGD(eps=length, norm="l2")(model, x, y)
        found[f"… PGD on pixels with that L2, {eps:g}"] = accuracy(model, blind, y)
    return found


PARTS: dict[str, Callable[[int], Figures]] = {
    "points": points, "voxels": voxels, "bodies": bodies, "codes": codes,
}  # fmt: skip

if __name__ == "__main__":
    keep_freed_memory()
    silence_libraries()
    for part in sys.argv[1:] or PARTS:
        runs = []
        for seed in range(SEEDS):
            runs.append(PARTS[part](seed))
            print(seed, runs[-1], flush=True)
        for what in runs[0]:
            values = [run[what] for run in runs]
            number = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
            where = f"{SEEDS} seeds, {hardware()}, {date.today().isoformat()}"
            cells = [what, number, where, f"`python -m benchmarks.shape_attacks {part}`"]
            write_row(Path(PAGE), SECTION, HEADER, cells)
