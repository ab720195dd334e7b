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
