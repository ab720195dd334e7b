"""Figure callbacks of supervised models: figures of a short run, pruning, invalid settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

import callbacks
from callbacks.weights import ActivationMaximization, _penalties
from datamodules import Diabetes, Digits, Iris, Toy2D, ToyCurves
from zoo import CNN, LinearRegression, MLPClassifier, PolynomialRegression, create_model, plots
from zoo.errors import InputError

Trainer = Callable[..., L.Trainer]


def names(folder: Path) -> set[str]:
    return {p.stem for p in (folder / "figures").iterdir()}


def test_figures_of_an_image_classifier(trainer: Trainer, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    drawn = [
        callbacks.ConfusionMatrix(), callbacks.Calibration(), callbacks.WeightHistograms(),
        callbacks.Filters(), callbacks.FeatureMaps(), callbacks.ActivationMaximization(steps=5),
        callbacks.Attributions(num_samples=2), callbacks.LearningCurves("accuracy"),
    ]  # fmt: skip
    model = CNN((1, 8, 8), 10, (4, 8), l1=1e-4)
    before = [m.training for m in model.modules()]
    fit = trainer(max_epochs=2, limit_train_batches=3, callbacks=drawn)
    fit.fit(model, Digits())
    fit.test(model, Digits(), verbose=False)  # in inference mode, where gradients must be enabled
    assert names(tmp_path) == {
        "confusion_matrix", "calibration", "weight_histograms", "filters", "feature_maps",
        "activation_maximization", "attributions", "learning_curves_accuracy",
    }  # fmt: skip
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert before == [m.training for m in model.modules()]


def test_figures_use_the_class_names_of_the_data(trainer: Trainer) -> None:
    callback, data = callbacks.ConfusionMatrix(), Iris()
    trainer(max_epochs=1, callbacks=[callback]).fit(MLPClassifier((4,), 3, (8,)), data)
    assert callback.class_names(3) == list(data.class_names)
    assert callback.class_names(5) == ["0", "1", "2", "3", "4"]
    assert callbacks.ConfusionMatrix().class_names(2) == ["0", "1"]  # without a data module


def test_learning_curves_pair_each_epoch_with_its_own_values(
    trainer: Trainer, tmp_path: Path
) -> None:
    curves = callbacks.LearningCurves("accuracy")
    seen: list[tuple[int, float]] = []

    class Recorder(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            metrics = trainer.callback_metrics
            if "train/accuracy" in metrics:
                seen.append((trainer.current_epoch - 1, float(metrics["train/accuracy"])))

    fit = trainer(max_epochs=3, limit_train_batches=2, callbacks=[curves, Recorder()])
    fit.fit(MLPClassifier((1, 8, 8), 10, (8,)), Digits())
    assert [epoch for epoch, _, _ in curves.history] == [0, 1, 2]
    assert [(e, t) for e, t, _ in curves.history[:2]] == seen
    final = float(fit.callback_metrics["train/accuracy"])
    assert curves.history[-1][1] == final
    again = callbacks.LearningCurves("accuracy")
    again.load_state_dict(curves.state_dict())
    assert again.history == curves.history


@pytest.mark.parametrize("layer", [None, "network.1.0", "network.2.0.1"])
def test_activation_maximization_raises_activations_and_keeps_the_model(layer: str | None) -> None:
    torch.manual_seed(0)
    model = CNN((1, 8, 8), 10, (4, 8)).eval()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.rand(1, 1, 8, 8)
    units = None if layer is None else [3, 1]
    few, many = (
        ActivationMaximization(layer, units, steps, 0.0).maximize(model, x) for steps in (1, 60)
    )
    assert many[2] == (units or list(range(10)))
    assert (many[1] > few[1]).all()
    assert 0 <= float(many[0].min()) <= float(many[0].max()) <= 1
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_activation_maximization_by_its_formula() -> None:
    """Adam on λ |a| Σ TV − Σ a, where a is the mean over a feature map and the pixels are σ(v)."""
    model = CNN((2, 8, 8), 10, (4,)).double().eval()
    images, activations, _ = ActivationMaximization("network.1.0", [3, 1], 6, 5.0).maximize(
        model, torch.rand(1, 2, 8, 8).double()
    )
    noise = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    v = torch.special.logit(0.475 + 0.05 * noise).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=0.1)

    def means() -> torch.Tensor:
        maps = model.network[1][0](model.network[0](v.sigmoid()))
        return torch.stack([maps[0, 3].mean(), maps[1, 1].mean()])

    for _ in range(6):
        x, a = v.sigmoid(), means()
        differences = [x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]]
        variation = sum(d.abs().mean() for d in differences)
        loss = 5.0 * a.detach().abs().sum() * variation - a.sum()
        (v.grad,) = torch.autograd.grad(loss, v)
        optimizer.step()
    torch.testing.assert_close(images, v.sigmoid().detach())
    torch.testing.assert_close(activations, means().detach())


def test_penalties_that_histograms_draw() -> None:
    hparams = {"l1": 0.1, "l2": {"network.1.*": 0.2, "*bias": 0.0}, "lp": 0.3, "p": 0.7}
    assert _penalties(hparams) == {
        "0.1 |w|^1": (0.1, 1.0),
        "0.2 |w|^2 on network.1.*": (0.2, 2.0),
        "0.3 |w|^0.7": (0.3, 0.7),
    }


def test_attributions_to_the_predicted_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Input times gradient of the predicted class's logit, summed over channels."""
    pytest.importorskip("captum")
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "attribution_maps", lambda *arguments: drawn.append(arguments))
    model = CNN((3, 8, 8), 10, (4,)).eval()
    x = torch.rand(5, 3, 8, 8, requires_grad=True)
    logits = model(x)
    predicted = logits.argmax(1)
    callback = callbacks.Attributions("InputXGradient")
    monkeypatch.setattr(callback, "class_names", lambda count: [str(k) for k in range(count)])
    callback.draw(model, x.detach(), (predicted + 1) % 10)
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), x)
    torch.testing.assert_close(drawn[0][1], (x * gradient).sum(1).detach())


def test_a_negative_kernel_is_maximized_by_a_black_image() -> None:
    """The mean activation of a linear filter is largest at the limits of the pixel values."""
    model = CNN((1, 8, 8), 10, (4,), normalization="none").eval()
    with torch.no_grad():
        identity = torch.zeros(1, 3, 3)
        identity[0, 1, 1] = 1.0
        model.network[1][0].weight[2] = -identity
    images, _, _ = ActivationMaximization("network.1.0", [2], 200, 0.0).maximize(
        model, torch.rand(1, 1, 8, 8)
    )
    assert images.max() < 0.1


def test_unknown_units_and_layers_are_rejected() -> None:
    model, x = CNN((1, 8, 8), 10, (4, 8)).eval(), torch.rand(1, 1, 8, 8)
    with pytest.raises(InputError, match=r"units must be from 0 to 9, got \[12\]"):
        ActivationMaximization(units=[12]).maximize(model, x)
    with pytest.raises(InputError, match=r"the model has no layer 'network\.9'"):
        ActivationMaximization("network.9").maximize(model, x)


def test_smoothness_reduces_the_total_variation() -> None:
    torch.manual_seed(0)
    model = CNN((1, 8, 8), 10, (4, 8)).eval()
    x = torch.rand(1, 1, 8, 8)
    rough, smooth = (
        ActivationMaximization(steps=60, smoothness=s)
        .maximize(model, x)[0]
        .diff(dim=-1)
        .abs()
        .mean()
        for s in (0.0, 20.0)
    )
    assert smooth < 0.7 * rough


def test_regression_and_decision_boundary(trainer: Trainer, tmp_path: Path) -> None:
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


def test_the_band_of_an_ensemble(trainer: Trainer, tmp_path: Path) -> None:
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
        (
            callbacks.FeatureMaps("nothing*"),
            "no layer that matches 'nothing\\*' has feature maps",
        ),
        (callbacks.WeightHistograms("wheel*"), "no weight matches 'wheel\\*'"),
    ],
)
def test_models_and_settings_that_do_not_fit_are_rejected(
    trainer: Trainer, callback: L.Callback, message: str
) -> None:
    model = MLPClassifier((1, 8, 8), 10, (8,))
    with pytest.raises(InputError, match=message):
        trainer(max_epochs=1, limit_train_batches=1, callbacks=[callback]).fit(model, Digits())


def test_filters_of_a_fully_connected_layer_need_images(trainer: Trainer, tmp_path: Path) -> None:
    fit = trainer(max_epochs=1, limit_train_batches=1, callbacks=[callbacks.Filters()])
    fit.fit(MLPClassifier((1, 8, 8), 10, (70,)), Digits())
    assert names(tmp_path) == {"filters"}
    with pytest.raises(InputError, match="Filters needs images"):
        trainer(max_epochs=1, callbacks=[callbacks.Filters()]).fit(
            MLPClassifier((2,), 2, (8,)), Toy2D()
        )


def test_attributions_name_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "captum", None)
        patch.setitem(sys.modules, "captum.attr", None)
        with pytest.raises(InputError, match="Attributions needs captum: pip install"):
            callbacks.Attributions()
    pytest.importorskip("captum")
    with pytest.raises(InputError, match=r"captum.attr has no method 'Guess'"):
        callbacks.Attributions("Guess")


def test_weights_without_a_gradient_are_pruned_first(trainer: Trainer) -> None:
    """The loss does not depend on them, so their sensitivity is 0."""

    class WithUnusedLayer(MLPClassifier):
        def build(self) -> None:
            super().build()
            self.unused = torch.nn.Linear(8, 37)

    model = WithUnusedLayer((1, 8, 8), 10, (8,), dropout=0.0, input_dropout=0.0)
    callback = callbacks.SensitivityPruning([0.5], start_epoch=1, every_n_epochs=1)
    trainer(max_epochs=1, callbacks=[callback]).fit(model, Digits())
    assert (model.unused.weight == 0).all()
    assert (model.network[3].weight != 0).any()


def test_explained_variance_needs_a_pca() -> None:
    callback = callbacks.ExplainedVariance()
    with pytest.raises(InputError, match="ExplainedVariance needs a PCA, got CNN: leave"):
        callback.setup(L.Trainer(logger=False), CNN((1, 8, 8), 10), "fit")
