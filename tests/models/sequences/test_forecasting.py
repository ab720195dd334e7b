"""Forecasters: decomposition, patches, window normalization, variances, learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from datamodules import Brownian
from zoo import DLinear, Forecaster
from zoo.cli.commands.reproduce import last_value
from zoo.networks.sequence_network import LAYER_TYPES

SIZES: dict[str, Any] = {"num_series": 3, "lookback": 30, "horizon": 5}


def make(**options: Any) -> Forecaster:
    settings = {"dim": 16, "layers": 1, "heads": 2, "patch_size": 8, "stride": 4, "init_std": 0.2}
    return Forecaster(**(SIZES | settings | options)).double().eval()


def series(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 30, 3, dtype=torch.float64).cumsum(1)


def test_dlinear_is_a_sum_of_two_linear_maps() -> None:
    model = DLinear(**SIZES, kernel_size=5).double()
    torch.nn.init.normal_(model.weight)
    torch.nn.init.normal_(model.bias)
    x = series()
    padded = torch.cat([x[:, :1].expand(-1, 2, -1), x, x[:, -1:].expand(-1, 2, -1)], 1)
    trend = torch.stack([padded[:, i : i + 5].mean(1) for i in range(30)], 1)
    torch.testing.assert_close(model.trend(x.mT).mT, trend)
    expected = torch.einsum("blc,lh->bhc", trend, model.weight[0, 0])
    expected = expected + torch.einsum("blc,lh->bhc", x - trend, model.weight[1, 0])
    expected = expected + model.bias.sum((0, 1))[0][None, :, None]
    torch.testing.assert_close(model(x), expected)


def test_dlinear_initially_forecasts_the_mean_of_the_past() -> None:
    model, x = DLinear(**SIZES).double(), series()
    torch.testing.assert_close(model(x), x.mean(1, keepdim=True).expand(-1, 5, -1))
    individual = DLinear(**SIZES, individual=True)
    assert sum(p.numel() for p in individual.parameters()) == 3 * sum(
        p.numel() for p in model.parameters()
    )


def test_bad_kernel_sizes() -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd, got 24"):
        DLinear(**SIZES, kernel_size=24)
    with pytest.raises(ValueError, match="kernel_size must be at least 1, got -1"):
        DLinear(**SIZES, kernel_size=-1)


def test_patches_cover_the_past_and_repeat_the_last_value() -> None:
    model = make(lookback=29)
    x = torch.arange(29.0)[None, :, None].double()
    patches = model.patches(x)[0]
    assert patches.shape == (7, 8)
    assert patches[0].tolist() == list(range(8))
    assert patches[-1].tolist() == [24, 25, 26, 27, 28, 28, 28, 28]


@pytest.mark.parametrize("layer_type", LAYER_TYPES)
@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("predict_variance", [True, False])
def test_shapes(layer_type: str, independent: bool, predict_variance: bool) -> None:
    model = make(
        layer_type=layer_type, channel_independent=independent, predict_variance=predict_variance
    )
    x = series()
    mean, variance = model.moments(x)
    assert mean.shape == (4, 5, 3)
    assert (variance is not None) == predict_variance
    if variance is not None:
        assert variance.shape == (4, 5, 3)
        assert bool((variance > 0).all())
    parts = model.step((x, torch.zeros(4, 5, 3).double()))
    assert ("nll" in parts) == ("coverage_90" in parts) == predict_variance


def test_independent_series_do_not_influence_each_other() -> None:
    model, x = make(), series()
    changed = x.clone()
    changed[..., 1] = torch.randn(4, 30, dtype=torch.float64)
    torch.testing.assert_close(model(changed)[..., [0, 2]], model(x)[..., [0, 2]])
    dependent = make(channel_independent=False)
    assert (dependent(changed) - dependent(x))[..., 0].abs().max() > 1e-6


def test_a_window_in_other_units_gives_the_forecast_in_those_units() -> None:
    x = series()
    scale, shift = torch.tensor([2.0, 0.5, 30.0]).double(), torch.tensor([1.0, -8.0, 5.0]).double()
    model = make(predict_variance=True)
    mean, variance = model.moments(x)
    scaled_mean, scaled_variance = model.moments(scale * x + shift)
    assert variance is not None
    assert scaled_variance is not None
    torch.testing.assert_close(scaled_mean, scale * mean + shift, rtol=1e-3, atol=1e-3)
    expected = scale.square() * variance
    torch.testing.assert_close(scaled_variance, expected, rtol=1e-2, atol=1e-6)
    last = make(window_normalization="last")
    torch.testing.assert_close(last(x + shift), last(x) + shift)
    plain = make(window_normalization="none")
    assert (plain(x + shift) - plain(x) - shift).abs().max() > 0.1


def test_errors_are_means_over_steps_and_series() -> None:
    for model in (make(), DLinear(**SIZES).double()):
        x, y = series(), 10 + series()[:, :5]
        parts, found = model.step((x, y)), model(x)
        torch.testing.assert_close(parts["mse"], ((found - y) ** 2).sum() / 60)
        torch.testing.assert_close(parts["loss"], parts["mse"])
        torch.testing.assert_close(parts["mae"], (found - y).abs().sum() / 60)
        torch.testing.assert_close(parts["naive_mse"], ((x[:, 29:] - y) ** 2).sum() / 60)
        torch.testing.assert_close(parts["outputs"], (found.detach(), y))


def test_predicted_columns_are_in_the_units_of_the_data() -> None:
    mean = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])  # windows, steps
    std = torch.tensor([10.0, 100.0], dtype=torch.float64)
    data = SimpleNamespace(
        series_names=["a", "b"], series_std=std, to_original_units=lambda values: values * std + 1
    )
    outputs = {"forecast": mean, "variance": mean.square()}
    assert DLinear(2, 30, 2).prediction_columns(outputs, data) == {
        "sample": [0, 0, 1, 1], "step": [1, 2, 1, 2],
        "a": [11, 31, 51, 71], "b": [201, 401, 601, 801],
        "std(a)": [10, 30, 50, 70], "std(b)": [200, 400, 600, 800],
    }  # fmt: skip


@pytest.mark.parametrize("normalization", ["window", "last", "none"])
def test_the_forecast_in_the_units_of_the_window(normalization: str) -> None:
    """The network gets (x − m) / s and outputs a mean and, by softplus, a variance in that unit."""
    model = make(window_normalization=normalization, predict_variance=True)
    heads: list[torch.Tensor] = []
    pasts: list[torch.Tensor] = []
    model.head.register_forward_hook(lambda *arguments: heads.append(arguments[2]))
    model.embedding.register_forward_pre_hook(lambda _, inputs: pasts.append(inputs[0]))
    x = series() + 100
    mean, variance = model.moments(x)
    assert variance is not None
    center = {"window": x.mean(1), "last": x[:, -1], "none": torch.zeros(4, 3).double()}
    scale = torch.ones(4, 3).double()
    if normalization == "window":
        scale = (x - x.mean(1, keepdim=True)).square().mean(1).sqrt() + 1e-5
    m, s = center[normalization][:, None], scale[:, None]
    past = ((x - m) / s).mT.flatten(0, 1)  # (B·C, L)
    torch.testing.assert_close(pasts[0][:, 0], past[:, :8])
    out = heads[0].view(4, 3, 2, 5).permute(2, 0, 3, 1)
    torch.testing.assert_close(mean, m + s * out[0])
    torch.testing.assert_close(variance, s**2 * ((1 + out[1].exp()).log() + 1e-5))


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    model = make(predict_variance=True)
    x, y = series(), series()[:, :5]
    mean, variance = model.moments(x)
    assert variance is not None
    expected = -torch.distributions.Normal(mean, variance.sqrt()).log_prob(y).mean()
    parts = model.step((x, y))
    torch.testing.assert_close(parts["nll"], expected)
    torch.testing.assert_close(parts["loss"], expected)


def test_coverage_is_the_fraction_of_values_in_the_interval() -> None:
    model = make(predict_variance=True)
    x = series()
    mean, variance = model.moments(x)
    assert variance is not None
    offset = torch.full_like(mean, 1.6)  # in standard deviations; the interval ends at 1.645
    offset[0, :3] = 1.7
    offset[0, 3:] = -1.7
    parts = model.step((x, mean + offset * variance.sqrt()))
    assert float(parts["coverage_90"]) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"window_normalization": "revin"},
            "unknown window_normalization 'revin'; choose from window, last, none",
        ),
        ({"patch_size": 31}, "patch_size must not exceed lookback, got patch_size=31"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_targets_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"forecasts \(4, 5, 3\) and targets \(4, 6, 3\)"):
        make().step((series(), torch.zeros(4, 6, 3).double()))


@pytest.mark.parametrize("name", ["dlinear", "forecaster"])
def test_nothing_beats_the_last_value_on_brownian_motion(
    name: str, trainer: Callable[..., L.Trainer]
) -> None:
    data = Brownian(num_paths=3000, lookback=16, horizon=4, batch_size=128)
    sizes: dict[str, Any] = {"num_series": 3, "lookback": 16, "horizon": 4, "lr": 3e-3}
    model: DLinear | Forecaster = (
        DLinear(**sizes)
        if name == "dlinear"
        else Forecaster(
            **sizes, dim=16, layers=1, heads=2, patch_size=4, stride=4, window_normalization="last"
        )
    )
    trainer(max_epochs=6).fit(model, data)
    (metrics,) = trainer().test(model, data, verbose=False)
    x, y = data.split("test")
    errors = (y - x[:, -1:]).square().mean((1, 2))
    noise = float(errors.std() / len(errors) ** 0.5)
    assert metrics["test/naive_mse"] == pytest.approx(float(errors.mean()), rel=1e-5)
    assert metrics["test/naive_mse"] == pytest.approx(data.best_mse, abs=4 * noise)
    assert metrics["test/mse"] > metrics["test/naive_mse"] - 0.5 * noise
    if name == "forecaster":  # its forecasts start at the last value, with nothing to learn
        assert metrics["test/mse"] < 1.1 * metrics["test/naive_mse"]


@pytest.mark.parametrize("model", ["dlinear", "forecaster"])
def test_sums_of_sines_are_forecast_up_to_the_noise(model: str, run: Callable[..., Path]) -> None:
    folder = run(f"--model={model}", "--trainer.max_epochs=3")
    mse, naive = (
        last_value(folder / "metrics.csv", f"test/{name}") for name in ("mse", "naive_mse")
    )
    assert mse < 0.3 < naive
