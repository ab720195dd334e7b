"""Several labels per sample: loss, metrics, predictions, refused networks and data, the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from datamodules import DigitPairs, Digits
from tests.datamodules.test_image_labels import pictures
from zoo import VAE, MLPClassifier, MultiLabelClassifier
from zoo.errors import InputError


def make(**options: object) -> MultiLabelClassifier:
    settings = {"hidden_dims": (8,)}
    return MultiLabelClassifier((4,), 3, "mlp", settings, **options).eval()  # type: ignore[arg-type]


def test_loss_is_the_sum_of_binary_cross_entropies() -> None:
    weights = (1.0, 2.0, 5.0)
    model = make(class_weights=weights).double()
    x, y = torch.randn(6, 4).double(), torch.randint(0, 2, (6, 3)).float()
    with torch.no_grad():
        p, parts = model(x).sigmoid(), model.step((x, y))
    present, absent = -y * p.log(), -(1 - y) * (1 - p).log()
    nll = (present + absent).sum(1).mean()
    loss = (torch.tensor(weights) * present + absent).sum(1).mean()
    assert float(parts["nll"]) == pytest.approx(float(nll), rel=1e-6)
    assert float(parts["loss"]) == pytest.approx(float(loss), rel=1e-6)
    correct = (p >= 0.5) == y.bool()
    assert float(parts["accuracy"]) == pytest.approx(int(correct.sum()) / 18)
    assert float(parts["exact_match"]) == pytest.approx(int(correct.all(1).sum()) / 6)
    torch.testing.assert_close(parts["outputs"], (p, y.int()))
    prediction = model.predict_step((x, y))
    torch.testing.assert_close(prediction["probabilities"], p)
    assert torch.equal(prediction["labels"], p >= 0.5)
    assert 0.3 < float(p.min()) < 0.5 < float(p.max())  # on both sides, close to ½


def test_metrics_are_those_of_scikit_learn() -> None:
    p, y = torch.rand(80, 3), torch.randint(0, 2, (80, 3))
    metrics = make().make_metrics()
    for metric in metrics.values():
        metric.update(p, y)
    assert float(metrics["f1"].compute()) == pytest.approx(
        f1_score(y, p >= 0.5, average="macro"), rel=1e-5
    )
    assert float(metrics["mean_average_precision"].compute()) == pytest.approx(
        average_precision_score(y, p, average="macro"), rel=1e-5
    )


@pytest.mark.parametrize("network", ["vae", "deep_ensemble", "logistic_regression"])
def test_networks_without_an_output_per_label_are_refused(network: str) -> None:
    with pytest.raises(InputError, match=f"classifier with one output per class.*got '{network}'"):
        MultiLabelClassifier((4,), 3, network)


def test_labels_and_models_must_fit(trainer: Callable[..., L.Trainer]) -> None:
    one, several = Digits(), DigitPairs(num_samples=200)
    with pytest.raises(InputError, match=r"needs zeros and ones, \(B, 10\), as labels"):
        trainer(max_epochs=1).fit(MultiLabelClassifier((1, 8, 8), 10, "mlp"), one)
    with pytest.raises(InputError, match=r"needs class indices, .*multi_label for several labels"):
        trainer(max_epochs=1).fit(MLPClassifier((1, 8, 16), 10), several)
    trainer(max_epochs=1).fit(VAE((1, 8, 16)), several)  # it does not use the labels


def test_digit_pairs_are_labeled_with_their_digits() -> None:
    data = DigitPairs(num_samples=300, num_test_samples=50)
    x, y = data.split("test")
    digits, labels = Digits().split("test")
    of = {tuple(image.flatten().tolist()): int(k) for image, k in zip(digits, labels, strict=True)}
    for image, row in zip(x, y, strict=True):
        halves = {of[tuple(half.flatten().tolist())] for half in image.split(8, dim=2)}
        assert set(row.nonzero()[:, 0].tolist()) == halves
    assert [len(data.split(name)[0]) for name in ("train", "val", "test")] == [270, 30, 50]


def test_a_table_of_labels_end_to_end(run: Callable[..., Path], tmp_path: Path) -> None:
    pictures(tmp_path / "train", 60)
    pictures(tmp_path / "new", 5, first=70)
    (tmp_path / "new" / "labels.csv").unlink()
    folder = run(
        "--model=multi_label", "--data=image_folder", "--data.path=train", "--data.size=8",
        "--data.labels=train/labels.csv", "--data.class_weights=balanced", "--data.batch_size=8",
        "--trainer.max_epochs=15", "--trainer.enable_progress_bar=false",
    )  # fmt: skip
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["test/exact_match"].dropna().item() == 1
    assert metrics["test/mean_average_precision"].dropna().item() == 1
    run_folder = run(
        "predict", "--model=multi_label", "--data=image_folder", "--data.path=new",
        f"--ckpt_path={folder / 'checkpoints/last.ckpt'}", "--trainer.enable_progress_bar=false",
    )  # fmt: skip
    table = pd.read_csv(run_folder / "predictions.csv", keep_default_na=False)
    assert table["file"].tolist() == [f"{n}.png" for n in range(70, 75)]
    assert table["labels"].tolist() == ["green", "green|red", "", "red", "green"]
    assert list(table.columns) == ["file", "labels", "p(green)", "p(red)"]
