"""Base class of data modules for meshes with spectral operators, and the cache of the operators."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.base import default_root, hold_out
from datamodules.class_weights import ClassWeights, Weighting
from datamodules.graph_lists import GraphListDataModule
from datamodules.point_clouds import check_rotations, sample_rotations
from zoo.errors import DataError, InputError, check_at_least, check_count_or_fraction, writing
from zoo.functional.meshes import face_areas
from zoo.functional.spectral import MeshOperators, spectral_operators


class MeshDataModule(ClassWeights, GraphListDataModule):
    """Base class of data modules for meshes of different connectivity, with spectral operators.

    A subclass implements ``load`` and has ``class_names``. Batches are PyG ``Batch``. Each mesh has
    pos float32 (V, 3), centered and scaled to a surface area of 1, face (3, F), y (1,) or (V,), and
    the operators of :mod:`zoo.functional.spectral`: mass (V,), eigenvalues (1, k), eigenvectors
    (V, k), grad_index (2, E) and grad (E, 2), computed in float64 and stored in float32.

    Properties for models: ``num_classes``; for figures: ``class_names``.

    Args:
        batch_size: training meshes per batch and process, default 8.
        eigenpairs: number of eigenpairs of the Laplacian, k, default 64.
        rotate: random rotation of each mesh: ``none`` (default), ``upright``: about the third axis,
            or ``any``. Evaluation rotates a mesh in the same way every time.
        rotate_training: random rotation of the training meshes; default ``rotate``.
        val_size: validation meshes taken from the training split: a count (≥ 1) or a fraction
            (< 1), default 0.1.
        seed: random seed of generated meshes, splits, rotations and batches, default 0.
        root: folder of the data and of the cached operators, default the environment variable
            ``ZOO_DATA``, else ``data``.
        class_weights: weights of the classes in a classifier's loss: ``balanced``, or weights by
            class name; default none.

    Raises:
        InputError: an unknown rotation, or a number out of range.
        DataError: a mesh is not a manifold surface; the message names it.
    """

    #: names of the shape or part classes, by index
    class_names: list[str]
    cache_operators = False  # whether the operators are kept on disk
    eval_batch_size = 8

    def __init__(
        self,
        batch_size: int = 8,
        eigenpairs: int = 64,
        rotate: str = "none",
        rotate_training: str | None = None,
        val_size: float = 0.1,
        seed: int = 0,
        root: str | None = None,
        class_weights: Weighting = None,
    ) -> None:
        super().__init__()
        self.weight_classes(class_weights)
        check_rotations(rotate, rotate_training)
        check_at_least(1, batch_size=batch_size, eigenpairs=eigenpairs)
        check_at_least(0, seed=seed)
        check_count_or_fraction(val_size=val_size)
        self.batch_size, self.eigenpairs = batch_size, eigenpairs
        self.rotate, self.rotate_training = rotate, rotate_training or rotate
        self.val_size, self.seed = val_size, seed
        self.root = Path(root or default_root())
        self._splits: dict[str, list[Data]] = {}

    # -- to be implemented by a subclass --------------------------------------------------------

    def load(self, train: bool) -> list[Data]:
        """Return the training or test split: meshes with pos, face, y and, for error messages, an
        optional ``name``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load(train)")

    @property
    def num_classes(self) -> int:
        """Number of shape or part classes."""
        return len(self.class_names)

    # -- splits ---------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        if self.cache_operators:  # one process computes what the others then read
            function = self.trainer.state.fn if self.trainer else None
            self.setup(None if function is None else function.value)

    def setup(self, stage: str | None = None) -> None:
        if stage in ("fit", "validate", None) and "train" not in self._splits:
            meshes = self.prepare_meshes(self.load(True), 2 * self.seed + 1)
            train, val = self.hold_out_validation(meshes)
            self._splits["train"] = [meshes[i] for i in train.tolist()]
            self._splits["val"] = [meshes[i] for i in val.tolist()]
        if stage in ("test", "predict", None) and "test" not in self._splits:
            self._splits["test"] = self.prepare_meshes(self.load(False), 2 * self.seed)

    def hold_out_validation(self, meshes: list[Data]) -> tuple[Tensor, Tensor]:
        """Return the indices of the training and validation meshes among those of training."""
        return hold_out(len(meshes), self.val_size, self.seed)

    def prepare_meshes(self, loaded: list[Data], seed: int) -> list[Data]:
        """Return meshes with their operators and their rotations in evaluation.

        Args:
            loaded: meshes as :meth:`load` returns them.
            seed: random seed of the rotations.

        Raises:
            DataError: no mesh is left.
        """
        generator = torch.Generator().manual_seed(seed)
        meshes = []
        for mesh in loaded:
            prepared = self.prepare_mesh(mesh)
            rotation = sample_rotations(self.rotate, 1, generator)
            if prepared is not None:
                prepared.rotation = rotation
                meshes.append(prepared)
        if not meshes:
            raise DataError(f"{self} has no meshes that can be used")
        return meshes

    def prepare_mesh(self, mesh: Data) -> Data | None:
        """Normalize a mesh and compute its operators; return None to leave it out.

        Raises:
            DataError: the mesh is not a manifold surface, or is too small for the eigenpairs.
        """
        try:
            operators = self._operators(mesh.pos, mesh.face.T)
        except InputError:  # not a fault of this mesh: the cache cannot be written
            raise
        except ValueError as error:
            name = f"{mesh.name}: " if "name" in mesh else ""
            raise DataError(f"{name}{error}") from None
        pos = normalize_area(mesh.pos.double(), mesh.face.T)
        return Data(pos=pos.float(), face=mesh.face, y=mesh.y, **operators.data_attributes())

    def _operators(self, vertices: Tensor, faces: Tensor) -> MeshOperators:
        if not self.cache_operators:
            return spectral_operators(vertices, faces, self.eigenpairs)
        return cached_operators(self.root / "operators", vertices, faces, self.eigenpairs)

    def split(self, name: str) -> list[Data]:
        if name not in self._splits:
            self.setup(name if name in ("test", "predict") else "fit")
        return self._splits[name]

    def training_labels(self) -> Tensor:
        return torch.cat([mesh.y.flatten() for mesh in self.split("train")])

    # -- batches --------------------------------------------------------------------------------

    def prepare_training(self, batch: Any, generator: torch.Generator) -> Any:
        rotations = sample_rotations(self.rotate_training, len(batch.rotation), generator)
        batch.rotation = rotations.to(batch.rotation)
        return apply_rotations(batch)

    def prepare_evaluation(self, batch: Any, generator: torch.Generator) -> Any:
        return apply_rotations(batch)


def apply_rotations(batch: Any) -> Any:
    """Rotate each mesh of a batch by its matrix in ``rotation`` (B, 3, 3)."""
    batch.pos = (batch.rotation[batch.batch] @ batch.pos[:, :, None])[:, :, 0]
    return batch


def normalize_area(vertices: Tensor, faces: Tensor) -> Tensor:
    """Center vertices (V, 3) at the centroid of the surface and scale its area to 1."""
    areas = face_areas(vertices, faces)
    centroids = vertices[faces].mean(1)
    center = (areas[:, None] * centroids).sum(0) / areas.sum()
    return (vertices - center) / areas.sum().sqrt()


def cached_operators(folder: Path, vertices: Tensor, faces: Tensor, k: int) -> MeshOperators:
    """Return the operators of a mesh, read from a cache or computed and added to it.

    Args:
        folder: folder of the cache. A file is named after a hash of its mesh and k, so a changed
            mesh does not get the operators of the old one.
        vertices: vertices of the mesh, (V, 3).
        faces: faces of the mesh, (F, 3).
        k: number of eigenpairs.

    Raises:
        ValueError: see :func:`~zoo.functional.spectral.spectral_operators`.
        InputError: the folder cannot be written to, or a file in it is damaged.
    """
    content = hashlib.sha256(f"{k} {tuple(vertices.shape)}".encode())
    content.update(vertices.double().numpy().tobytes())
    content.update(faces.contiguous().numpy().tobytes())
    file = folder / f"{content.hexdigest()[:32]}.pt"
    if file.is_file():
        return _read_operators(file, len(vertices), k)
    operators = spectral_operators(vertices, faces, k)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    # float32 halves the size and loses nothing, as batches are float32 too
    tensors = [t.float() if t.is_floating_point() else t for t in operators]
    with writing(file, "or choose another --data.root"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as stream:
                torch.save(tensors, stream)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return operators


def _read_operators(file: Path, num_vertices: int, k: int) -> MeshOperators:
    """Return the operators in a file of the cache.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:  # torch.load does not compare the checksums
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of {damaged} is wrong")
        operators = MeshOperators(*torch.load(file, weights_only=True))
        if operators.eigenvectors.shape != (num_vertices, k):
            raise ValueError(f"its eigenvectors have shape {tuple(operators.eigenvectors.shape)}")
    except Exception as error:  # torch.load raises all kinds of exceptions
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"the cached operators {file} are damaged ({reason}): delete this file and run again"
        ) from error
    return operators
