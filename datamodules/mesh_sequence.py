"""A user's own moving mesh: a sequence of frames with the same connectivity."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.loader import Batch, TensorLoader
from datamodules.mesh_files import AXIS_ORDER, ChangeLog, remove_needless_faces, triangulate_mesh
from datamodules.mesh_frames import Frames, read_frames
from datamodules.polygon_mesh import PolygonMesh
from datamodules.template_meshes import TemplateMeshDataModule, hash_of
from zoo.errors import DataError, check_at_least, check_choice
from zoo.functional.meshes import merge_duplicate_vertices


class MeshSequence(TemplateMeshDataModule):
    """Your own moving mesh: ``--data mesh_sequence --data.path FRAMES.npz``.

    The file contains ``verts`` (T, V, 3) and ``faces`` (F, 3). Alternatively, the path is a folder
    of meshes with the same faces (PLY, OBJ, OFF, STL, GLB), in the order of the numbers in their
    names, or one such mesh. Labels are frame indices.

    Vertices that are at the same position in every frame are merged: STL and GLB files repeat a
    vertex for each face or texture. Frames of another path than the training data must have
    the same vertices and faces, and ``test`` uses all of them; ``predict`` uses all frames of any
    path.

    Args:
        path: npz file, folder of meshes, or mesh.
        test_every: interval of the test frames: of every ``test_every`` frames, the last one is for
            testing; default 4.
        up: axis of the file that points upward: ``x``, ``y`` or ``z`` (default).
        **data: see :class:`~datamodules.template_meshes.TemplateMeshDataModule`.

    Raises:
        InputError: ``test_every`` below 2, or an unknown axis.
        DataError: a fault in the data; the message names the file and the frame.
    """

    learned_settings = ("seed", "val_size", "test_every", "up")

    def __init__(self, path: str, test_every: int = 4, up: str = "z", **data: Any) -> None:
        super().__init__(**data)
        check_choice("up axis", up, AXIS_ORDER)
        check_at_least(2, test_every=test_every)
        self.path, self.test_every, self.up = Path(path), test_every, up
        self._trains_on_path = False

    # -- what is learned from the training data -------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return also the connectivity of the files, and the merged vertex of each vertex."""
        raw, (vertex_of, _) = self._raw_frames, self._merged
        connectivity = {
            "corners": torch.from_numpy(raw.corners),
            "sizes": torch.from_numpy(raw.sizes),
            "vertex_of": vertex_of,
        }
        return super().learn() | connectivity

    def make_faces(self) -> Tensor:
        return self._merged[1]

    @cached_property
    def _merged(self) -> tuple[Tensor, Tensor]:
        """Index of the merged vertex of each vertex of the files, (U,), and faces (F, 3)."""
        raw = self._raw_frames
        first = PolygonMesh(raw.vertices[0].numpy(), raw.corners, raw.sizes)
        faces, notes = triangulate_mesh(first)[1:]
        movements = raw.vertices.transpose(0, 1).flatten(1)  # (U, 3 T)
        kept, vertex_of = merge_duplicate_vertices(movements, torch.arange(len(movements)))
        faces, removed = remove_needless_faces(vertex_of[faces])
        if not len(faces):
            raise DataError(f"{self.path}: every face repeats a vertex in every frame")
        changes = ChangeLog()
        changes.add(self.path, {**raw.notes, **notes, **removed})
        changes.warn()
        if len(kept) < len(movements):
            warnings.warn(
                f"{self.path}: {len(movements):,} vertices merged to {len(kept):,}, as the others "
                "are at the same positions in every frame",
                stacklevel=2,
            )
        return vertex_of, faces

    # -- frames ---------------------------------------------------------------------------------

    @cached_property
    def _raw_frames(self) -> Frames:
        """The frames before vertices are merged."""
        if not self.path.exists():
            raise DataError(f"no such file or folder: {self.path} (--data.path)")
        frames = read_frames(self.path)
        if not len(frames.sizes):
            raise DataError(f"{self.path}: the meshes have no faces")
        return frames

    @cached_property
    def frames(self) -> Tensor:
        """Vertices of all frames after merging, the third axis upward, float64 (T, V, 3)."""
        raw = self._raw_frames
        vertices, known = raw.vertices, self.has_loaded_state
        vertex_of = self._vertices_of_template(raw) if known else self._merged[0]
        first = torch.full((int(vertex_of.max()) + 1,), len(vertex_of)).scatter_reduce(
            0, vertex_of, torch.arange(len(vertex_of)), "amin"
        )
        merged = vertices[:, first]
        apart = (merged[:, vertex_of] != vertices).any(2)  # (T, U)
        if apart.any():
            frame, vertex = (int(i) for i in apart.nonzero()[0])
            raise DataError(
                f"{raw.name(frame)}: vertices {int(first[vertex_of[vertex]])} and {vertex} are at "
                "different positions, but were always at the same one in the training frames"
            )
        return merged[..., AXIS_ORDER[self.up]]

    def _vertices_of_template(self, raw: Frames) -> Tensor:
        """Return the template's vertex for each vertex of the files, (U,).

        Raises:
            DataError: the files have other vertices or faces than the training meshes.
        """
        faces = self.faces
        vertices = self.input_shape[0]
        own = torch.from_numpy(raw.corners), torch.from_numpy(raw.sizes)
        learned = self.learned["corners"], self.learned["sizes"]
        if len(self.learned["vertex_of"]) == raw.vertices.shape[1] and _is_same(own, learned):
            return self.learned["vertex_of"]
        if raw.vertices.shape[1] == vertices and _is_same(
            own, (faces.flatten(), torch.full((len(faces),), 3))
        ):  # already merged, such as files written by predict
            return torch.arange(vertices)
        counts = len(self.learned["vertex_of"]), len(self.learned["sizes"])
        found = raw.vertices.shape[1], len(raw.sizes)
        if found == counts:
            raise DataError(
                f"{self.path} has {found[0]:,} vertices and {found[1]:,} faces, as the training "
                "meshes, but other faces or in another order"
            )
        raise DataError(
            f"{self.path} has {found[0]:,} vertices and {found[1]:,} faces, but the model was "
            f"trained on meshes of {counts[0]:,} vertices and {counts[1]:,} faces"
        )

    def meshes(self, train: bool) -> tuple[Tensor, Tensor]:
        indices = torch.arange(len(self.frames))
        if train or not self._is_tested_whole:
            if len(indices) < 2 * self.test_every:
                raise DataError(
                    f"{self.path} has {len(indices)} frames; --data.test_every {self.test_every} "
                    f"needs at least {2 * self.test_every}"
                )
            indices = indices[self._is_test_frame != train]
        return self.frames[indices], indices

    @property
    def has_training_meshes(self) -> bool:
        return not self._is_tested_whole

    @property
    def _is_test_frame(self) -> Tensor:
        """True for each frame that is for testing if the path is the training data, bool (T,)."""
        return torch.arange(len(self.frames)) % self.test_every == self.test_every - 1

    @cached_property
    def _is_tested_whole(self) -> bool:
        """True if all frames are for testing, since the model was trained on others."""
        if not self.has_loaded_state or self._trains_on_path:
            return False
        if hash_of(self.frames[~self._is_test_frame]) == self.learned["training_meshes"]:
            return False
        warnings.warn(
            f"{self.path} is not the training data: all {len(self.frames):,} frames are tested",
            stacklevel=2,
        )
        return True

    # -- Lightning ------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        if stage == "fit":
            self._trains_on_path = True
        if stage != "predict":
            super().setup(stage)
        elif "predict" not in self._splits:
            tensors: Batch = (self.normalize(self.frames), torch.arange(len(self.frames)))
            self._splits["predict"] = tensors, tensors[1]

    def predict_dataloader(self) -> TensorLoader:
        self.setup("predict")
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        if files := self._raw_frames.files:
            return {"file": [str(file) for file in files]}
        return {"frame": range(len(self.frames))}

    def to_original_units(self, vertices: Tensor) -> Tensor:
        """Return vertices (..., V, 3) of batches or predictions in the units and axes of the files,
        in float64."""
        order = torch.tensor(AXIS_ORDER[self.up]).argsort()
        return super().to_original_units(vertices)[..., order]


def _is_same(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> bool:
    return all(map(torch.equal, first, second))
