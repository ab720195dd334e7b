"""Attacks on point clouds, voxel grids and bodies, and through a decoder, on generated data.

* ``points``: a PointNet on :class:`datamodules.Shapes`, whose point clouds have radius 1. Accuracy
  under PGD that moves each point by up to ε, without and with outlier removal, which the attack
  does not see; with points dropped; under Carlini and Wagner's attack, with the mean distance that
  it needs; and after adversarial training with PGD.
* ``voxels``: a VoxNet on the same shapes in grids of 24³. Accuracy after flips of a fraction of the
  occupied voxels, and after the same number of random flips.
* ``bodies``: a PointNet on the vertices of :class:`datamodules.Articulated`, which classifies four
  movements. Success rate of PGD that moves each vertex by up to ε, freely or smoothly, and of the
  universal spectral attack, learned on 24 training bodies and tested on 24 unseen ones. Distances
  are in units of the data, in which the vertices have a standard deviation of 1 from the mean body;
  a body is about 22 units tall.
* ``codes``: a CNN on handwritten digits. Accuracy under attacks within a ball of codes of a VAE
  with 16 dimensions, and under PGD on pixels at the same distance.

Writes the section "Attacks on shapes" of docs/results.md.

Hardware: CPU. Run: python -m benchmarks.shape_attacks [points] [voxels] [bodies] [codes]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from benchmarks.common import fit, mean_and_std, write_result
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
from zoo.core.quiet import silence_libraries
from zoo.core.speed import keep_freed_memory
from zoo.functional.norm_balls import delta_norm

SECTION = "Attacks on shapes"
HEADER = ("metric", "result", "runs", "command")
SEEDS = 3
TESTED = 100  # samples that are attacked
Metrics = dict[str, float]


def train(model: Any, data: Any, epochs: int, *callbacks: L.Callback) -> Any:
    """Train a model and return it in evaluation mode."""
    fit(model, data, epochs, *callbacks)
    return model.eval()


@torch.no_grad()
def accuracy(model: Any, x: Tensor, y: Tensor) -> float:
    return float((getattr(model, "logits", model)(x).argmax(1) == y).double().mean())


def attack_points(seed: int) -> Metrics:
    """Return the metrics of part ``points`` for one seed."""
    data = Shapes(num_points=256, seed=seed)
    x, y = (part[:TESTED] for part in data.evaluation_samples("test"))

    def make_network() -> PointClassifier:
        L.seed_everything(seed, verbose=False)
        return PointClassifier(data.num_classes, width=16, lr=2e-3, schedule="cosine")

    model = train(make_network(), data, 10)
    found = {"point clouds, PointNet: accuracy": accuracy(model, x, y)}
    filtered: Any = PurifiedModel(model, remove_outliers)
    found["… with outlier removal"] = accuracy(filtered, x, y)
    attacks = {eps: PGD(eps=eps, norm="point", bounds=None) for eps in (0.02, 0.05, 0.1)}
    for eps, attack in attacks.items():
        attacked = attack(model, x, y)
        found[f"… PGD-40, each point moved by up to {eps}"] = accuracy(model, attacked, y)
        found[f"… PGD-40, each point moved by up to {eps}, with outlier removal"] = accuracy(
            filtered, attacked, y
        )
    for eps in (0.05, 0.1, 0.25):
        found[f"… {eps:.0%} of the points dropped"] = accuracy(
            model, PointDropping(eps=eps)(model, x, y), y
        )
    for norm in ("l2", "linf", "point"):
        nearest = CarliniWagner(norm=norm, bounds=None, steps=150)
        attacked = nearest(model, x[:40], y[:40])
        fooled = model.logits(attacked).argmax(1) != y[:40]
        name = f"… Carlini and Wagner, {norm}"
        found[f"{name}: accuracy"] = accuracy(model, attacked, y[:40])
        found[f"{name}: mean distance"] = float(delta_norm(attacked - x[:40], norm)[fooled].mean())
    defense = AdversarialTraining(
        PGD(eps=0.05, norm="point", bounds=None, steps=4, early_stop=False), eps_warmup=0.3
    )
    model = train(make_network(), data, 10, defense)
    found["… after training with PGD-4 at ε = 0.05"] = accuracy(model, x, y)
    for eps, attack in attacks.items():
        name = f"… after training with PGD-4 at ε = 0.05, PGD-40, each point moved by up to {eps}"
        found[name] = accuracy(model, attack(model, x, y), y)
    return found


def attack_voxels(seed: int) -> Metrics:
    """Return the metrics of part ``voxels`` for one seed."""
    data = Shapes(voxel_resolution=24, seed=seed)
    x, y = (part[:TESTED] for part in data.evaluation_samples("test"))
    L.seed_everything(seed, verbose=False)
    model = VoxelClassifier((1, 24, 24, 24), data.num_classes, width=8, lr=2e-3, schedule="cosine")
    model = train(model, data, 6)
    found = {"voxel grids, VoxNet: accuracy": accuracy(model, x, y)}
    for eps in (0.02, 0.05, 0.1):
        attacked = VoxelFlips(eps=eps)(model, x, y)
        found[f"… flips of {eps:.0%} of the occupied voxels"] = accuracy(model, attacked, y)
        # each voxel is flipped independently, with the same expected number of flips
        chance = eps * x.flatten(1).sum(1) / x[0].numel()
        flipped = torch.rand(x.shape) < chance.view(-1, 1, 1, 1, 1)
        name = f"… random flips of the same number, {eps:.0%}"
        found[name] = accuracy(model, torch.where(flipped, 1 - x, x), y)
    return found


def attack_bodies(seed: int) -> Metrics:
    """Return the metrics of part ``bodies`` for one seed."""
    data = Articulated(num_samples=300, seed=seed)
    L.seed_everything(seed, verbose=False)
    model = PointClassifier(4, width=8, lr=5e-3, schedule="cosine")
    model = train(model, data, 10)
    x, y = data.evaluation_samples("test")
    found = {"bodies, PointNet: accuracy": accuracy(model, x, y)}
    correct = model.logits(x).argmax(1) == y
    x, y = x[correct][:24], y[correct][:24]
    for eps in (0.5, 1.0, 2.0):
        for name, attack in (
            ("each vertex", PGD(eps=eps, norm="point", bounds=None)),
            ("smooth, each vertex", SmoothPGD(eps=eps, faces=data.faces)),
        ):
            found[f"… PGD-40, {name} moved by up to {eps}: success rate"] = 1 - accuracy(
                model, attack(model, x, y), y
            )
    train_x, train_y = data.evaluation_samples("train")
    correct = model.logits(train_x).argmax(1) == train_y
    train_x, train_y = train_x[correct][:24], train_y[correct][:24]
    spectral = UniversalSpectralAttack(faces=data.faces).fit(model, train_x, train_y)
    found["… universal spectral attack, bodies it was learned on: success rate"] = 1 - accuracy(
        model, spectral.training_shapes, train_y
    )
    attacked = spectral(model, x, y)
    found["… universal spectral attack, unseen bodies: success rate"] = 1 - accuracy(
        model, attacked, y
    )
    found["… universal spectral attack, mean relative shift of eigenvalues"] = float(
        spectral.shift.abs().mean()
    )
    found["… universal spectral attack, largest displacement of a vertex of unseen bodies"] = float(
        delta_norm(attacked - x, "point").mean()
    )
    return found


def attack_codes(seed: int) -> Metrics:
    """Return the metrics of part ``codes`` for one seed."""
    data = Digits(seed=seed)
    L.seed_everything(seed, verbose=False)
    vae = train(VAE((1, 8, 8), 16, lr=2e-3), data, 60)
    model = train(CNN((1, 8, 8), 10, (16, 32), lr=5e-3), data, 20)
    x, y = data.evaluation_samples("test")
    found = {"codes, CNN on digits: accuracy": accuracy(model, x, y)}
    for eps in (0.5, 1.0, 2.0):
        attacked = LatentPGD(eps=eps, autoencoder=vae)(model, x, y)
        found[f"… codes moved by up to {eps:g}"] = accuracy(model, attacked, y)
        distance = float((attacked - x).flatten(1).norm(dim=1).mean())
        found[f"… codes moved by up to {eps:g}: mean L2 distance of images"] = distance
        attacked = PGD(eps=distance, norm="l2")(model, x, y)
        found[f"… PGD on pixels at that L2 distance, {eps:g}"] = accuracy(model, attacked, y)
    return found


PARTS: dict[str, Callable[[int], Metrics]] = {
    "points": attack_points, "voxels": attack_voxels, "bodies": attack_bodies,
    "codes": attack_codes,
}  # fmt: skip


def main(parts: list[str]) -> None:
    keep_freed_memory()
    silence_libraries()
    for part in parts or PARTS:
        runs = []
        for seed in range(SEEDS):
            runs.append(PARTS[part](seed))
            print(seed, runs[-1], flush=True)
        for metric in runs[0]:
            cells = [metric, mean_and_std([run[metric] for run in runs])]
            command = f"python -m benchmarks.shape_attacks {part}"
            write_result(SECTION, HEADER, cells, f"{SEEDS} seeds", command)


if __name__ == "__main__":
    main(sys.argv[1:])
