"""Multilayer perceptrons: loss, label smoothing, logits, generalization, settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from datamodules import Augmentation, Digits
from zoo import MLPClassifier, MLPRegressor
from zoo.errors import InputError


def test_the_loss_applies_softmax_once() -> None:
    """With a second softmax, the loss of a wrong and confident network would be bounded."""
    model = MLPClassifier((4,), 3, hidden_dims=()).double().eval()
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.randint(0, 3, (7,))
    probabilities = model.logits(x).exp() / model.logits(x).exp().sum(1, keepdim=True)
    expected = -probabilities[torch.arange(7), y].log().mean()
    torch.testing.assert_close(model.step((x, y))["loss"], expected, rtol=1e-12, atol=0)
    model.network[-1].weight.data *= 1000
    worst = model.logits(x).max(1).values - model.logits(x)[torch.arange(7), y]
    torch.testing.assert_close(model.step((x, y))["nll"], worst.mean(), rtol=1e-3, atol=1e-3)


def test_label_smoothing_changes_the_loss_but_not_the_nll() -> None:
    model = MLPClassifier((4,), 3, label_smoothing=0.3).double().eval()
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.randint(0, 3, (7,))
    parts = model.step((x, y))
    log_p = model.logits(x).log_softmax(1)
    expected = -(0.7 * log_p[torch.arange(7), y] + 0.3 * log_p.mean(1)).mean()
    torch.testing.assert_close(parts["loss"], expected)
    torch.testing.assert_close(parts["nll"], -log_p[torch.arange(7), y].mean())


def test_metrics_and_predictions_take_probabilities() -> None:
    model = MLPClassifier((4,), 3).double().eval()
    with torch.no_grad():
        model.network[-1].weight.mul_(5)  # confident
        x = torch.randn(300, 4, dtype=torch.float64)
        p = model.logits(x).exp()
        p = p / p.sum(1, keepdim=True)
        # right in every second bin, so that errors would cancel in wider ones
        y = (p.argmax(1) + (15 * p.amax(1)).ceil().long() % 2) % 3
        parts, prediction = model.step((x, y)), model.predict_step((x, y))
    torch.testing.assert_close(parts["outputs"], (p, y))
    torch.testing.assert_close(prediction["probabilities"], p)
    assert torch.equal(prediction["class"], p.argmax(1))
    metric = model.make_metrics()["ece"]
    metric.update(*parts["outputs"])
    confidence, found = p.max(1)
    bins = (15 * confidence).ceil()
    errors = [
        (confidence[bins == b].mean() - (found == y)[bins == b].double().mean()).abs()
        * (bins == b).double().mean()
        for b in bins.unique()
    ]
    assert float(metric.compute()) == pytest.approx(float(sum(errors)), rel=1e-5)


def test_dropout_of_inputs_and_hidden_layers() -> None:
    for model in (
        MLPClassifier((4,), 3, (5, 6), dropout=(0.5, 0.4), input_dropout=0.2),
        MLPRegressor((4,), 3, hidden_dims=(5, 6), dropout=(0.5, 0.4), input_dropout=0.2),
    ):
        rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
        assert rates == [0.2, 0.5, 0.4]


MEANS, STDS = torch.tensor([100.0, -3.0, 0.0]), torch.tensor([10.0, 0.5, 2.0])


@pytest.mark.parametrize("predict_variance", [False, True])
def test_the_loss_of_a_regressor_is_that_of_standardized_targets(predict_variance: bool) -> None:
    """Metrics are in the units of the targets."""
    model = MLPRegressor(
        (4,), 3, tuple(MEANS.tolist()), tuple(STDS.tolist()), predict_variance=predict_variance
    ).double()  # fmt: skip
    x = torch.randn(20, 4, dtype=torch.float64)
    mean, std = MEANS.double(), STDS.double()
    y = mean + std * torch.randn(20, 3, dtype=torch.float64)
    outputs, parts = model.network(x), model.step((x, y))
    prediction = mean + std * outputs[:, :3]
    torch.testing.assert_close(model.predict(x), prediction)
    torch.testing.assert_close(parts["mse"], (prediction - y).square().sum() / 60)
    torch.testing.assert_close(parts["mae"], (prediction - y).abs().sum() / 60)
    torch.testing.assert_close(parts["outputs"], (prediction, y))
    if not predict_variance:
        torch.testing.assert_close(parts["loss"], ((prediction - y) / std).square().sum() / 60)
        return
    variance = std.square() * ((1 + outputs[:, 3:].exp()).log() + 1e-6)
    torch.testing.assert_close(model.moments(x)[..., 1], variance)
    normal = torch.distributions.Normal(prediction, variance.sqrt())
    torch.testing.assert_close(parts["nll"], -normal.log_prob(y).sum() / 20)
    standardized = torch.distributions.Normal(prediction / std, variance.sqrt() / std)
    torch.testing.assert_close(parts["loss"], -standardized.log_prob(y / std).sum() / 20)
    with torch.no_grad():
        model.network[-1].bias[3:] = -1000.0  # the smallest variance
    smallest = (1e-6 * std.square()).expand(20, 3)
    torch.testing.assert_close(model.moments(x)[..., 1], smallest, rtol=1e-9, atol=0)


def test_the_coefficient_of_determination_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import r2_score

    model = MLPRegressor((4,), 2)
    metric = model.make_metrics()["r2"]
    x, y = torch.randn(30, 4), torch.tensor([1.0, 5.0]) * torch.randn(30, 2)
    with torch.no_grad():
        metric.update(*model.step((x, y))["outputs"])
        expected = r2_score(y, model(x), multioutput="variance_weighted")
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-5)


def test_logits_neither_log_nor_change_state() -> None:
    model = MLPClassifier((4,), 3).eval()
    x = torch.randn(5, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.logits(x).sum(), x)
    assert gradient.abs().sum() > 0
    assert all(p.grad is None for p in model.parameters())
    torch.testing.assert_close(model.logits(x)[:1], model.logits(x[:1]))


def test_generalizes_to_digits_of_other_writers(trainer: Callable[..., L.Trainer]) -> None:
    """A nearest-mean classifier has an accuracy of 0.88 on the test split."""
    model = MLPClassifier((1, 8, 8), 10, (256,), dropout=0.2, input_dropout=0, lr=3e-3)
    augment = Augmentation(rotation=15, zoom=0.15)
    trainer(max_epochs=40).fit(model, Digits(batch_size=64, augment=augment))
    (metrics,) = trainer().test(model, Digits(), verbose=False)
    assert metrics["test/accuracy"] > 0.93


def test_a_classifier_needs_two_classes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        MLPClassifier((4,), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_std": (1.0, 0.0, 1.0)}, r"target_std must be positive, got \(1.0, 0.0, 1.0\)"),
        ({"target_std": (1.0, 2.0)}, "target_std has 2 values for 3 targets"),
        ({"target_mean": (1.0, 2.0)}, "target_mean has 2 values for 3 targets"),
    ],
)
def test_target_statistics_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MLPRegressor((4,), 3, **options)
