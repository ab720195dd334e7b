"""Speed of the geometric family.

1. GCN on Cora, full batch: the command line with validation, checkpoints, logging and progress bar,
   against the loop of PyG's example (dense features, ``GCNConv`` with ``cached=True``, 16 hidden
   features, a forward pass on all splits after each step). The time of a step is computed from the
   difference between 220 and 20 epochs, which excludes imports and reading files. Target: 3 times
   the steps per second of the example.
2. Operators of a closed mesh with 7,000 vertices and 64 eigenpairs: computed, and read from the
   cache. Target: 3 seconds.
3. The 20 nearest neighbors in 32 point clouds of 1,024 points, against scipy's cKDTree. Target: at
   most 2 times its time.

Part 1 needs Cora in the folder given by ZOO_DATA.

Hardware: CPU. Run: python -m benchmarks.geometric [PART ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import measure_interleaved, record_speed, run_parts, temporary_folder
from datamodules.base import default_root
from datamodules.meshes import cached_operators
from zoo.cli.main import main as command_line
from zoo.functional.points import nearest_neighbors

MODULE = "benchmarks.geometric"
ROOT = str(Path(default_root()).absolute())
SHORT, LONG = 20, 220  # epochs of one step each


# -- 1. GCN on Cora --------------------------------------------------------------------------------


def run_zoo(epochs: int) -> float:
    """Return the seconds that the command line takes."""
    start = time.perf_counter()
    with temporary_folder():
        command_line(
            ["--model=gcn", "--data=planetoid", f"--data.root={ROOT}",
             f"--trainer.max_epochs={epochs}"]
        )  # fmt: skip
    return time.perf_counter() - start


class ExampleNet(nn.Module):
    """The network of PyG's examples/gcn.py."""

    def __init__(self, num_features: int, hidden_dim: int, num_classes: int) -> None:
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.conv1 = GCNConv(num_features, hidden_dim, cached=True)
        self.conv2 = GCNConv(hidden_dim, num_classes, cached=True)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.conv1(F.dropout(x, 0.5, self.training), edge_index).relu()
        return self.conv2(F.dropout(x, 0.5, self.training), edge_index)


def run_example(epochs: int) -> float:
    """Return the seconds that the loop of PyG's example takes."""
    from torch_geometric.datasets import Planetoid
    from torch_geometric.transforms import NormalizeFeatures

    start = time.perf_counter()
    data = Planetoid(f"{ROOT}/Planetoid", "Cora", transform=NormalizeFeatures())[0]
    model = ExampleNet(data.num_features, 16, 7)
    optimizer = torch.optim.Adam(
        [
            {"params": model.conv1.parameters(), "weight_decay": 5e-4},
            {"params": model.conv2.parameters(), "weight_decay": 0},
        ],
        lr=0.01,
    )
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        F.cross_entropy(out[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            predicted = model(data.x, data.edge_index).argmax(-1)
        for mask in (data.train_mask, data.val_mask, data.test_mask):
            int((predicted[mask] == data.y[mask]).sum())
    return time.perf_counter() - start


def benchmark_gcn(repeats: int = 5) -> None:
    def time_step(run: Callable[[int], float]) -> float:
        short = run(SHORT)
        return 1e3 * (run(LONG) - short) / (LONG - SHORT)

    times = measure_interleaved(
        {"zoo": lambda: time_step(run_zoo), "example": lambda: time_step(run_example)}, repeats
    )
    record_speed(
        "GCN on Cora, full batch, time per step: PyG's example / zoo",
        f"{times['example'] / times['zoo']:.2f} ({times['example']:.1f} / {times['zoo']:.1f} ms)",
        "≥ 3", repeats, MODULE,
    )  # fmt: skip


# -- 2. operators ----------------------------------------------------------------------------------


def make_bumpy_sphere(count: int) -> tuple[Tensor, Tensor]:
    """Return the vertices (count, 3) and the faces (F, 3) of a sphere with bumps.

    The vertices are evenly distributed, on a Fibonacci lattice.
    """
    from scipy.spatial import ConvexHull

    index = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * index / count
    angle = torch.pi * (1 + 5**0.5) * index
    radius = (1 - z * z).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)
    hull = ConvexHull(points.numpy())
    faces = torch.from_numpy(hull.simplices).long()
    bumps = 1 + 0.2 * (3 * points).sin().prod(1, keepdim=True)
    return bumps * points, faces


def benchmark_operators(repeats: int = 5) -> None:
    vertices, faces = make_bumpy_sphere(7_000)
    with tempfile.TemporaryDirectory() as folder:

        def compute() -> float:
            for file in Path(folder).glob("*.pt"):
                file.unlink()
            return read()

        def read() -> float:
            start = time.perf_counter()
            cached_operators(Path(folder), vertices, faces, 64)
            return time.perf_counter() - start

        times = measure_interleaved({"compute": compute, "read": read}, repeats)
    record_speed(
        "operators of a mesh with 7,000 vertices, 64 eigenpairs",
        f"{times['compute']:.2f} s; {1e3 * times['read']:.0f} ms from the cache",
        "≤ 3 s", repeats, MODULE,
    )  # fmt: skip


# -- 3. nearest neighbors --------------------------------------------------------------------------


def benchmark_neighbors(repeats: int = 15) -> None:
    from scipy.spatial import cKDTree

    clouds = torch.rand(32, 1_024, 3, generator=torch.Generator().manual_seed(0))

    def zoo() -> float:
        start = time.perf_counter()
        nearest_neighbors(clouds, clouds, 20)
        return time.perf_counter() - start

    def trees() -> float:  # scipy's, on all threads that torch uses
        start = time.perf_counter()
        for cloud in clouds.numpy():
            cKDTree(cloud).query(cloud, 20, workers=torch.get_num_threads())
        return time.perf_counter() - start

    times = measure_interleaved({"zoo": zoo, "cKDTree": trees}, repeats)
    record_speed(
        "20 nearest neighbors in 32 point clouds of 1,024 points, time: zoo / scipy's cKDTree",
        f"{times['zoo'] / times['cKDTree']:.2f} "
        f"({1e3 * times['zoo']:.0f} / {1e3 * times['cKDTree']:.0f} ms)",
        "≤ 2", repeats, MODULE,
    )  # fmt: skip


PARTS = {"1": benchmark_gcn, "2": benchmark_operators, "3": benchmark_neighbors}


def main(parts: list[str]) -> None:
    run_parts(PARTS, parts)


if __name__ == "__main__":
    main(sys.argv[1:])
