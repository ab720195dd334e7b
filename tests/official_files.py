"""Small files in the formats that the official loaders of graph collections expect."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

PLANETOID_TEST = 30


def write_planetoid(root: Path, name: str = "cora", classes: int = 7, words: int = 12) -> None:
    """Write ``ind.NAME.*``: two training nodes per class, 500 validation and 30 test nodes."""
    folder = root / "Planetoid" / "Cora" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    train, known = 2 * classes, 2 * classes + 500
    count = known + PLANETOID_TEST
    labels = np.arange(count) % classes
    x = csr_matrix((rng.random((count, words)) < 0.3).astype(np.float32))
    y = np.eye(classes, dtype=np.int32)[labels]
    parts = {
        "x": x[:train], "y": y[:train], "allx": x[:known], "ally": y[:known],
        "tx": x[known:], "ty": y[known:],
        "graph": {i: rng.integers(count, size=3).tolist() for i in range(count)},
    }  # fmt: skip
    for part, content in parts.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickle.dumps(content))
    numbers = rng.permutation(np.arange(known, count))
    (folder / f"ind.{name}.test.index").write_text("\n".join(map(str, numbers)) + "\n")


def write_tudataset(root: Path, name: str = "MUTAG", graphs: int = 40, labels: bool = True) -> None:
    """Write ``NAME_*.txt``: rings of five nodes in two classes."""
    folder = root / "TUDataset" / name / "raw"
    folder.mkdir(parents=True)
    nodes = range(5 * graphs)
    ring = [(i, i - i % 5 + (i + 1) % 5) for i in nodes]
    edges = sorted(ring + [(j, i) for i, j in ring])
    files = {
        "A": [f"{i + 1}, {j + 1}" for i, j in edges],
        "graph_indicator": [i // 5 + 1 for i in nodes],
        "graph_labels": [1 if i % 2 else -1 for i in range(graphs)],
    }
    if labels:
        files["node_labels"] = [i % 3 for i in nodes]
    for part, lines in files.items():
        (folder / f"{name}_{part}.txt").write_text("\n".join(map(str, lines)) + "\n")
