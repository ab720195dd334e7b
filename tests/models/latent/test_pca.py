"""PCA, compared with scikit-learn in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn import decomposition
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules import Digits
from zoo import PCA
from zoo.errors import InputError
from zoo.functional.moments import FactoredMoments, Moments
from zoo.models.latent.pca import fit_components, projection_error

Fit = Callable[..., PCA]
SOLVERS = ["auto", "covariance", "svd"]


@pytest.fixture
def fit(trainer: Callable[..., L.Trainer]) -> Fit:
    """Return a function that fits PCA in float64, on batches of seven."""

    def run(x: Tensor, latent_dim: int = 3, **options: Any) -> PCA:
        model = PCA(tuple(x.shape[1:]), latent_dim, **options)
        loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), 7)
        trainer(max_epochs=1, precision="64-true").fit(model, loader)
        return model.eval()

    return run


def data(samples: int = 60, features: int = 8) -> Tensor:
    """Return samples with correlated features far from zero."""
    mix = torch.randn(features, features).double()
    return 50 + torch.randn(samples, features).double() @ mix


@pytest.mark.parametrize("solver", SOLVERS)
def test_pca_equals_scikit_learn_up_to_signs(fit: Fit, solver: str) -> None:
    x = data()
    model, oracle = fit(x, solver=solver), decomposition.PCA(3).fit(x.numpy())
    with torch.no_grad():
        codes, expected = model.encode(x).numpy(), oracle.transform(x.numpy())
        signs = np.sign((codes * expected).sum(0))
        np.testing.assert_allclose(codes * signs, expected, atol=1e-6)
        components = model.components.numpy() * signs[:, None]
        np.testing.assert_allclose(components, oracle.components_, atol=1e-6)
        np.testing.assert_allclose(model.explained_variance, oracle.explained_variance_, rtol=1e-9)
        ratio = model.explained_variance_ratio
        np.testing.assert_allclose(ratio, oracle.explained_variance_ratio_, rtol=1e-9)
        np.testing.assert_allclose(model.noise_variance, oracle.noise_variance_, rtol=1e-9)
        back = oracle.inverse_transform(expected)
        np.testing.assert_allclose(model.reconstruct(x), back, atol=1e-6)
        np.testing.assert_allclose(
            model.log_prob(x), oracle.score_samples(x.numpy()), rtol=1e-6, atol=1e-6
        )


def test_errors_and_likelihoods_are_those_of_scikit_learn(fit: Fit) -> None:
    x, new = data(), data(20)
    model, oracle = fit(x), decomposition.PCA(3).fit(x.numpy())
    mse = np.square(oracle.inverse_transform(oracle.transform(x)) - x.numpy()).mean()
    assert float(model.trainer.callback_metrics["train/mse"]) == pytest.approx(mse, rel=1e-6)
    nll = -oracle.score_samples(new.numpy()).mean()
    assert float(model.step((new, None))["nll"].detach()) == pytest.approx(nll, rel=1e-6)
    largest = model.components.gather(1, model.components.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    error = np.square(oracle.inverse_transform(oracle.transform(new)) - new.numpy()).mean()
    found = projection_error(new, *fit_components(x, 3, batch_size=7))
    assert float(found) == pytest.approx(error, rel=1e-6)


def test_the_triangular_factor_keeps_digits_that_the_covariance_loses(fit: Fit) -> None:
    """The last direction is ten million times smaller than the first: λ = 1e-14 next to 1."""
    turn = torch.linalg.qr(torch.randn(3, 3).double()).Q
    x = torch.randn(100, 3).double() * torch.tensor([1.0, 1e-3, 1e-7]).double() @ turn
    exact = torch.linalg.svdvals(x - x.mean(0)).square() / 99
    accurate = fit(x, 2, solver="svd").noise_variance
    rough = fit(x, 2, solver="covariance").noise_variance
    assert abs(accurate / exact[2] - 1) < 1e-6
    assert abs(rough / exact[2] - 1) > 1e-5


@pytest.mark.parametrize("kind", [Moments, FactoredMoments])
def test_moments_of_parts_are_those_of_the_whole(kind: type[Moments]) -> None:
    x = 100 + torch.randn(20, 5).double()
    first, second, third = (
        kind.from_samples(x[:2]),
        kind.from_samples(x[2:11]),
        kind.from_samples(x[11:]),
    )
    merged = first.merge(second).merge(third)
    state = {name: t.clone() for name, t in merged.state_dict().items()}
    for moments in (merged, kind.from_state_dict(state)):
        assert moments.n == 20
        torch.testing.assert_close(moments.mean, x.mean(0))
        torch.testing.assert_close(moments.scatter, 19 * x.T.cov())
        torch.testing.assert_close(moments.uncentered_scatter(), x.T @ x)


def test_the_published_error_on_digits(trainer: Callable[..., L.Trainer]) -> None:
    for dims, mse in ((2, 0.05215), (8, 0.02489), (16, 0.01218), (32, 0.00273)):
        model, digits = PCA((1, 8, 8), dims), Digits(val_size=0)
        fit = trainer(max_epochs=1)
        fit.fit(model, digits)
        (metrics,) = fit.test(model, digits, verbose=False)
        assert metrics["test/mse"] == pytest.approx(mse, abs=6e-6)


def test_samples_have_the_moments_of_the_linear_model(fit: Fit) -> None:
    x = data()
    model = fit(x)
    with torch.no_grad():
        sampled = model.sample(200_000, torch.Generator().manual_seed(0))
        expected = model.components.T * model.explained_variance @ model.components
    scale = x.T.cov().diagonal().max()
    assert (sampled.mean(0) - x.mean(0)).abs().max() < 0.02 * scale.sqrt()
    assert (sampled.T.cov() - expected).abs().max() < 0.02 * scale
    again = model.sample(5, torch.Generator().manual_seed(1))
    assert torch.equal(again, model.sample(5, torch.Generator().manual_seed(1)))


def test_a_density_exists_although_some_pixels_never_vary(fit: Fit) -> None:
    x = torch.zeros(30, 6).double()
    x[:, 0] = torch.randn(30)
    with pytest.warns(UserWarning, match=r"varies in only 1 direction\(s\): the last 1 of 2"):
        model = fit(x, 2)
    assert model.log_prob(x).isfinite().all()
    assert (model.sample(10)[:, 1:].abs() < 1e-6).all()


@pytest.mark.parametrize("dims", [6, 7])
def test_latent_dim_must_be_smaller_than_a_sample(dims: int) -> None:
    with pytest.raises(ValueError, match=f"latent_dim={dims} is not smaller than a sample"):
        PCA((6,), dims)


def test_invalid_arguments_and_data(fit: Fit) -> None:
    with pytest.raises(ValueError, match="unknown solver 'qr'; choose from auto, covariance, svd"):
        PCA((6,), solver="qr")
    x = data()
    x[3, 5] = float("nan")
    with pytest.raises(InputError, match=r"feature\(s\) 5 .* contain nan"):
        fit(x)
    with pytest.raises(InputError, match="PCA needs at least two training samples"):
        fit(data(1))


def test_few_samples_of_many_features(fit: Fit) -> None:
    """The triangular factor has one row per sample: 20 × 30,000 values need 5 MB, not 7 GB."""
    torch.manual_seed(0)
    x = torch.randn(20, 3, dtype=torch.float64) @ torch.randn(3, 30_000, dtype=torch.float64)
    x = x + 0.1 * torch.randn(20, 30_000, dtype=torch.float64)
    model = fit(x, 2)
    exact = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    variance = exact.S.square() / 19
    torch.testing.assert_close(model.explained_variance, variance[:2])
    torch.testing.assert_close(model.total_variance, variance.sum())
    overlap = (model.components @ exact.Vh[:2].mT).abs()
    torch.testing.assert_close(overlap, torch.eye(2).double(), rtol=0, atol=1e-9)
    noise = variance[2:].sum() / (30_000 - 2)
    torch.testing.assert_close(model.noise_variance, noise)


def test_more_components_than_samples(fit: Fit) -> None:
    x = torch.randn(4, 12, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"varies in only 3 direction\(s\): the last 3 of 6"):
        model = fit(x, 6, solver="svd")
    unit = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(model.components @ model.components.mT, unit, rtol=0, atol=1e-10)
    torch.testing.assert_close(model.reconstruct(x), x)
