"""Models of point clouds: loss, segmentation, invariance to rotations, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F

import callbacks
from datamodules import Shapes
from zoo import PointClassifier, PointSegmenter
from zoo.errors import InputError

Trainer = Callable[..., L.Trainer]


def test_the_loss_includes_the_orthogonality_penalty() -> None:
    torch.manual_seed(0)
    model = PointClassifier(6, width=8, orthogonality_weight=0.5).eval()
    x, y = torch.randn(4, 30, 3), torch.tensor([0, 1, 2, 3])
    parts = model.step((x, y))
    nll = F.cross_entropy(model.logits(x), y)
    torch.testing.assert_close(parts["nll"], nll)
    penalty = parts["orthogonality_penalty"]
    torch.testing.assert_close(parts["loss"], nll + 0.5 * penalty)
    assert float(penalty.detach()) > 0
    torch.testing.assert_close(parts["outputs"], (model.logits(x).softmax(1).detach(), y))
    weights = list(model.parameters())
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    found, of_nll, of_penalty = (
        torch.autograd.grad(value, weights, **options) for value in (parts["loss"], nll, penalty)
    )
    for total, first, second in zip(found, of_nll, of_penalty, strict=True):
        torch.testing.assert_close(total, first + 0.5 * second, rtol=1e-4, atol=1e-6)
    assert any(gradient.abs().max() > 0 for gradient in of_penalty)
    without = PointClassifier(6, network="pointnet2", width=8)
    assert "orthogonality_penalty" not in without.step((x, y))


def test_every_point_of_a_segmentation_counts_once() -> None:
    torch.manual_seed(0)
    model = PointSegmenter(5, network="pointnet", width=8, orthogonality_weight=0.0).eval()
    x, y = torch.randn(3, 20, 3), torch.randint(5, (3, 20))
    logits = model.logits(x)
    assert logits.shape == (3, 20, 5)
    parts = model.step((x, y))
    torch.testing.assert_close(parts["loss"], F.cross_entropy(logits.mT, y))
    accuracy = (model.segment(x) == y).float().mean()
    torch.testing.assert_close(parts["accuracy"], accuracy)
    probabilities, labels = parts["outputs"]
    assert (probabilities.shape, labels.shape) == ((60, 5), (60,))


def test_predictions_of_a_segmentation_are_those_of_each_point() -> None:
    torch.manual_seed(0)
    model = PointSegmenter(5, width=8).eval()
    x, y = torch.randn(3, 20, 3), torch.randint(5, (3, 20))
    prediction = model.predict_step((x, y))
    assert torch.equal(prediction["class"], model.segment(x))
    assert prediction["probabilities"].shape == (3, 20, 5)
    torch.testing.assert_close(prediction["probabilities"].sum(-1), torch.ones(3, 20))


def test_columns_of_predicted_parts_are_fractions_of_the_points() -> None:
    parts = {"class": torch.tensor([[0, 0, 1, 2], [2, 2, 2, 2]])}
    data = SimpleNamespace(class_names=["wing", "body", "tail"])
    columns = PointSegmenter(3, width=4).prediction_columns(parts, data)
    assert columns == {
        "fraction(wing)": [0.5, 0.0], "fraction(body)": [0.25, 0.0], "fraction(tail)": [0.25, 1.0]
    }  # fmt: skip


def test_only_distances_generalize_to_other_rotations(trainer: Trainer) -> None:
    """The training clouds are upright, the test clouds rotated in any direction."""

    def accuracy(network: str) -> float:
        torch.manual_seed(0)
        data = Shapes(
            num_samples=240, num_points=128, rotate="any", rotate_training="none", batch_size=16
        )
        model = PointClassifier(6, network=network, width=8, k=8, lr=5e-3, dropout=0.0)
        fit = trainer(max_epochs=8, limit_val_batches=0)
        fit.fit(model, data)
        return fit.test(model, data, verbose=False)[0]["test/accuracy"]

    assert accuracy("invariant") > 0.85
    assert accuracy("pointnet") < 0.7


@pytest.mark.parametrize("task", ["shapes", "parts"])
def test_figures_of_point_clouds(task: str, trainer: Trainer, tmp_path: Path) -> None:
    data = Shapes(num_samples=30, num_points=64, task=task)
    model_class = PointClassifier if task == "shapes" else PointSegmenter
    model = model_class(data.num_classes, width=4)
    trainer(max_epochs=1, callbacks=[callbacks.PointClouds()]).fit(model, data)
    assert (tmp_path / "figures" / "point_clouds.png").stat().st_size > 20_000


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match=r"unknown network 'pointnet3'; .*choose from pointnet, "):
        PointClassifier(6, network="pointnet3")
    with pytest.raises(ValueError, match="orthogonality_weight must not be negative, got -1"):
        PointClassifier(6, orthogonality_weight=-1.0)
    with pytest.raises(InputError, match="dropout must be at least 0 and below 1"):
        PointClassifier(6, dropout=1.5)
    with pytest.raises(ValueError, match="PointClassifier does not support mixup"):
        PointClassifier(6, mixup=0.1)
