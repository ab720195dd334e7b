"""Classification of shapes by networks on surfaces, points and voxels; autoencoders of meshes.

* ``mcgill``: McGill's articulated shapes, nine classes with ten shapes each, five for training and
  five for testing, chosen by the seed. DiffusionNet on heat-kernel signatures and on coordinates,
  PointNet on 1,024 points, VoxNet on 32³ voxels, all in the orientation of the files. Target for
  the first: accuracy 0.90.
* ``sheets``: sheets with one of eight outlines, rolled in training; tested rolled, and folded,
  which does not occur in training. Target for DiffusionNet on heat-kernel signatures: accuracy
  0.98.
* ``horse`` and ``body``: a galloping horse, and a body with known joints. Variance of held-out
  shapes that the mesh VAE leaves unexplained, against PCA with as many dimensions (target: below
  PCA); relative stretch of edges along paths between very different shapes; for the body also the
  squared error halfway, from the pose with the means of both poses' joint angles. The horse's file
  contains 24 frames twice; every fourth of the 48 is held out, so that no held-out frame is trained
  on. The weight of the isometry term was chosen from 0, 1e4 and 1e6 on the held-out frames of one
  seed.

FOLDER contains a folder of meshes per class; FILE contains the frames. Writes the sections "Meshes"
and "Autoencoders of shapes" of docs/results.md.

Hardware: CPU. Run: python -m benchmarks.meshes mcgill FOLDER | sheets | horse FILE | body [SEEDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from benchmarks.common import captured_output, fit, mean_and_std, write_result
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
from zoo.cli.commands.reproduce import pluralize
from zoo.core.quiet import silence_libraries
from zoo.core.speed import keep_freed_memory
from zoo.functional.meshes import edge_length_distortion, sample_surface
from zoo.functional.paths import linear_path

MESH_HEADER = ("shapes and model", "accuracy", "target", "runs", "command")
AUTOENCODER_HEADER = ("shapes and metric", "result", "target", "runs", "command")

#: functions that create the data (from a seed) and the model (from the data), and the epochs
Contestant = tuple[Callable[[int], Any], Callable[[Any], Any], int]


# -- classifiers -----------------------------------------------------------------------------------


def compute_accuracies(contestant: Contestant, seeds: int) -> tuple[list[float], float]:
    """Return the test accuracy of each seed, and the seconds per seed."""
    make_data, make_model, epochs = contestant
    accuracies, start = [], time.perf_counter()
    for seed in range(seeds):
        L.seed_everything(seed, verbose=False)
        data = make_data(seed)
        data.setup()
        model = make_model(data)
        if seed == 0:  # excludes the first reading of files and computation of operators
            start = time.perf_counter()
        trainer = fit(model, data, epochs)
        with captured_output():
            accuracies.append(trainer.test(model, data, verbose=False)[0]["test/accuracy"])
    return accuracies, (time.perf_counter() - start) / seeds


def surface_network_factory(inputs: str, dropout: float = 0.2) -> Callable[[Any], Any]:
    """Return a function that creates a DiffusionNet on ``hks`` or ``xyz``."""
    return lambda data: MeshClassifier(
        data.num_classes,
        input_features=inputs,
        width=32,
        dropout=dropout,
        lr=3e-3,
        schedule="cosine",
    )


def make_point_network(data: Any) -> Any:
    """Create a PointNet."""
    return PointClassifier(data.num_classes, width=32, lr=2e-3, schedule="cosine")


def make_voxel_network(data: Any) -> Any:
    """Create a VoxNet."""
    return VoxelClassifier(data.input_shape, data.num_classes, width=32, lr=1e-3, schedule="cosine")


def write_accuracies(
    shapes: str, contestants: dict[str, Contestant], command: str, seeds: int, target: str
) -> None:
    """Train and test contestants, and write a row for each.

    Args:
        shapes: data set and split, the start of each row.
        contestants: data, model and epochs by the name of the model.
        command: command of the benchmark.
        seeds: number of seeds.
        target: target of the first contestant.
    """
    for index, (name, contestant) in enumerate(contestants.items()):
        accuracies, seconds = compute_accuracies(contestant, seeds)
        cells = [f"{shapes}: {name}", mean_and_std(accuracies), "–" if index else target]
        runs = f"{pluralize(seeds, 'seed')} of {contestant[2]} epochs, {seconds:.0f} s each"
        write_result("Meshes", MESH_HEADER, cells, runs, command)


def benchmark_mcgill(folder: str, seeds: int) -> None:
    common: dict[str, Any] = {"path": folder, "train_per_class": 5, "val_size": 0}

    def meshes(seed: int) -> MeshFolder:
        return MeshFolder(batch_size=2, seed=seed, **common)

    def point_clouds(seed: int, **options: Any) -> PointFolder:
        return PointFolder(
            num_points=1_024, stored_points=8_192, batch_size=15, seed=seed,
            augment=PointAugmentation(), **common, **options,
        )  # fmt: skip

    contestants: dict[str, Contestant] = {
        "DiffusionNet, heat-kernel signature": (meshes, surface_network_factory("hks"), 20),
        "DiffusionNet, coordinates": (meshes, surface_network_factory("xyz"), 20),
        "PointNet, 1,024 points": (point_clouds, make_point_network, 200),
        "VoxNet, 32³": (
            lambda seed: point_clouds(seed, voxel_resolution=32),
            make_voxel_network,
            100,
        ),
    }
    command = "python -m benchmarks.meshes mcgill FOLDER"
    write_accuracies("McGill, 5 training shapes per class", contestants, command, seeds, "≥ 0.90")


class SheetPoints(PointDataModule):
    """Point clouds sampled from the sheets of :class:`~datamodules.Isometric`."""

    def __init__(self, poses: str, seed: int) -> None:
        super().__init__(
            num_points=512, stored_points=1_024, rotate="any", val_size=0, batch_size=16, seed=seed
        )
        self.sheets = Isometric(test_poses=poses, seed=seed)
        self.class_names = self.sheets.class_names

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        sheets = self.sheets.load(train)
        points = [sample_surface(s.pos.float(), s.face.T, 1_024, generator) for s in sheets]
        return torch.stack(points), torch.cat([s.y for s in sheets])


def benchmark_sheets(seeds: int) -> None:
    for poses in ("folded", "rolled"):

        def meshes(seed: int, poses: str = poses) -> Isometric:
            return Isometric(test_poses=poses, seed=seed, val_size=0)

        def point_clouds(seed: int, poses: str = poses) -> SheetPoints:
            return SheetPoints(poses, seed)

        contestants: dict[str, Contestant] = {
            "DiffusionNet, heat-kernel signature": (
                meshes,
                surface_network_factory("hks", 0.0),
                20,
            ),
            "DiffusionNet, coordinates": (meshes, surface_network_factory("xyz", 0.0), 60),
            "PointNet, 512 points": (point_clouds, make_point_network, 60),
        }
        shapes = f"sheets, trained rolled, tested {poses}"
        command = "python -m benchmarks.meshes sheets"
        write_accuracies(shapes, contestants, command, seeds, "≥ 0.98")


# -- autoencoders ---------------------------------------------------------------------------------

PAIRS, BODY_EPOCHS, BODY_ISOMETRY = 5, 60, 5e5
HORSE_EPOCHS, HORSE_ISOMETRY = 150, 1e6
HORSE: dict[str, Any] = {"hidden_dims": (8, 16, 32, 64), "lr": 3e-3, "schedule": "cosine"}
STRAIGHT_VERTICES = "straight path of vertices"  # a path that does not depend on the model


def unexplained_variance(model: Any, x: Tensor) -> float:
    """Return the mean squared error of reconstructions; coordinates have variance 1."""
    with torch.no_grad():
        return float((model.reconstruct(x) - x).square().mean())


def fit_pca(data: Any, dims: int) -> PCA:
    """Return PCA with the given number of components, fitted to the training shapes."""
    model = PCA(data.input_shape, dims, solver="svd")
    fit(model, data, 1)
    return model.eval()


def most_different(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two shapes with the largest distance, (1, V, 3) each."""
    first, last = divmod(int(torch.cdist(x.flatten(1), x.flatten(1)).argmax()), len(x))
    return x[first, None], x[last, None]


def different_pairs(x: Tensor) -> list[tuple[int, int]]:
    """Return the index pairs of the shapes with the largest distances, each shape at most once."""
    distances = torch.cdist(x.flatten(1), x.flatten(1))
    pairs = []
    for _ in range(PAIRS):
        first, last = divmod(int(distances.argmax()), len(x))
        pairs.append((first, last))
        distances[[first, last]] = -1
        distances[:, [first, last]] = -1
    return pairs


def make_paths(model: Any, x0: Tensor, x1: Tensor, steps: int = 9) -> dict[str, Tensor]:
    """Return paths between two shapes by name, (steps, V, 3) each."""
    vertices = linear_path(x0.flatten(1), x1.flatten(1), steps).view(steps, -1, 3)
    with torch.no_grad():
        codes = model.interpolate(x0, x1, steps, "linear")[:, 0]
    isometric = model.interpolate(x0, x1, steps, "isometric")[:, 0]
    return {
        STRAIGHT_VERTICES: vertices,
        "straight path of codes": codes,
        "isometric path of codes": isometric,
    }


def write_metric(
    shapes: str, metric: str, result: str, target: str, runs: str, command: str
) -> None:
    """Write a row about an autoencoder."""
    cells = [f"{shapes}: {metric}", result, target]
    write_result("Autoencoders of shapes", AUTOENCODER_HEADER, cells, runs, command)


class PathMetrics:
    """Metrics of paths between shapes, by the name of the path.

    The stretch of edges is relative to their lengths in the two given shapes, which includes the
    error of their reconstructions, and relative to those in the two decoded shapes.
    """

    def __init__(self) -> None:
        self.stretch: dict[str, list[float]] = {}
        self.decoded_stretch: dict[str, list[float]] = {}
        self.middle_error: dict[str, list[float]] = {}

    def add(
        self, model: Any, x0: Tensor, x1: Tensor, kind: str, middle: Tensor | None = None
    ) -> None:
        """Add the paths between two shapes.

        Args:
            model: mesh VAE.
            x0: first shape, (1, V, 3).
            x1: last shape, (1, V, 3).
            kind: name of the model, a part of the names of its paths.
            middle: true shape halfway, (V, 3), if known.
        """
        for name, path in make_paths(model, x0, x1).items():
            label = name if name == STRAIGHT_VERTICES else f"{name}, {kind}"
            stretch = edge_length_distortion(path, x0[0], x1[0], model.edges)
            decoded_stretch = edge_length_distortion(path, path[0], path[-1], model.edges)
            self.stretch.setdefault(label, []).append(stretch)
            self.decoded_stretch.setdefault(label, []).append(decoded_stretch)
            if middle is not None:
                error = float((path[len(path) // 2] - middle).square().mean())
                self.middle_error.setdefault(label, []).append(error)

    def write(self, shapes: str, runs: str, command: str) -> None:
        """Write a row for each path."""
        for label, values in self.stretch.items():
            decoded = statistics.mean(self.decoded_stretch[label])
            stretch = statistics.mean(values)
            result = f"edge stretch {stretch:.4f} ({decoded:.4f} relative to decoded ends)"
            if label in self.middle_error:
                error = statistics.mean(self.middle_error[label])
                result += f"; squared error halfway {error:.4f}"
            write_metric(shapes, label, result, "–", runs, command)


def benchmark_horse(file: str, seeds: int, dims: tuple[int, ...] = (2, 4)) -> None:
    for latent_dim in dims:
        for weight in (HORSE_ISOMETRY, 0.0):
            _benchmark_horse(file, seeds, latent_dim, weight, with_paths=latent_dim == dims[0])


def _benchmark_horse(
    file: str, seeds: int, latent_dim: int, weight: float, with_paths: bool
) -> None:
    command = "python -m benchmarks.meshes horse FILE"
    variances, pca_variances, paths = [], [], PathMetrics()
    kind = f"isometry weight {weight:g}"
    start = time.perf_counter()
    for seed in range(seeds):
        L.seed_everything(seed, verbose=False)
        data = MeshSequence(file, up="y", val_size=0, batch_size=6, seed=seed)
        model = MeshVAE(
            data.input_shape, data.template, latent_dim, isometry_weight=weight, **HORSE
        )
        fit(model, data, HORSE_EPOCHS)
        x = data.split("test")[0]
        variances.append(unexplained_variance(model.eval(), x))
        pca_variances.append(unexplained_variance(fit_pca(data, latent_dim), x))
        paths.add(model, *most_different(x), kind)
    seconds = (time.perf_counter() - start) / seeds
    runs = f"{pluralize(seeds, 'seed')} of {HORSE_EPOCHS} epochs, {seconds:.0f} s each"
    write_metric(
        "horse, held-out frames", f"unexplained variance, {latent_dim} dimensions, {kind}",
        f"{mean_and_std(variances, 4)}; PCA {statistics.mean(pca_variances):.4f}",
        "below PCA" if weight else "–", runs, command,
    )  # fmt: skip
    if with_paths:
        paths.write(f"horse, two most different frames, {latent_dim} dimensions", runs, command)


def benchmark_body(seeds: int) -> None:
    command = "python -m benchmarks.meshes body"
    variances: dict[str, list[float]] = {}
    pca_variances, paths = [], PathMetrics()
    start = time.perf_counter()
    for seed in range(seeds):
        for weight in (0.0, BODY_ISOMETRY):
            L.seed_everything(seed, verbose=False)
            data = Articulated(seed=seed, val_size=0)
            model = MeshVAE(
                data.input_shape, data.template, 8, isometry_weight=weight, lr=2e-3,
                schedule="cosine",
            )  # fmt: skip
            fit(model, data, BODY_EPOCHS)
            x, _ = data.split("test")
            kind = f"isometry weight {weight:g}"
            variances.setdefault(kind, []).append(unexplained_variance(model.eval(), x))
            angles, _ = data.angles(False)
            for first, last in different_pairs(x):
                middle = data.normalize(pose_body((angles[first] + angles[last])[None] / 2))[0]
                paths.add(model, x[first, None], x[last, None], kind, middle)
        pca_variances.append(unexplained_variance(fit_pca(data, 8), x))
    seconds = (time.perf_counter() - start) / seeds / 2
    budget = f"{BODY_EPOCHS} epochs, {PAIRS} pairs each, {seconds:.0f} s each"
    runs = f"{pluralize(seeds, 'seed')} of {budget}"
    for kind, values in variances.items():
        write_metric(
            "body", f"unexplained variance, 8 dimensions, {kind}",
            f"{mean_and_std(values, 4)}; PCA {statistics.mean(pca_variances):.4f}", "below PCA",
            runs, command,
        )  # fmt: skip
    paths.write("body, most different poses", runs, command)


def main(arguments: list[str]) -> None:
    keep_freed_memory()
    silence_libraries()
    benchmarks: dict[str, Callable[..., None]] = {
        "mcgill": benchmark_mcgill, "sheets": benchmark_sheets, "horse": benchmark_horse,
        "body": benchmark_body,
    }  # fmt: skip
    if not arguments or arguments[0] not in benchmarks:
        sys.exit(__doc__)
    name, *rest = arguments
    path = [part for part in rest if not part.isdigit()]
    seeds = next((int(part) for part in rest if part.isdigit()), 3)
    benchmarks[name](*path, seeds)


if __name__ == "__main__":
    main(sys.argv[1:])
