"""Targets, losses and metrics stay in float32 at every precision of the Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

import zoo
from tests.test_models import Repeat, make_data
from zoo import CNN, PCA, VAE, Autoencoder, LinearRegression, LogisticRegression, MLPRegressor
from zoo.core.closed_form import ClosedFormTask
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.likelihoods import (
    bernoulli_log_prob,
    categorical_log_prob,
    gaussian_log_prob,
)

Trainer = Callable[..., L.Trainer]
HALF = ["bf16-mixed", "bf16-true", "16-true"]


def house_prices() -> tuple[Tensor, Tensor]:
    """Targets 250,000 + 37 i, which bfloat16 would round to multiples of 1,024 or 2,048."""
    x = torch.arange(64.0)[:, None]
    return x, 250_000 + 37 * x


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_exact_weights_predict_exactly(precision: str, trainer: Trainer) -> None:
    model = LinearRegression((1,), 1)
    torch.nn.init.constant_(model.network.weight, 37.0)
    torch.nn.init.constant_(model.network.bias, 250_000.0)
    run = trainer(precision=precision)
    (metrics,) = run.test(model, Repeat(house_prices()), verbose=False)
    assert metrics["test/mae"] == 0
    assert metrics["test/r2"] == 1
    predictions = run.predict(model, Repeat(house_prices()))
    assert torch.equal(predictions[0]["prediction"], house_prices()[1])


@pytest.mark.parametrize("precision", HALF)
def test_targets_and_their_scale_are_not_rounded(precision: str, trainer: Trainer) -> None:
    """A network that predicts the mean: the errors are known in float32."""
    x, y = house_prices()
    model = MLPRegressor((1,), 1, target_mean=250_037.0, target_std=100.0)
    for p in model.network.parameters():
        torch.nn.init.zeros_(p)
    (metrics,) = trainer(precision=precision).test(model, Repeat((x, y)), verbose=False)
    error = (y - 250_037).double()
    assert metrics["test/mae"] == pytest.approx(float(error.abs().mean()), rel=1e-6)
    assert metrics["test/mse"] == pytest.approx(float(error.square().mean()), rel=1e-6)
    variance = float(error.var(correction=0))
    expected = 1 - float(error.square().mean()) / variance
    assert metrics["test/r2"] == pytest.approx(expected, rel=1e-4)
    assert model.mean.dtype == torch.float32
    assert float(model.mean) == 250_037


@pytest.mark.parametrize("precision", HALF)
def test_losses_of_forecasts(precision: str, trainer: Trainer) -> None:
    """The naive forecast repeats the last value: its error is known in float32."""
    model = zoo.DLinear(1, 4, 3)
    y = 250_000 + 37 * torch.arange(5.0 * 3).view(5, 3, 1)
    x = torch.zeros(5, 4, 1)
    (metrics,) = trainer(precision=precision).test(model, Repeat((x, y)), verbose=False)
    expected = float(y.double().square().mean())
    assert metrics["test/naive_mse"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_cross_entropy_in_float32(precision: str, trainer: Trainer) -> None:
    """The mean over samples is that of the scores in float32, not rounded to three digits."""
    torch.manual_seed(0)
    model = CNN((1, 8, 8), 10, (4,))
    dtype = {"bf16-true": torch.bfloat16, "16-true": torch.float16}[precision]
    x, y = torch.rand(50, 1, 8, 8), torch.arange(50) % 10
    (metrics,) = trainer(precision=precision).test(model, Repeat((x, y)), verbose=False)
    with torch.no_grad():
        scores = model.to(dtype).eval().logits(x.to(dtype)).double()
    expected = float(F.cross_entropy(scores, y))
    assert metrics["test/nll"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_log_likelihoods_are_sums_in_float32(dtype: torch.dtype) -> None:
    """Sums over 784 pixels; the values themselves are in half precision, also under autocast."""
    torch.manual_seed(0)
    logits, x = torch.randn(3, 5, 784).to(dtype), torch.rand(5, 784).to(dtype)
    exact = [bernoulli_log_prob(logits.double(), x.double()),
             gaussian_log_prob(logits.double(), torch.zeros(()).double(), x.double()),
             categorical_log_prob(logits.double().view(3, 5, 4, 196), x[:, :196].double()),
             kl_standard_normal(logits.double(), logits.double()).sum(-1)]  # fmt: skip
    with torch.autocast("cpu", torch.bfloat16):
        found = [bernoulli_log_prob(logits, x),
                 gaussian_log_prob(logits, torch.zeros((), dtype=dtype), x),
                 categorical_log_prob(logits.view(3, 5, 4, 196), x[:, :196]),
                 kl_standard_normal(logits, logits).sum(-1)]  # fmt: skip
    for value, expected in zip(found, exact, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
@pytest.mark.parametrize("precision", HALF)
def test_parts_of_latent_models_are_in_float32(cls: Any, precision: str, trainer: Trainer) -> None:
    parts: list[dict[str, Any]] = []

    class Recorded(cls):
        def step(self, batch: Any) -> dict[str, Any]:
            parts.append(super().step(batch))
            return dict(parts[-1])

    trainer(precision=precision).test(
        Recorded((1, 8, 8)), Repeat((torch.rand(9, 1, 8, 8), torch.zeros(9))), verbose=False
    )
    assert {value.dtype for value in parts[0].values()} == {torch.float32}


@pytest.mark.parametrize("cls", [LinearRegression, LogisticRegression, PCA])
def test_closed_forms_in_mixed_precision(cls: type[ClosedFormTask], trainer: Trainer) -> None:
    """The solution is that of float32, with autocast and with the gradient scaler of 16-mixed."""
    torch.manual_seed(0)
    name = {LinearRegression: "linear_regression", PCA: "pca"}.get(cls, "logistic_regression")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    results = []
    for options in (
        {},
        {"precision": "bf16-mixed"},
        {"plugins": MixedPrecision("16-mixed", "cpu", scaler)},
    ):
        model, data = zoo.create_model(name), make_data(name)
        run = trainer(max_epochs=3, limit_val_batches=0, **options)
        run.fit(model, data)
        assert run.global_step >= 1
        results.append(run.test(model, data, verbose=False)[0])
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-5)


# -- inputs ----------------------------------------------------------------------------------------


def test_class_labels_are_no_targets_of_a_regression(trainer: Trainer) -> None:
    x, y = torch.rand(8, 4), torch.arange(8) % 3
    for loop in ("fit", "test"):
        run = trainer(max_epochs=1, limit_val_batches=0)
        with pytest.raises(zoo.errors.InputError, match=r"integers.*choose a classifier"):
            getattr(run, loop)(MLPRegressor((4,), 1), Repeat((x, y)))
    assert math.isfinite(float(MLPRegressor((4,), 1).step((x, y.float()))["loss"].detach()))


@pytest.mark.parametrize("loop", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("name", ["cnn", "mlp", "vae", "autoencoder", "gan", "pca", "resnet"])
def test_integer_images_are_refused(name: str, loop: str, trainer: Trainer) -> None:
    """Images with values from 0 to 255 as uint8, as torchvision reads them."""
    model = zoo.create_model(name)
    shape = model.hparams["input_shape"]
    x, y = torch.randint(0, 256, (8, *shape), dtype=torch.uint8), torch.arange(8) % 3
    run = trainer(max_epochs=1, limit_val_batches=0 if loop == "fit" else 1)
    message = r"of a floating-point type, the data has torch.uint8: .* x.float\(\) / 255"
    with pytest.raises(zoo.errors.InputError, match=message):
        getattr(run, loop)(model, Repeat((x, y)))
