"""Tasks on points: the penalty, parts, what a rotation costs, pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F

import callbacks
from datamodules import Shapes
from zoo import PointClassifier, PointSegmenter

Trainer = Callable[..., L.Trainer]


def test_the_loss_has_the_alignments_penalty() -> None:
    torch.manual_seed(0)
    model = PointClassifier(6, width=8, alignment=0.5).eval()
    x, y = torch.randn(4, 30, 3), torch.tensor([0, 1, 2, 3])
    parts = model.step((x, y))
    nll = F.cross_entropy(model.logits(x), y)
    torch.testing.assert_close(parts["nll"], nll)
    torch.testing.assert_close(parts["loss"], nll + 0.5 * parts["misalignment"])
    assert float(parts["misalignment"].detach()) > 0
    assert "misalignment" not in PointClassifier(6, network="pointnet2", width=8).step((x, y))


def test_every_point_counts_once() -> None:
    torch.manual_seed(0)
    model = PointSegmenter(5, network="pointnet", width=8, alignment=0.0).eval()
    x, y = torch.randn(3, 20, 3), torch.randint(5, (3, 20))
    logits = model.logits(x)
    assert logits.shape == (3, 20, 5)
    parts = model.step((x, y))
    torch.testing.assert_close(parts["loss"], F.cross_entropy(logits.mT, y))
    right = (model.segment(x) == y).float().mean()
    torch.testing.assert_close(parts["accuracy"], right)
    probabilities, labels = parts["outputs"]
    assert (probabilities.shape, labels.shape) == ((60, 5), (60,))


def test_what_a_rotation_costs(trainer: Trainer) -> None:
    """Trained upright and tested in any position, only distances know a shape again."""

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
def test_pictures_of_clouds(task: str, trainer: Trainer, tmp_path: Path) -> None:
    data = Shapes(num_samples=30, num_points=64, task=task)
    make = PointClassifier if task == "shapes" else PointSegmenter
    model = make(data.num_classes, width=4)
    trainer(max_epochs=1, callbacks=[callbacks.PointClouds()]).fit(model, data)
    assert (tmp_path / "figures" / "point_clouds.png").stat().st_size > 20_000


def test_an_unknown_network() -> None:
    with pytest.raises(ValueError, match="unknown network 'pointnet3'; .*choose from pointnet, "):
        PointClassifier(6, network="pointnet3")
    with pytest.raises(ValueError, match="PointClassifier has no mixup"):
        PointClassifier(6, mixup=0.1)
