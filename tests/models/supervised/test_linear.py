"""Linear models against scikit-learn and closed forms, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn import linear_model
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules import BreastCancer, Diabetes
from zoo import LinearRegression, LogisticRegression, PolynomialRegression
from zoo.errors import InputError
from zoo.functional.linear import fista

Fit = Callable[..., Any]


@pytest.fixture
def fit(trainer: Callable[..., L.Trainer]) -> Fit:
    """Return a function that trains in float64, by default on batches of seven samples."""

    def run(model: L.LightningModule, x: Tensor, y: Tensor, epochs: int = 1, size: int = 7) -> Any:
        fitting = trainer(max_epochs=epochs, precision="64-true")
        fitting.fit(model, DataLoader(TensorDataset(x, y), size))
        return fitting

    return run


def regression(samples: int = 50, features: int = 6, targets: int = 2) -> tuple[Tensor, Tensor]:
    """Return features far from zero, like temperatures in kelvin, and targets."""
    x = torch.randn(samples, features).double() + 100
    return x, x @ torch.randn(features, targets).double() + torch.randn(samples, targets).double()


def weights(model: Any) -> tuple[np.ndarray, np.ndarray]:
    return model.network.weight.detach().numpy(), model.network.bias.detach().numpy()


# -- least squares -------------------------------------------------------------------------------


def test_closed_form_equals_scikit_learn(fit: Fit) -> None:
    x, y = regression()
    model = LinearRegression((6,), 2)
    fit(model, x, y)
    oracle = linear_model.LinearRegression().fit(x, y)
    np.testing.assert_allclose(weights(model)[0], oracle.coef_, atol=1e-9)
    np.testing.assert_allclose(weights(model)[1], oracle.intercept_, atol=1e-9)


def test_without_intercept(fit: Fit) -> None:
    x, y = regression()
    model = LinearRegression((6,), 2, intercept=False)
    fit(model, x, y)
    oracle = linear_model.LinearRegression(fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(model.network.weight.detach().numpy(), oracle.coef_, atol=1e-9)


def test_ridge_equals_scikit_learn(fit: Fit) -> None:
    x, y = regression()
    model = LinearRegression((6,), 2, l2=0.01)
    fit(model, x, y)
    oracle = linear_model.Ridge(alpha=0.01 * 50 * 2).fit(x, y)
    np.testing.assert_allclose(weights(model)[0], oracle.coef_, atol=1e-9)
    np.testing.assert_allclose(weights(model)[1], oracle.intercept_, atol=1e-7)


def test_lasso_equals_scikit_learn_with_the_same_zeros(fit: Fit) -> None:
    x, y = regression(targets=1)
    model = LinearRegression((6,), 1, l1=0.5, solver="fista")
    fit(model, x, y)
    oracle = linear_model.Lasso(alpha=0.25, tol=1e-14, max_iter=100_000).fit(x, y[:, 0])
    found = weights(model)[0][0]
    np.testing.assert_allclose(found, oracle.coef_, atol=1e-9)
    assert 0 < (found == 0).sum() < 6
    assert ((found == 0) == (oracle.coef_ == 0)).all()


def test_lasso_of_several_targets(fit: Fit) -> None:
    """The mean is over samples and targets: each target's penalty is l1 times their number."""
    x, y = regression(targets=3)
    x = x - 100
    model = LinearRegression((6,), 3, l1=0.2, solver="fista")
    fit(model, x, y)
    for row, target in zip(weights(model)[0], y.T, strict=True):
        oracle = linear_model.Lasso(alpha=0.3, tol=1e-14, max_iter=100_000).fit(x, target)
        np.testing.assert_allclose(row, oracle.coef_, atol=1e-9)


def test_elastic_net_equals_scikit_learn(fit: Fit) -> None:
    x, y = regression(targets=1)
    model = LinearRegression((6,), 1, l1=0.4, l2=0.3, solver="fista")
    fit(model, x, y)
    # alpha·ratio = l1/2 and alpha·(1 − ratio)/2 = l2/2
    oracle = linear_model.ElasticNet(alpha=0.5, l1_ratio=0.4, tol=1e-14, max_iter=100_000)
    np.testing.assert_allclose(weights(model)[0][0], oracle.fit(x, y[:, 0]).coef_, atol=1e-9)


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_gradient_descent_converges_to_the_closed_form(fit: Fit, l2: float) -> None:
    x, y = regression()
    x = x - 100
    exact = LinearRegression((6,), 2, l2=l2)
    fit(exact, x, y)
    descent = LinearRegression(
        (6,), 2, l2=l2, solver="gradient", optimizer="sgd", lr=0.3,
        optimizer_options={"momentum": 0.0},
    )  # fmt: skip
    fit(descent, x, y, epochs=600, size=50)
    torch.testing.assert_close(descent.network.weight, exact.network.weight, atol=1e-9, rtol=0)
    torch.testing.assert_close(descent.network.bias, exact.network.bias, atol=1e-9, rtol=0)


def test_an_lp_penalty_lowers_the_objective_of_least_squares(fit: Fit) -> None:
    x, y = regression(targets=1)
    x, y = x - 100, y - y.mean()

    def objective(model: Any) -> float:
        w = model.network.weight.detach()
        return float((model(x) - y).detach().square().mean() + 0.5 * w.abs().sqrt().sum())

    exact, penalized = (
        LinearRegression((6,), 1),
        LinearRegression((6,), 1, solver="gradient", lp=0.5, p=0.5, lr=0.02, schedule="linear"),
    )
    fit(exact, x, y)
    fitting = fit(penalized, x, y, epochs=400, size=50)
    assert objective(penalized) < 0.97 * objective(exact)
    final = fitting.callback_metrics["train/loss"]
    assert final == pytest.approx(objective(penalized), rel=0.02)


def test_dependent_columns_give_the_solution_of_minimum_norm(fit: Fit) -> None:
    x, y = regression()
    x = torch.cat([x, x[:, :1] + x[:, 1:2], torch.full((50, 1), 3.0).double()], dim=1)
    model = LinearRegression((8,), 2)
    with pytest.warns(UserWarning, match="50 samples determine only 6 of 8 directions"):
        fit(model, x, y)
    oracle = linear_model.LinearRegression().fit(x, y)  # lstsq: minimum norm
    np.testing.assert_allclose(weights(model)[0], oracle.coef_, atol=1e-8)
    np.testing.assert_allclose(weights(model)[1], oracle.intercept_, atol=1e-6)


def test_fewer_samples_than_features(fit: Fit) -> None:
    x, y = regression(samples=5, features=9, targets=1)
    model = LinearRegression((9,), 1)
    with pytest.warns(UserWarning, match="5 samples determine only 4 of 9 directions"):
        fit(model, x, y)
    assert torch.allclose(model(x), y, atol=1e-8)
    # scikit-learn before 1.7 does not find the shortest solution
    shortest = np.linalg.pinv((x - x.mean(0)).numpy(), rcond=1e-12) @ (y - y.mean(0)).numpy()
    np.testing.assert_allclose(weights(model)[0], shortest.T, atol=1e-8)


def test_the_logged_loss_is_that_of_the_solution(fit: Fit) -> None:
    x, y = regression()
    model = LinearRegression((6,), 2, l2=0.01)
    fitting = fit(model, x, y)
    mse = (model(x) - y).square().mean()
    penalty = 0.01 * model.network.weight.square().sum()
    assert fitting.callback_metrics["train/mse"] == pytest.approx(mse.item(), rel=1e-6)
    assert fitting.callback_metrics["train/loss"] == pytest.approx((mse + penalty).item(), rel=1e-6)
    assert fitting.global_step == 1


def test_closed_form_stops_after_one_pass(fit: Fit) -> None:
    x, y = regression()
    assert fit(LinearRegression((6,), 2), x, y, epochs=9).current_epoch == 1


def test_nan_in_a_column_is_named(fit: Fit) -> None:
    x, y = regression()
    x[3, 2] = float("nan")
    with pytest.raises(InputError, match=r"feature\(s\) 2 .* contain nan"):
        fit(LinearRegression((6,), 2), x, y)
    y[4, 1] = float("inf")
    with pytest.raises(InputError, match=r"target\(s\) 1 .* contain nan or infinite"):
        fit(LinearRegression((6,), 2), torch.ones(50, 6).double(), y)
    with pytest.raises(InputError, match=r"feature\(s\) 2 .* contain nan"):
        fit(LogisticRegression((6,), 2), x, (y[:, 0] > y[:, 0].mean()).long())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "qr"}, "unknown solver 'qr'; choose from closed_form, fista, gradient"),
        ({"l1": 0.1}, "solver='closed_form' does not support l1: choose solver='gradient'"),
        ({"lp": 0.1, "solver": "fista"}, "solver='fista' does not support lp"),
        ({"l2": {"*": 0.1}}, "takes one number for l2"),
    ],
)
def test_solvers_refuse_what_they_do_not_support(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearRegression((6,), 1, **options)


def test_targets_of_a_wrong_shape_are_not_broadcast() -> None:
    model = LinearRegression((6,), 2)
    with pytest.raises(ValueError, match=r"targets have shape \(5, 1\), predictions \(5, 2\)"):
        model.step((torch.randn(5, 6), torch.randn(5)))


def test_fista_warns_if_it_has_not_converged(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = regression(targets=1)
    short = functools.partial(fista, max_iterations=3)
    monkeypatch.setattr("zoo.models.supervised.linear_regression.fista", short)
    with pytest.warns(UserWarning, match="FISTA reached its maximum number of iterations"):
        fit(LinearRegression((6,), 1, l1=0.1, solver="fista"), x, y)


# -- polynomials ---------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", ["raw", "orthogonal"])
def test_a_polynomial_is_recovered(fit: Fit, basis: str) -> None:
    x = torch.linspace(-1, 1, 40).double()[:, None]
    y = 1 - 2 * x + 3 * x**3
    model = PolynomialRegression((1,), 1, degree=3, basis=basis)
    fit(model, x, y)
    torch.testing.assert_close(model(x), y, atol=1e-10, rtol=0)
    if basis == "raw":
        expected = torch.tensor([[-2.0, 0.0, 3.0]]).double()
        torch.testing.assert_close(model.network.weight.detach(), expected, atol=1e-9, rtol=0)


def test_both_bases_give_the_same_function(fit: Fit) -> None:
    x = torch.rand(60, 2).double() * 4 + 1
    y = (x[:, :1] * x[:, 1:]).sin()
    fitted = []
    for basis in ("raw", "orthogonal"):
        model = PolynomialRegression((2,), 1, degree=4, basis=basis, interval=(1.0, 5.0))
        fit(model, x, y)
        fitted.append(model(x).detach())
    torch.testing.assert_close(*fitted, atol=1e-7, rtol=0)
    features = PolynomialRegression((2,), 1, degree=4, basis="raw").features(x)
    assert features.shape == (60, 14)  # C(6, 4) − 1
    torch.testing.assert_close(features[:, 3], x[:, 0] * x[:, 1])


def test_more_coefficients_than_points(fit: Fit) -> None:
    x = torch.linspace(-1, 1, 11).double()[:, None]
    y = x.sin()
    model = PolynomialRegression((1,), 1, degree=15)
    with pytest.warns(UserWarning, match="11 samples determine only 10 of 15 directions"):
        fit(model, x, y)
    assert torch.allclose(model(x), y, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "degree must be at least 1, got 0"),
        ({"basis": "fourier"}, "unknown basis 'fourier'; choose from orthogonal, raw"),
        ({"interval": (1.0, 1.0)}, "interval must go from a smaller to a larger number"),
        ({"degree": 9}, "degree 9 in 64 features makes .* choose a lower degree"),
    ],
)
def test_bad_polynomials(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolynomialRegression((64,), 1, **options)


# -- logistic regression -------------------------------------------------------------------------


def classes(count: int, samples: int = 80) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, 5).double()
    scores = x @ torch.randn(5, count).double() + 2 * torch.randn(samples, count).double()
    return x, scores.argmax(1)


@pytest.mark.parametrize("count", [2, 3])
def test_newton_equals_scikit_learn(fit: Fit, count: int) -> None:
    x, y = classes(count)
    model = LogisticRegression((5,), count, l2=0.01, tolerance=1e-13)
    fit(model, x, y, epochs=30)
    oracle = linear_model.LogisticRegression(C=1 / (2 * 80 * 0.01), tol=1e-13, max_iter=100_000)
    oracle.fit(x, y)
    np.testing.assert_allclose(weights(model)[0], oracle.coef_, atol=1e-6)
    probabilities = model(x).softmax(1).detach().numpy()
    np.testing.assert_allclose(probabilities, oracle.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_a_step_of_newtons_method(fit: Fit, count: int) -> None:
    """W ← W − H⁻¹ g from W = 0, with derivatives of the objective by automatic differentiation."""
    x, y = classes(count)
    model = LogisticRegression((5,), count, l2=0.05)
    rows = model.num_rows

    def objective(flat: Tensor) -> Tensor:
        w = flat.view(rows, 6)
        logits = x @ w[:, :5].T + w[:, 5]
        if count == 2:
            logits = torch.cat([torch.zeros(len(x), 1).double(), logits], 1)
        nll = -logits.log_softmax(1)[range(len(x)), y].mean()
        return nll + 0.05 * w[:, :5].square().sum()

    start = torch.zeros(6 * rows).double()
    gradient = torch.autograd.functional.jacobian(objective, start)
    hessian = torch.autograd.functional.hessian(objective, start)
    expected = start - torch.linalg.pinv(hessian, hermitian=True) @ gradient
    losses = [float(fit(model, x, y).callback_metrics["train/loss"])]
    torch.testing.assert_close(model._weights().detach().flatten(), expected)
    losses.append(float(fit(model, x, y).callback_metrics["train/loss"]))
    assert losses == pytest.approx([float(objective(w)) for w in (start, expected)], rel=1e-6)


def test_newtons_method_halves_steps_that_are_too_long(fit: Fit) -> None:
    """From weights so large that the Hessian is almost 0, a whole step would go far beyond."""
    x, y = classes(2)
    model = LogisticRegression((5,), 2, l2=1e-4, tolerance=1e-10)
    with torch.no_grad():
        model.network.weight.fill_(3.0)
    fit(model, x, y, epochs=60)
    oracle = linear_model.LogisticRegression(C=1 / (2 * 80 * 1e-4), tol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(weights(model)[0], oracle.fit(x, y).coef_, atol=1e-4)


@pytest.mark.parametrize("count", [2, 3])
def test_newton_stops_at_a_zero_gradient(fit: Fit, count: int) -> None:
    x, y = classes(count)
    model = LogisticRegression((5,), count, tolerance=1e-13)  # no penalty: singular for three
    fitting = fit(model, x, y, epochs=50)
    assert fitting.current_epoch < 20
    model.step((x, y))["loss"].backward()
    for parameter in model.parameters():
        assert parameter.grad.abs().max() < 1e-12


def test_gradient_descent_converges_to_newtons_solution(fit: Fit) -> None:
    x, y = classes(3)
    newton = LogisticRegression((5,), 3, l2=0.01, tolerance=1e-13)
    fit(newton, x, y, epochs=30)
    descent = LogisticRegression(
        (5,), 3, l2=0.01, solver="gradient", optimizer="lbfgs", lr=0.5,
        optimizer_options={"tolerance_grad": 1e-12, "tolerance_change": 1e-15},
    )  # fmt: skip
    fit(descent, x, y, epochs=60, size=80)
    torch.testing.assert_close(descent.network.weight, newton.network.weight, atol=1e-5, rtol=0)


def test_separable_classes_stop_training_with_a_warning(fit: Fit) -> None:
    x = torch.randn(40, 2).double()
    y = (x[:, 0] > 0).long()
    model = LogisticRegression((2,), 2)
    with pytest.warns(UserWarning, match="a plane separates the classes"):
        fitting = fit(model, x, y, epochs=200)
    assert fitting.current_epoch < 60
    assert model.network.weight.isfinite().all()


def test_newton_refuses_too_many_weights() -> None:
    with pytest.raises(ValueError, match="needs a Hessian of 7,850² entries"):
        LogisticRegression((1, 28, 28), 10)
    with pytest.raises(ValueError, match="mixup needs solver='gradient'"):
        LogisticRegression((5,), 2, mixup=0.2)


# -- resuming ------------------------------------------------------------------------------------


class KeepAt(L.Callback):
    """Save a checkpoint after a given batch of a given epoch."""

    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.epoch, self.batch = path, epoch, batch

    def on_train_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize(
    ("make", "data", "epoch"),
    [
        (lambda: LinearRegression((10,), 1), Diabetes, 0),
        (lambda: LogisticRegression((30,), 2, l2=0.001), BreastCancer, 2),
    ],
)
def test_an_interrupted_pass_resumes(
    make: Any, data: Any, epoch: int, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    whole, resumed = make(), make().double()  # Lightning restores before it converts
    keep = KeepAt(tmp_path / "kept.ckpt", epoch, 4)
    options = {"max_epochs": 6, "precision": "64-true"}
    trainer(callbacks=[keep], **options).fit(whole, data())
    fit = trainer(**options)
    fit.fit(resumed, data(), ckpt_path=tmp_path / "kept.ckpt", weights_only=True)
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
