"""What a network that sees surfaces from inside is worth, and what autoencoders of shapes are.

1. McGill's articulated shapes, nine classes of ten: trained on five of each and tested on the other
   five, drawn by the seed. DiffusionNet on heat-kernel signatures and on coordinates, PointNet on
   1,024 points, VoxNet on 32³ voxels, all in the orientation of the files.
2. Sheets of eight outlines, trained rolled: tested rolled, and folded as training never was.
3. A galloping horse and a body with known joints: what PCA and the mesh VAE leave of the variance
   at equal latent size, and ways between two far shapes: how much edges stretch, and for the body
   how far the middle is from the true pose, whose angles are halfway. The horse's file has 48
   frames, 24 that come twice; every fourth is held out, so that none of those is trained on. The
   weight of the isometry term was chosen among 0, 1e4 and 1e6 by the held-out frames of one seed.

The first needs a folder of class folders, the third a file of frames. Run:
python -m benchmarks.meshes mcgill FOLDER | sheets | horse FILE | body, and perhaps the number of
seeds, default 3.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from benchmarks.loop import elsewhere
from datamodules import (
    Articulated,
    Isometric,
    MeshFolder,
    MeshSequence,
    PointAugmentation,
    PointDataModule,
    PointFolder,
)
from datamodules.articulated_body import pose_body
from zoo import PCA, MeshClassifier, MeshVAE, PointClassifier, VoxelClassifier
from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.core.quiet import silence_libraries
from zoo.core.speed import keep_freed_memory
from zoo.functional.meshes import edge_length_distortion, sample_surface
from zoo.functional.paths import linear_path

Contestant = tuple[Callable[[int], Any], Callable[[Any], Any], int]  # data, model, epochs


def fit(model: Any, data: Any, epochs: int) -> L.Trainer:
    """Trains without validation and without output."""
    with elsewhere():
        trainer = L.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(model, data)
    return trainer


def accuracies(contestant: Contestant, seeds: int) -> tuple[list[float], float]:
    """Test accuracy of each seed, and the seconds of one training."""
    make_data, make_model, epochs = contestant
    found, start = [], time.perf_counter()
    for seed in range(seeds):
        L.seed_everything(seed, verbose=False)
        data = make_data(seed)
        data.setup()
        model = make_model(data)
        if seed == 0:  # reading files and computing operators is another matter
            start = time.perf_counter()
        trainer = fit(model, data, epochs)
        with elsewhere():
            found.append(trainer.test(model, data, verbose=False)[0]["test/accuracy"])
    return found, (time.perf_counter() - start) / seeds


def spread(values: list[float], digits: int = 3) -> str:
    """Mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def surface_net(inputs: str, dropout: float = 0.2) -> Callable[[Any], Any]:
    return lambda data: MeshClassifier(
        data.num_classes,
        input_features=inputs,
        width=32,
        dropout=dropout,
        lr=3e-3,
        schedule="cosine",
    )


def point_net(data: Any) -> Any:
    return PointClassifier(data.num_classes, width=32, lr=2e-3, schedule="cosine")


def voxel_net(data: Any) -> Any:
    return VoxelClassifier(data.input_shape, data.num_classes, width=32, lr=1e-3, schedule="cosine")


def write_table(
    section: str, what: str, contestants: dict[str, Contestant], command: str, seeds: int,
    target: str,
) -> None:  # fmt: skip
    """A row for each contestant; the target is that of the first."""
    for number, (name, contestant) in enumerate(contestants.items()):
        found, seconds = accuracies(contestant, seeds)
        where = (
            f"{seeds} seeds of {contestant[2]} epochs, {seconds:.0f} s each, {hardware()}, "
            f"{date.today().isoformat()}"
        )
        row = [
            f"{what}: {name}", spread(found), target if number == 0 else "–", where, f"`{command}`",
        ]  # fmt: skip
        header = ("shapes and model", "accuracy", "target", "runs", "command")
        write_row(Path(PAGE), section, header, row)
        print(*row, sep=" | ", flush=True)


# -- 1. McGill -------------------------------------------------------------------------------------


def mcgill(folder: str, seeds: int) -> None:
    common: dict[str, Any] = {"path": folder, "train_per_class": 5, "val_size": 0}

    def meshes(seed: int) -> MeshFolder:
        return MeshFolder(batch_size=2, seed=seed, **common)

    def clouds(seed: int, **options: Any) -> PointFolder:
        return PointFolder(
            num_points=1_024, stored_points=8_192, batch_size=15, seed=seed,
            augment=PointAugmentation(), **common, **options,
        )  # fmt: skip

    write_table(
        "Meshes", "McGill, 5 of each class for training",
        {
            "DiffusionNet, heat-kernel signature": (meshes, surface_net("hks"), 20),
            "DiffusionNet, coordinates": (meshes, surface_net("xyz"), 20),
            "PointNet, 1,024 points": (clouds, point_net, 200),
            "VoxNet, 32³": (lambda seed: clouds(seed, voxel_resolution=32), voxel_net, 100),
        },
        "python -m benchmarks.meshes mcgill FOLDER", seeds, "≥ 0.90",
    )  # fmt: skip


# -- 2. sheets -------------------------------------------------------------------------------------


class SheetPoints(PointDataModule):
    """Points on the sheets of :class:`~datamodules.Isometric`."""

    def __init__(self, poses: str, seed: int) -> None:
        super().__init__(
            num_points=512, stored_points=1_024, rotate="any", val_size=0, batch_size=16, seed=seed
        )
        self.sheets = Isometric(test_poses=poses, seed=seed)
        self.class_names = self.sheets.class_names

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(self.seed)
        sheets = self.sheets.load(train)
        points = [sample_surface(s.pos.float(), s.face.T, 1_024, source) for s in sheets]
        return torch.stack(points), torch.cat([s.y for s in sheets])


def sheets(seeds: int) -> None:
    for poses in ("folded", "rolled"):

        def data(seed: int, poses: str = poses) -> Isometric:
            return Isometric(test_poses=poses, seed=seed, val_size=0)

        def points(seed: int, poses: str = poses) -> SheetPoints:
            return SheetPoints(poses, seed)

        write_table(
            "Meshes", f"sheets, trained rolled, tested {poses}",
            {
                "DiffusionNet, heat-kernel signature": (data, surface_net("hks", 0.0), 20),
                "DiffusionNet, coordinates": (data, surface_net("xyz", 0.0), 60),
                "PointNet, 512 points": (points, point_net, 60),
            },
            "python -m benchmarks.meshes sheets", seeds, "≥ 0.98",
        )  # fmt: skip


# -- 3. autoencoders -------------------------------------------------------------------------------


def left_over(model: Any, x: Tensor) -> float:
    with torch.no_grad():
        return float((model.reconstruct(x) - x).square().mean())


def components(data: Any, dims: int) -> PCA:
    model = PCA(data.input_shape, dims, solver="svd")
    fit(model, data, 1)
    return model.eval()


def far_apart(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two shapes that differ most, (1, V, 3) each."""
    first, last = divmod(int(torch.cdist(x.flatten(1), x.flatten(1)).argmax()), len(x))
    return x[first, None], x[last, None]


def ways(model: Any, x0: Tensor, x1: Tensor, steps: int = 9) -> dict[str, Tensor]:
    """Ways between two shapes, (steps, V, 3) each."""
    straight = linear_path(x0.flatten(1), x1.flatten(1), steps).view(steps, -1, 3)
    with torch.no_grad():
        codes = model.interpolate(x0, x1, steps, "linear")[:, 0]
    isometric = model.interpolate(x0, x1, steps, "isometric")[:, 0]
    return {"vertices straight": straight, "codes straight": codes, "codes isometric": isometric}


HEADER = ("shapes and figure", "measured", "target", "runs", "command")


def note(shapes: str, what: str, measured: str, target: str, runs: str, command: str) -> None:
    where = f"{runs}, {hardware()}, {date.today().isoformat()}"
    row = [f"{shapes}: {what}", measured, target, where, f"`{command}`"]
    write_row(Path(PAGE), "Autoencoders of shapes", HEADER, row)
    print(*row, sep=" | ", flush=True)


class Ways:
    """What is measured on ways between shapes, by the name of the way.

    Stretch of edges twice: by the lengths that the shapes at both ends have, in which the error of
    their reconstruction counts too, and by those of what is decoded at both ends.
    """

    def __init__(self) -> None:
        self.by_shapes: dict[str, list[float]] = {}
        self.by_ends: dict[str, list[float]] = {}
        self.off: dict[str, list[float]] = {}

    def add(
        self, model: Any, x0: Tensor, x1: Tensor, kind: str, middle: Tensor | None = None
    ) -> None:
        """Takes the ways between two shapes; ``middle`` is the true shape halfway."""
        for name, way in ways(model, x0, x1).items():
            label = name if name == "vertices straight" else f"{name}, {kind}"
            values = self.by_shapes.setdefault(label, [])
            values.append(edge_length_distortion(way, x0[0], x1[0], model.edges))
            self.by_ends.setdefault(label, []).append(
                edge_length_distortion(way, way[0], way[-1], model.edges)
            )
            if middle is not None:
                apart = float((way[len(way) // 2] - middle).square().mean())
                self.off.setdefault(label, []).append(apart)

    def write(self, shapes: str, runs: str, command: str) -> None:
        """A row for each way."""
        for label, values in self.by_shapes.items():
            own = statistics.mean(self.by_ends[label])
            text = f"stretch of edges {statistics.mean(values):.4f}, by decoded ends {own:.4f}"
            if label in self.off:
                text += f"; {statistics.mean(self.off[label]):.4f} off the true pose halfway"
            note(shapes, label, text, "–", runs, command)


def horse(file: str, seeds: int, sizes: tuple[int, ...] = (2, 4)) -> None:
    command = "python -m benchmarks.meshes horse FILE"
    for dims in sizes:
        for term in (HORSE_ISOMETRY, 0.0):
            rests, found, least = [], Ways(), 0.0
            start = time.perf_counter()
            for seed in range(seeds):
                L.seed_everything(seed, verbose=False)
                data = MeshSequence(file, up="y", val_size=0, batch_size=6, seed=seed)
                model = MeshVAE(
                    data.input_shape, data.template, dims, isometry_weight=term, **HORSE
                )
                fit(model, data, HORSE_EPOCHS)
                x = data.split("test")[0]
                rests.append(left_over(model.eval(), x))
                least = left_over(components(data, dims), x)
                found.add(model, *far_apart(x), f"isometry {term:g}")
            seconds = (time.perf_counter() - start) / seeds
            runs = f"{seeds} seeds of {HORSE_EPOCHS} epochs, {seconds:.0f} s each"
            note("horse, held-out frames",
                 f"share of the variance left, {dims} dimensions, isometry {term:g}",
                 f"{spread(rests, 4)}; PCA {least:.4f}", "below PCA" if term else "–", runs,
                 command)  # fmt: skip
            if dims == sizes[0]:
                found.write(f"horse, two far frames, {dims} dimensions", runs, command)


def bodies(seeds: int) -> None:
    command = "python -m benchmarks.meshes body"
    rests, found, least = dict[str, list[float]](), Ways(), 0.0
    start = time.perf_counter()
    for seed in range(seeds):
        for term in (0.0, BODY_ISOMETRY):
            L.seed_everything(seed, verbose=False)
            data = Articulated(seed=seed, val_size=0)
            model = MeshVAE(
                data.input_shape, data.template, 8, isometry_weight=term, lr=2e-3, schedule="cosine"
            )
            fit(model, data, BODY_EPOCHS)
            x, _ = data.split("test")
            kind = f"isometry {term:g}"
            rests.setdefault(kind, []).append(left_over(model.eval(), x))
            angles, _ = data.angles(False)
            for first, last in far_pairs(x):
                middle = data.normalize(pose_body((angles[first] + angles[last])[None] / 2))[0]
                found.add(model, x[first, None], x[last, None], kind, middle)
        least = left_over(components(data, 8), x)
    seconds = (time.perf_counter() - start) / seeds / 2
    runs = f"{seeds} seeds of {BODY_EPOCHS} epochs, {PAIRS} pairs each, {seconds:.0f} s each"
    for kind, values in rests.items():
        note("body", f"share of the variance left, 8 dimensions, {kind}",
             f"{spread(values, 4)}; PCA {least:.4f}", "below PCA", runs, command)  # fmt: skip
    found.write("body, far poses", runs, command)


def far_pairs(x: Tensor) -> list[tuple[int, int]]:
    """Pairs of shapes that differ most, no shape twice."""
    distances = torch.cdist(x.flatten(1), x.flatten(1))
    found = []
    for _ in range(PAIRS):
        first, last = divmod(int(distances.argmax()), len(x))
        found.append((first, last))
        distances[[first, last]] = -1
        distances[:, [first, last]] = -1
    return found


PAIRS, BODY_EPOCHS, BODY_ISOMETRY = 5, 60, 5e5
HORSE_EPOCHS, HORSE_ISOMETRY = 150, 1e6
HORSE: dict[str, Any] = {
    "hidden_dims": (8, 16, 32, 64), "lr": 3e-3, "schedule": "cosine",
}  # fmt: skip


def main(arguments: list[str]) -> None:
    keep_freed_memory()
    silence_libraries()
    name, *rest = arguments
    path = [part for part in rest if not part.isdigit()]
    seeds = next((int(part) for part in rest if part.isdigit()), 3)
    {"mcgill": mcgill, "sheets": sheets, "horse": horse, "body": bodies}[name](*path, seeds)  # type: ignore[operator]


if __name__ == "__main__":
    main(sys.argv[1:])
