"""Latent models with a known optimum: linear autoencoders and linear-Gaussian VAEs."""

from __future__ import annotations

import math
from collections.abc import Callable

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from zoo import IWAE, PCA, VAE, Autoencoder
from zoo.functional.likelihoods import log_mean_exp

Trainer = Callable[..., L.Trainer]
DIMS = 2


def data(samples: int = 80, features: int = 5) -> Tensor:
    mix = torch.randn(features, features).double()
    return torch.randn(samples, features).double() @ mix + torch.arange(features).double()


@pytest.fixture
def fitted(trainer: Trainer) -> tuple[PCA, Tensor]:
    """A PCA in float64, and the data that it was fitted to."""
    x = data()
    model = PCA((x.shape[1],), DIMS)
    loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), 20)
    trainer(max_epochs=1, precision="64-true").fit(model, loader)
    return model.eval(), x


# -- linear autoencoder ------------------------------------------------------------------------


def test_a_linear_autoencoder_never_beats_pca_and_converges_to_it(
    fitted: tuple[PCA, Tensor], trainer: Trainer
) -> None:
    pca, x = fitted
    with torch.no_grad():
        least = (pca.reconstruct(x) - x).square().mean()
    model = Autoencoder((5,), DIMS, hidden_dims=(), output="identity", optimizer="lbfgs", lr=1.0,
                        optimizer_options={"max_iter": 20})  # fmt: skip
    errors: list[Tensor] = []

    class RecordError(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            with torch.no_grad():
                errors.append((model.reconstruct(x) - x).square().mean())

    loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), len(x))
    trainer(max_epochs=40, precision="64-true", callbacks=[RecordError()]).fit(model, loader)
    assert all(error >= least - 1e-12 for error in errors)
    torch.testing.assert_close(errors[-1], least, rtol=1e-6, atol=0)
    # the codes span the same subspace: each is a linear function of the other
    with torch.no_grad():
        ours, theirs = model.encode(x), pca.encode(x)
    ours = torch.cat([ours, torch.ones(len(x), 1).double()], 1)
    residual = theirs - ours @ torch.linalg.lstsq(ours, theirs).solution
    assert residual.abs().max() < 1e-3 * theirs.std()


# -- linear-Gaussian VAE -----------------------------------------------------------------------


def optimal_vae(pca: PCA, model: VAE) -> VAE:
    """Set the weights of a linear VAE such that q(z|x) is the posterior of probabilistic PCA.

    x = W z + μ + σ ε with W = Uᵀ(Λ − σ²)^½ has the posterior N(M⁻¹Wᵀ(x − μ), σ² M⁻¹),
    M = WᵀW + σ² = Λ, which is diagonal.
    """
    noise = pca.noise_variance
    w = pca.components.T * (pca.explained_variance - noise).sqrt()  # (P, D)
    project = w.T / pca.explained_variance[:, None]
    encoder, decoder = model.encoder[1], model.decoder[0][1]
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[:DIMS] = project
        encoder.bias[:DIMS] = -project @ pca.mean
        encoder.bias[DIMS:] = (noise / pca.explained_variance).log()
        decoder.weight.copy_(w)
        decoder.bias.copy_(pca.mean)
        model.log_sigma.copy_(noise.log() / 2)
    return model.eval()


def test_the_elbo_of_the_optimal_vae_is_the_exact_log_likelihood(
    fitted: tuple[PCA, Tensor],
) -> None:
    pca, x = fitted
    model = optimal_vae(pca, VAE((5,), DIMS, hidden_dims=(), likelihood="gaussian").double())
    exact = pca.log_prob(x)
    # with the true posterior, p(x, z)/q(z|x) = p(x) for every z
    weights = model.log_weights(x, num_samples=7)
    torch.testing.assert_close(weights, exact.expand(7, -1), atol=1e-10, rtol=0)
    repeated = x.repeat(5000, 1)
    neg_elbo = model.step((repeated, None))["neg_elbo"]
    assert abs(neg_elbo + exact.mean()) < 0.02
    torch.testing.assert_close(model.encode(x), pca.encode(x) * (
        (pca.explained_variance - pca.noise_variance).sqrt() / pca.explained_variance
    ), atol=1e-10, rtol=0)  # fmt: skip


def test_the_importance_weighted_bound_approaches_the_likelihood(
    fitted: tuple[PCA, Tensor],
) -> None:
    pca, x = fitted
    model = optimal_vae(pca, IWAE((5,), DIMS, hidden_dims=(), likelihood="gaussian").double())
    with torch.no_grad():
        model.encoder[1].bias[DIMS:] += 0.8  # a posterior that is too wide
        model.encoder[1].bias[:DIMS] += 0.3 * model.encoder[1].bias[DIMS:].exp().sqrt()
        exact = pca.log_prob(x).mean()
        log_w = model.log_weights(x, num_samples=4096)
    bounds = {
        k: float(log_mean_exp(log_w.view(4096 // k, k, -1).transpose(0, 1)).mean())
        for k in (1, 4, 16, 64, 256, 1024, 4096)
    }
    values = list(bounds.values())
    assert all(a < b for a, b in zip(values, values[1:], strict=False))
    assert values[0] < exact - 0.1
    assert values[-1] == pytest.approx(float(exact), abs=2e-3)
    assert max(values) < exact + 2e-3


def test_the_gradient_of_the_bound_weights_each_sample() -> None:
    model = IWAE((5,), DIMS, hidden_dims=(4,), num_samples=3).double()
    x = torch.rand(6, 5).double()
    with model.seeded(0):
        model.step((x, None))["loss"].backward()
    automatic = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    with model.seeded(0):
        log_w = model.log_weights(x, num_samples=3)
    normalized = log_w.detach().softmax(0)  # Burda et al., equation 14
    (-(normalized * log_w).sum(0).mean()).backward()
    explicit = [p.grad for p in model.parameters() if p.grad is not None]
    for one, other in zip(automatic, explicit, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)


def test_the_bound_with_one_sample_is_the_elbo_of_a_vae() -> None:
    model = IWAE((5,), DIMS, hidden_dims=(4,), num_samples=1).double().eval()
    plain = VAE((5,), DIMS, hidden_dims=(4,)).double().eval()
    plain.load_state_dict(model.state_dict())
    x = torch.rand(20_000, 5).double()
    with torch.no_grad():
        one, other = model.step((x, None)), plain.step((x, None))
    torch.testing.assert_close(one["loss"], one["neg_elbo"])
    assert abs(one["neg_elbo"] - other["neg_elbo"]) < 0.05
    assert abs(one["neg_elbo"]) > 5 * math.log(2) * 0.5  # not both near 0 by chance
