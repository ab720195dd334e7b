"""How soon the geometric family is done.

1. GCN on Cora, whole graph in every step: the command line with validation, checkpoints, logging
   and progress bar against the plain loop of PyG's example (dense features, ``GCNConv`` with
   ``cached=True``, 16 hidden features, a forward pass on all splits after each step). Steps are
   taken from the difference of two trainings, 20 and 220 epochs, so that imports and the reading of
   files do not count.
2. The operators of a closed surface of 7,000 vertices with 64 eigenpairs, and reading them again.
3. The 20 nearest neighbours in 32 clouds of 1,024 points against scipy's cKDTree.

The first needs Cora in the folder that ZOO_DATA names. Run: python -m benchmarks.geometric [number
...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.loop import elsewhere
from benchmarks.timing import interleaved, record
from datamodules.base import default_root
from datamodules.meshes import cached_operators
from zoo.cli.main import main as command_line
from zoo.core.speed import keep_freed_memory
from zoo.functional.points import nearest_neighbors

MODULE = "benchmarks.geometric"
ROOT = str(Path(default_root()).absolute())
FEW, MANY = 20, 220  # epochs, of one step each


# -- 1. GCN on Cora --------------------------------------------------------------------------------


def ours(epochs: int) -> float:
    """Seconds of the command line."""
    start = time.perf_counter()
    with elsewhere():
        command_line(
            ["--model=gcn", "--data=planetoid", f"--data.root={ROOT}",
             f"--trainer.max_epochs={epochs}"]
        )  # fmt: skip
    return time.perf_counter() - start


class ExampleNet(nn.Module):
    """The network of PyG's examples/gcn.py."""

    def __init__(self, in_dim: int, hidden: int, classes: int) -> None:
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.conv1 = GCNConv(in_dim, hidden, cached=True)
        self.conv2 = GCNConv(hidden, classes, cached=True)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.conv1(F.dropout(x, 0.5, self.training), edge_index).relu()
        return self.conv2(F.dropout(x, 0.5, self.training), edge_index)


def example(epochs: int) -> float:
    """Seconds of the plain loop."""
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
            found = model(data.x, data.edge_index).argmax(-1)
        for mask in (data.train_mask, data.val_mask, data.test_mask):
            int((found[mask] == data.y[mask]).sum())
    return time.perf_counter() - start


def gcn(repeats: int = 5) -> None:
    def step_of(run: Any) -> float:
        few = run(FEW)
        return (run(MANY) - few) / (MANY - FEW)

    medians = interleaved(
        {"ours": lambda: step_of(ours), "example": lambda: step_of(example)}, repeats
    )
    ratio = medians["example"] / medians["ours"]
    times = " and ".join(f"{1e3 * medians[name]:.1f} ms ({name})" for name in medians)
    record(
        "GCN on Cora, whole graph: steps per second over PyG's example loop",
        f"{ratio:.2f}: a step takes {times}", "≥ 3", repeats, MODULE,
    )  # fmt: skip


# -- 2. operators ----------------------------------------------------------------------------------


def surface(count: int) -> tuple[Tensor, Tensor]:
    """A sphere with bumps, of ``count`` vertices spread evenly (Fibonacci), and its hull."""
    from scipy.spatial import ConvexHull

    number = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * number / count
    angle = torch.pi * (1 + 5**0.5) * number
    ring = (1 - z * z).sqrt()
    points = torch.stack([ring * angle.cos(), ring * angle.sin(), z], 1)
    hull = ConvexHull(points.numpy())
    faces = torch.from_numpy(hull.simplices).long()
    bumps = 1 + 0.2 * (3 * points).sin().prod(1, keepdim=True)
    return bumps * points, faces


def operators(repeats: int = 5) -> None:
    vertices, faces = surface(7_000)
    with tempfile.TemporaryDirectory() as folder:

        def compute() -> float:
            for file in Path(folder).glob("*.pt"):
                file.unlink()
            return again()

        def again() -> float:
            start = time.perf_counter()
            cached_operators(Path(folder), vertices, faces, 64)
            return time.perf_counter() - start

        medians = interleaved({"compute": compute, "read": again}, repeats)
    record(
        "operators of 7,000 vertices, 64 eigenpairs",
        f"{medians['compute']:.2f} s; {1e3 * medians['read']:.0f} ms when read again",
        "≤ 3 s", repeats, MODULE,
    )  # fmt: skip


# -- 3. neighbours ---------------------------------------------------------------------------------


def neighbors(repeats: int = 15) -> None:
    from scipy.spatial import cKDTree

    clouds = torch.rand(32, 1_024, 3, generator=torch.Generator().manual_seed(0))

    def dense() -> float:
        start = time.perf_counter()
        nearest_neighbors(clouds, clouds, 20)
        return time.perf_counter() - start

    def trees() -> float:
        start = time.perf_counter()
        for cloud in clouds.numpy():
            cKDTree(cloud).query(cloud, 20, workers=torch.get_num_threads())
        return time.perf_counter() - start

    medians = interleaved({"dense": dense, "cKDTree": trees}, repeats)
    ratio = medians["dense"] / medians["cKDTree"]
    record(
        "20 neighbours in 32 clouds of 1,024 points: time over scipy's cKDTree",
        f"{ratio:.2f}: {1e3 * medians['dense']:.0f} and {1e3 * medians['cKDTree']:.0f} ms",
        "≤ 2", repeats, MODULE,
    )  # fmt: skip


PARTS = {"1": gcn, "2": operators, "3": neighbors}


def main(arguments: list[str]) -> None:
    keep_freed_memory()
    for number in arguments or PARTS:
        PARTS[number]()


if __name__ == "__main__":
    main(sys.argv[1:])
