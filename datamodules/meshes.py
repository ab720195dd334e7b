"""Meshes of any connectivity with the operators that networks on surfaces need."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.base import default_root
from datamodules.graph_sets import GraphLists
from datamodules.points import ROTATIONS, check_rotation
from zoo.errors import DataError
from zoo.functional.meshes import face_areas
from zoo.functional.spectral import MeshOperators, spectral_operators


class MeshDataModule(GraphLists):
    """Meshes in batches, PyG ``Batch``.

    A data set implements ``load``. Each mesh has pos float32 (V, 3), around its centre and with a
    total area of 1, face (3, F), y (1,) or (V,), and the operators of
    :mod:`zoo.functional.spectral`: mass (V,), eigenvalues (1, k), eigenvectors (V, k), grad_index
    (2, E) and grad (E, 2), float32, computed in float64.

    Properties that models ask for: ``num_classes``.

    Args:
        batch_size: training meshes per batch and process, default 8.
        eigenpairs: k, default 64.
        rotate: of all meshes, training and evaluation: ``none`` (default), ``upright``: about the
            third axis, or ``any``.
        rotate_training: of training meshes alone, default as ``rotate``.
        val_size: validation meshes cut from the training split: a count (≥ 1) or a fraction (< 1),
            default 0.1.
        seed: of everything random, default 0.
        root: folder of the data and of cached operators, default the environment variable
            ``ZOO_DATA``, else ``data``.

    Raises:
        ValueError: unknown rotations, no eigenfunctions.
        DataError: names the mesh that is no surface.
    """

    num_classes: int
    cached = False  # whether operators are kept on disk
    eval_batch = 8

    def __init__(
        self,
        batch_size: int = 8,
        eigenpairs: int = 64,
        rotate: str = "none",
        rotate_training: str | None = None,
        val_size: float = 0.1,
        seed: int = 0,
        root: str | None = None,
    ) -> None:
        super().__init__()
        check_rotation(rotate)
        check_rotation(rotate_training or rotate)
        if eigenpairs < 1:
            raise ValueError(f"eigenpairs must be at least 1, got {eigenpairs}")
        self.batch_size, self.eigenpairs = batch_size, eigenpairs
        self.rotate, self.rotate_training = rotate, rotate_training or rotate
        self.val_size, self.seed = val_size, seed
        self.root = Path(root or default_root())
        self._splits: dict[str, list[Data]] = {}

    # -- what a data set provides ---------------------------------------------------------------

    def load(self, train: bool) -> list[Data]:
        """The training or test split: meshes with pos, face and y, and perhaps ``name``, by which
        errors call them."""
        raise NotImplementedError(f"{type(self).__name__} has no load(train)")

    # -- splits ---------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        if self.cached:  # one process computes what the others read
            self.setup()

    def setup(self, stage: str | None = None) -> None:
        if stage in ("fit", "validate", None) and "train" not in self._splits:
            meshes = self._ready(True)
            held_out = self.val_size if self.val_size >= 1 else round(self.val_size * len(meshes))
            held_out = int(held_out)
            if held_out >= len(meshes):
                raise DataError(
                    f"val_size={self.val_size} leaves nothing of {len(meshes)} training meshes"
                )
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(meshes), generator=generator).tolist()
            self._splits["train"] = [meshes[i] for i in sorted(order[held_out:])]
            self._splits["val"] = [meshes[i] for i in sorted(order[:held_out])]
        if stage in ("test", "predict", None) and "test" not in self._splits:
            self._splits["test"] = self._ready(False)

    def _ready(self, train: bool) -> list[Data]:
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        draw = ROTATIONS[self.rotate]
        meshes = []
        for mesh in self.load(train):
            ready = self.ready(mesh)
            # the rotation under which it is evaluated
            turn = torch.eye(3) if draw is None else draw(1, generator)[0]
            if ready is not None:
                ready.turn = turn[None]
                meshes.append(ready)
        if not meshes:
            raise DataError(f"{self} has no meshes for {'training' if train else 'test'}")
        return meshes

    def ready(self, mesh: Data) -> Data | None:
        """A mesh with its operators; None where it is to be left out."""
        try:
            found = self._operators(mesh.pos, mesh.face.T)
        except ValueError as error:
            name = f"{mesh.name}: " if "name" in mesh else ""
            raise DataError(f"{name}{error}") from None
        pos = centered(mesh.pos.double(), mesh.face.T)
        return Data(pos=pos.float(), face=mesh.face, y=mesh.y, **found.data_attributes())

    def _operators(self, vertices: Tensor, faces: Tensor) -> MeshOperators:
        if not self.cached:
            return spectral_operators(vertices, faces, self.eigenpairs)
        return cached_operators(self.root / "operators", vertices, faces, self.eigenpairs)

    def split(self, name: str) -> list[Data]:
        """The meshes of ``train``, ``val`` or ``test``."""
        if name not in self._splits:
            self.setup("test" if name == "test" else "fit")
        return self._splits[name]

    # -- batches --------------------------------------------------------------------------------

    def prepare_training(self, batch: Any, generator: torch.Generator) -> Any:
        draw, count = ROTATIONS[self.rotate_training], len(batch.turn)
        turn = torch.eye(3).repeat(count, 1, 1) if draw is None else draw(count, generator)
        batch.turn = turn.to(batch.turn)
        return turned(batch)

    def prepare_evaluation(self, batch: Any, generator: torch.Generator) -> Any:
        return turned(batch)


def turned(batch: Any) -> Any:
    """A batch with each mesh turned as its ``turn`` says."""
    batch.pos = (batch.turn[batch.batch] @ batch.pos[:, :, None])[:, :, 0]
    return batch


def centered(vertices: Tensor, faces: Tensor) -> Tensor:
    """Vertices around the centre of the surface, scaled to a total area of 1."""
    areas = face_areas(vertices, faces)
    middles = vertices[faces].mean(1)
    center = (areas[:, None] * middles).sum(0) / areas.sum()
    return (vertices - center) / areas.sum().sqrt()


def cached_operators(folder: Path, vertices: Tensor, faces: Tensor, k: int) -> MeshOperators:
    """The operators of a mesh, read from ``folder`` if it has them, else computed and kept there.

    The file is named after what the mesh contains, so that a changed mesh has another.

    Raises:
        ValueError: see :func:`~zoo.functional.spectral.spectral_operators`.
        DataError: nothing can be written there.
    """
    content = hashlib.sha256(f"{k} {tuple(vertices.shape)}".encode())
    content.update(vertices.double().numpy().tobytes())
    content.update(faces.contiguous().numpy().tobytes())
    file = folder / f"{content.hexdigest()[:32]}.pt"
    if file.is_file():
        return MeshOperators(*torch.load(file, weights_only=True))
    found = spectral_operators(vertices, faces, k)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # half the size, and more digits than training sees
        torch.save([part.float() if part.is_floating_point() else part for part in found], partial)
        partial.replace(file)
    except OSError as error:
        raise DataError(f"cannot keep operators in {folder}: {error.strerror}") from error
    return found
