"""Models of meshes: batches, invariance to bending, segmentation, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F

import callbacks
from datamodules import SBM, BodyParts, Isometric
from zoo import MeshClassifier, MeshSegmenter
from zoo.errors import InputError

Trainer = Callable[..., L.Trainer]


def batch_of(data: Any) -> Any:
    return next(iter(data.train_dataloader()))


def test_logits_of_batches_and_of_moved_meshes() -> None:
    torch.manual_seed(0)
    model = MeshClassifier(8, width=16, blocks=2).eval()
    data = Isometric(num_samples=16, val_size=0, batch_size=6)
    batch = batch_of(data)
    logits = model.logits(batch)
    assert logits.shape == (6, 8)
    for i, mesh in enumerate(batch.to_data_list()):
        alone = type(batch).from_data_list([mesh])
        torch.testing.assert_close(model.logits(alone)[0], logits[i], rtol=1e-4, atol=1e-5)
    moved = batch.clone()
    moved.pos = -3 * moved.pos + 1  # heat kernel signatures do not depend on the coordinates
    assert torch.equal(model.logits(moved), logits)
    extrinsic = MeshClassifier(8, input_features="xyz", width=16, blocks=2).eval()
    assert float((extrinsic.logits(moved) - extrinsic.logits(batch)).detach().abs().max()) > 1e-3


def test_logits_of_a_mesh_are_the_mean_over_its_area() -> None:
    model = MeshClassifier(8, num_times=5, width=8, blocks=1).eval()
    times = [10 ** (-2.5 + 0.5 * k) for k in range(5)]
    assert model.heat_times.tolist() == pytest.approx(times)
    data = Isometric(num_samples=16, subdivisions=1, eigenpairs=4, val_size=0, batch_size=3)
    batch = batch_of(data)
    vertex_logits = model.vertex_logits(batch, model.surfaces(batch))
    for i, logits in enumerate(model.logits(batch)):
        inside = batch.batch == i
        mass = batch.mass[inside, None]
        expected = (mass * vertex_logits[inside]).sum(0) / mass.sum()
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-6)


def test_only_intrinsic_features_generalize_to_other_bendings(trainer: Trainer) -> None:
    """The training data are rolled sheets, the test data folded ones."""

    def accuracy(input_features: str) -> float:
        torch.manual_seed(0)
        data = Isometric(num_samples=96, batch_size=4, rotate="none", eigenpairs=24, subdivisions=1)
        model = MeshClassifier(
            8, input_features=input_features, width=16, blocks=2, lr=1e-2, schedule="cosine"
        )
        fit = trainer(max_epochs=20, limit_val_batches=0)
        fit.fit(model, data)
        return fit.test(model, data, verbose=False)[0]["test/accuracy"]

    assert accuracy("hks") > 0.97
    assert accuracy("xyz") < 0.8


def test_every_vertex_of_a_segmentation_counts_once() -> None:
    torch.manual_seed(0)
    model = MeshSegmenter(6, width=8, blocks=1).eval()
    batch = batch_of(BodyParts(num_samples=4, val_size=0, eigenpairs=8, batch_size=2))
    parts = model.step(batch)
    logits = model.logits(batch)
    assert logits.shape == (batch.num_nodes, 6)
    torch.testing.assert_close(parts["loss"], F.cross_entropy(logits, batch.y))
    assert parts["weight"] == batch.num_nodes > batch.num_graphs
    assert model.count_samples(batch) == batch.num_nodes
    probabilities, labels = parts["outputs"]
    assert (len(probabilities), len(labels)) == (batch.num_nodes, batch.num_nodes)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(precision: Any, trainer: Trainer) -> None:
    model = MeshClassifier(8, width=8, blocks=1)
    data = Isometric(num_samples=16, subdivisions=1, eigenpairs=8, val_size=4)
    fit = trainer(max_epochs=1, precision=precision)
    fit.fit(model, data)
    assert torch.isfinite(fit.callback_metrics["val/loss"])


def test_data_and_settings_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="MeshClassifier needs meshes with their differential op"):
        MeshClassifier(2).step(batch_of(SBM()))
    with pytest.raises(InputError, match="MeshSegmenter needs one label per vertex"):
        MeshSegmenter(8).step(batch_of(Isometric(num_samples=16, subdivisions=1, eigenpairs=8)))
    with pytest.raises(ValueError, match="unknown input_features 'normals'; choose from hks, xyz"):
        MeshClassifier(8, input_features="normals")
    with pytest.raises(InputError, match="dropout must be at least 0 and below 1"):
        MeshClassifier(8, dropout=1.5)
    with pytest.raises(ValueError, match="MeshClassifier does not support mixup"):
        MeshClassifier(8, mixup=0.2)


@pytest.mark.parametrize("labels", [(0, 9), (-1, 3)])
def test_labels_that_are_not_class_indices(labels: tuple[int, int], trainer: Trainer) -> None:
    data = Isometric(num_samples=16, subdivisions=1, eigenpairs=8, val_size=0)
    for mesh in data.split("train"):
        mesh.y = torch.tensor([labels[int(mesh.y) % 2]])
    message = f"labels must be 0 to 7 for num_classes=8, the data has {labels[0]} to {labels[1]}"
    with pytest.raises(InputError, match=message):
        trainer(max_epochs=1).fit(MeshClassifier(8, width=8, blocks=1), data)


def test_figures_of_meshes(trainer: Trainer, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    meshes = callbacks.Meshes(num_samples=3, html=True)
    fit = trainer(max_epochs=1, callbacks=[meshes], default_root_dir=tmp_path)
    fit.fit(
        MeshClassifier(8, width=8, blocks=1),
        Isometric(num_samples=16, subdivisions=1, eigenpairs=8),
    )
    assert (tmp_path / "figures" / "meshes.png").stat().st_size > 10_000
    assert "mesh3d" in (tmp_path / "figures" / "meshes.html").read_text()
    parts = callbacks.Meshes(num_samples=2)
    data = BodyParts(num_samples=4, val_size=2, eigenpairs=8)
    fit = trainer(max_epochs=1, callbacks=[parts], default_root_dir=tmp_path / "parts")
    fit.fit(MeshSegmenter(6, width=8, blocks=1), data)
    assert (tmp_path / "parts" / "figures" / "meshes.png").stat().st_size > 10_000
    assert not list((tmp_path / "parts" / "figures").glob("*.html"))


def test_figures_need_meshes(trainer: Trainer, digits: Any) -> None:
    from zoo import MLPClassifier

    fit = trainer(max_epochs=1, callbacks=[callbacks.Meshes()])
    with pytest.raises(InputError, match="Meshes needs batches of meshes, got tuple"):
        fit.fit(MLPClassifier((1, 8, 8), 10, hidden_dims=(8,)), digits)
