"""Callbacks that draw a supervised model: every figure from one short run, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

import callbacks
from callbacks.weights import MaximizingInputs
from datamodules import Diabetes, Digits, Toy2D, ToyCurves
from zoo import CNN, LinearRegression, MLPClassifier, PolynomialRegression, create_model
from zoo.errors import InputError

Trainer = Callable[..., L.Trainer]


def names(folder: Path) -> set[str]:
    return {p.stem for p in (folder / "figures").iterdir()}


def test_a_classifier_of_images_in_pictures(trainer: Trainer, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    drawn = [
        callbacks.ConfusionMatrix(), callbacks.Calibration(), callbacks.WeightHistograms(),
        callbacks.Filters(), callbacks.FeatureMaps(), callbacks.MaximizingInputs(steps=5),
        callbacks.Attributions(num_samples=2), callbacks.LearningCurves("accuracy"),
    ]  # fmt: skip
    model = CNN((1, 8, 8), 10, (4, 8), l1=1e-4)
    before = [m.training for m in model.modules()]
    fit = trainer(max_epochs=2, limit_train_batches=3, callbacks=drawn)
    fit.fit(model, Digits())
    fit.test(model, Digits(), verbose=False)  # in inference mode, where gradients need care
    assert names(tmp_path) == {
        "confusion_matrix", "calibration", "weight_histograms", "filters", "feature_maps",
        "maximizing_inputs", "attributions", "learning_curves_accuracy",
    }  # fmt: skip
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert len(before) == len([m.training for m in model.modules()])


def test_learning_curves_pair_each_epoch_with_its_own_numbers(
    trainer: Trainer, tmp_path: Path
) -> None:
    curves = callbacks.LearningCurves("accuracy")

    class Seen(L.Callback):
        rows: list[tuple[int, float]] = []  # noqa: RUF012

        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            metrics = trainer.callback_metrics
            if "train/accuracy" in metrics:
                self.rows.append((trainer.current_epoch - 1, float(metrics["train/accuracy"])))

    fit = trainer(max_epochs=3, limit_train_batches=2, callbacks=[curves, Seen()])
    fit.fit(MLPClassifier((1, 8, 8), 10, (8,)), Digits())
    assert [epoch for epoch, _, _ in curves.history] == [0, 1, 2]
    assert [(e, t) for e, t, _ in curves.history[:2]] == Seen.rows
    final = float(fit.callback_metrics["train/accuracy"])
    assert curves.history[-1][1] == final
    again = callbacks.LearningCurves("accuracy")
    again.load_state_dict(curves.state_dict())
    assert again.history == curves.history


@pytest.mark.parametrize("layer", [None, "network.1.0", "network.2.0.1"])
def test_maximizing_inputs_raise_their_units_and_leave_the_model_alone(layer: str | None) -> None:
    torch.manual_seed(0)
    model = CNN((1, 8, 8), 10, (4, 8)).eval()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.rand(1, 1, 8, 8)
    units = None if layer is None else [3, 1]
    few, many = (MaximizingInputs(layer, units, steps, 0.0).ascend(model, x) for steps in (1, 60))
    assert many[2] == (units or list(range(10)))
    assert (many[1] > few[1]).all()
    assert 0 <= float(many[0].min()) <= float(many[0].max()) <= 1
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_a_unit_of_a_convolution_wants_its_own_kernel() -> None:
    """The mean answer of a linear filter is largest where each pixel takes the sign's end."""
    model = CNN((1, 8, 8), 10, (4,), normalization="none").eval()
    with torch.no_grad():
        kernel = torch.zeros(1, 3, 3)
        kernel[0, 1, 1] = 1.0
        model.network[1][0].weight[2] = -kernel
    images, _, _ = MaximizingInputs("network.1.0", [2], 200, 0.0).ascend(
        model, torch.rand(1, 1, 8, 8)
    )
    assert images.max() < 0.1  # a negative identity wants black


def test_units_and_layers_that_do_not_exist() -> None:
    model, x = CNN((1, 8, 8), 10, (4, 8)).eval(), torch.rand(1, 1, 8, 8)
    with pytest.raises(InputError, match="there is no unit 12 among 10"):
        MaximizingInputs(units=[12]).ascend(model, x)
    with pytest.raises(InputError, match=r"no layer is called 'network\.9'"):
        MaximizingInputs("network.9").ascend(model, x)


def test_smoothness_makes_smoother_images() -> None:
    torch.manual_seed(0)
    model = CNN((1, 8, 8), 10, (4, 8)).eval()
    x = torch.rand(1, 1, 8, 8)
    rough, smooth = (
        MaximizingInputs(steps=60, smoothness=s).ascend(model, x)[0].diff(dim=-1).abs().mean()
        for s in (0.0, 20.0)
    )
    assert smooth < 0.7 * rough


def test_regression_and_the_plane(trainer: Trainer, tmp_path: Path) -> None:
    cases = [
        (PolynomialRegression((1,), 1), ToyCurves(), callbacks.FittedCurve()),
        (LinearRegression((10,), 1), Diabetes(), callbacks.FittedCurve()),
        (create_model("mlp", data="toy_2d"), Toy2D(), callbacks.DecisionBoundary()),
    ]
    for number, (model, data, callback) in enumerate(cases):
        root = tmp_path / str(number)
        fit = trainer(max_epochs=1, callbacks=[callback], default_root_dir=root)
        fit.fit(model, data)
        assert (root / "figures" / f"{callback.name}.png").stat().st_size > 5_000


def test_an_ensembles_band(trainer: Trainer, tmp_path: Path) -> None:
    from zoo import DeepEnsembleRegressor

    data = ToyCurves()
    model = DeepEnsembleRegressor(
        (1,), 1, 2, target_mean=data.target_mean, member_settings={"hidden_dims": (8,)}
    )
    trainer(max_epochs=1, callbacks=[callbacks.FittedCurve()]).fit(model, data)
    assert names(tmp_path) == {"fitted_curve"}


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (callbacks.DecisionBoundary(), "needs two features, the data has 64"),
        (callbacks.FeatureMaps("nothing*"), "no layer called 'nothing\\*' makes feature maps"),
        (callbacks.WeightHistograms("wheel*"), "no weight is called 'wheel\\*'"),
    ],
)
def test_what_cannot_be_drawn(trainer: Trainer, callback: L.Callback, message: str) -> None:
    model = MLPClassifier((1, 8, 8), 10, (8,))
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=1, limit_train_batches=1, callbacks=[callback]).fit(model, Digits())


def test_filters_of_a_fully_connected_layer_need_images(trainer: Trainer, tmp_path: Path) -> None:
    fit = trainer(max_epochs=1, limit_train_batches=1, callbacks=[callbacks.Filters()])
    fit.fit(MLPClassifier((1, 8, 8), 10, (70,)), Digits())
    assert names(tmp_path) == {"filters"}
    with pytest.raises(ValueError, match="Filters needs images"):
        trainer(max_epochs=1, callbacks=[callbacks.Filters()]).fit(
            MLPClassifier((2,), 2, (8,)), Toy2D()
        )


def test_attributions_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "captum", None)
        patch.setitem(sys.modules, "captum.attr", None)
        with pytest.raises(ValueError, match="Attributions needs captum: pip install"):
            callbacks.Attributions()
    pytest.importorskip("captum")
    with pytest.raises(ValueError, match=r"captum.attr has no 'Guess'"):
        callbacks.Attributions("Guess")
