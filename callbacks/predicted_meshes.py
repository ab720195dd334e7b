"""Files of the meshes that a model predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.figures import run_folder, writes_files
from zoo.core.files import replacing
from zoo.core.report import print_rank_zero
from zoo.errors import InputError, check_choice

FORMATS = ("ply", "obj")
NEEDED = ("faces", "to_original_units", "prediction_ids")  # attributes of the data module


class PredictedMeshes(Callback):
    """Write the meshes that ``predict`` reconstructs, in the units and axes of the user's files.

    Writes ``meshes/NAME.ply`` in the run folder, where NAME is the name of the input's file or the
    index of its frame. Polygons of the input become triangles, and merged vertices stay merged.
    Needs a latent model of meshes, such as ``MeshAutoencoder`` or ``PCA``, and data such as
    ``MeshSequence``.

    Args:
        format: ``ply`` (default; binary, float64) or ``obj``.

    Raises:
        InputError: the format is unknown; or, in a prediction, the model or the data have no
            meshes, or there are several processes.
    """

    def __init__(self, format: str = "ply") -> None:
        check_choice("format", format, FORMATS)
        self.format = format
        self._names: list[str] = []
        self._written = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        missing = [name for name in NEEDED if not hasattr(data, name)]
        if missing:
            raise InputError(
                f"PredictedMeshes needs data of meshes, but {type(data).__name__} has no "
                f"{missing[0]}: leave the callback out"
            )
        if trainer.world_size > 1:
            raise InputError("PredictedMeshes needs one process: set --trainer.devices 1")
        self._names, self._written = _file_names(data.prediction_ids()), 0

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        data: Any = trainer.datamodule
        shapes = outputs.get("reconstruction") if isinstance(outputs, dict) else None
        if shapes is None or shapes.ndim != 3 or shapes.shape[-1] != 3:
            raise InputError(
                f"PredictedMeshes needs a model that reconstructs meshes, got "
                f"{type(pl_module).__name__}: leave the callback out"
            )
        if not writes_files(trainer):
            return
        folder = run_folder(trainer) / "meshes"
        faces = data.faces
        for shape in data.to_original_units(shapes):
            path = folder / f"{self._names[self._written]}.{self.format}"
            with replacing(path) as partial:
                WRITERS[self.format](partial, shape, faces)
            self._written += 1

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._written:
            folder = run_folder(trainer) / "meshes"
            noun = "file" if self._written == 1 else "files"
            print_rank_zero(f"meshes      {folder}  ({self._written:,} {noun})")


def _file_names(ids: dict[str, Sequence[Any]]) -> list[str]:
    """Return a file name without extension for each predicted sample."""
    column, values = next(iter(ids.items()))
    if column == "file":
        return [Path(value).stem for value in values]
    width = len(str(len(values) - 1))
    return [f"{column}{int(value):0{width}d}" for value in values]


def write_ply(path: Path, vertices: Tensor, faces: Tensor) -> None:
    """Write a mesh as a binary PLY file: vertices float64 (V, 3), faces (F, 3)."""
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), dtype=[("length", "u1"), ("corners", "<i4", 3)])
    rows["length"], rows["corners"] = 3, faces.numpy()
    body = vertices.double().numpy().astype("<f8").tobytes() + rows.tobytes()
    path.write_bytes(head.encode() + body)


def write_obj(path: Path, vertices: Tensor, faces: Tensor) -> None:
    """Write a mesh as an OBJ file: vertices (V, 3), faces (F, 3)."""
    rows = ["v {!r} {!r} {!r}\n".format(*vertex) for vertex in vertices.double().tolist()]
    rows += ["f {} {} {}\n".format(*face) for face in (faces + 1).tolist()]
    path.write_text("".join(rows), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, Tensor, Tensor], None]] = {"ply": write_ply, "obj": write_obj}
