"""Meshes that predict writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from callbacks import PredictedMeshes
from datamodules import Digits, MeshSequence
from datamodules.mesh_files import read_mesh
from tests.datamodules.test_mesh_sequence import write_folder
from zoo import PCA, MLPClassifier
from zoo.errors import InputError

Trainers = Callable[..., L.Trainer]


@pytest.mark.parametrize("suffix", ["ply", "obj"])
def test_reconstructions_are_written_in_the_units_of_the_files(
    tmp_path: Path, trainer: Trainers, suffix: str
) -> None:
    folder = write_folder(tmp_path / "frames")
    data = MeshSequence(str(folder), val_size=0, up="y")
    model = PCA(data.input_shape, 2, template=data.template)
    trainer(max_epochs=1).fit(model, data)
    run = trainer(callbacks=[PredictedMeshes(suffix)], default_root_dir=tmp_path / "run")
    run.predict(model, data, return_predictions=False)
    files = sorted((tmp_path / "run" / "meshes").iterdir())
    assert {file.name for file in files} == {f"f{i}.{suffix}" for i in range(12)}
    for file in files:  # a wave is a combination of two components
        vertices, faces, _ = read_mesh(file)
        original = read_mesh(folder / f"{file.stem}.off")
        torch.testing.assert_close(vertices, original.vertices, rtol=0, atol=1e-4)
        assert torch.equal(faces, original.faces)


def test_frames_of_an_array_are_numbered(tmp_path: Path, trainer: Trainers) -> None:
    frames = MeshSequence(str(write_folder(tmp_path / "frames")))
    arrays = {"verts": frames.frames.numpy(), "faces": frames.faces.numpy()}
    np.savez(tmp_path / "wave.npz", **arrays)
    data = MeshSequence(str(tmp_path / "wave.npz"), val_size=0)
    run = trainer(callbacks=[PredictedMeshes()], default_root_dir=tmp_path)
    run.predict(PCA(data.input_shape, 2), data, return_predictions=False)
    names = sorted(file.name for file in (tmp_path / "meshes").iterdir())
    assert (names[0], names[-1], len(names)) == ("frame00.ply", "frame11.ply", 12)


def test_misfits_are_refused(tmp_path: Path, trainer: Trainers) -> None:
    with pytest.raises(InputError, match="unknown format 'stl'; choose from ply, obj"):
        PredictedMeshes("stl")
    data = Digits()
    run = trainer(callbacks=[PredictedMeshes()])
    with pytest.raises(InputError, match="needs data of meshes, but Digits has no faces"):
        run.predict(PCA(data.input_shape, 2), data)
    meshes = MeshSequence(str(write_folder(tmp_path / "frames")))
    run = trainer(callbacks=[PredictedMeshes()])
    with pytest.raises(
        InputError, match="needs a model that reconstructs meshes, got MLPClassifier"
    ):
        run.predict(MLPClassifier(meshes.input_shape, 12), meshes)


def test_pca_of_a_moving_mesh_from_the_command_line(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    """Its figures show meshes, and predictions of all frames are written."""
    data = ["--data=mesh_sequence", f"--data.path={write_folder(tmp_path / 'frames')}"]
    folder = run("--model=pca", "--model.latent_dim=2", *data)
    figures = {file.name for file in (folder / "figures").iterdir()}
    assert figures >= {"reconstructions.png", "samples.png", "latent_manifold.png"}
    checkpoint = f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"
    predicted = run(
        "predict", "--model=pca", *data, checkpoint, "--trainer.callbacks=callbacks.PredictedMeshes"
    )
    assert len(list((predicted / "meshes").iterdir())) == 12
