"""The contract of latent models; ELBO, likelihoods and binarization of a VAE."""

from __future__ import annotations

import math
from collections.abc import Callable

import lightning.pytorch as L
import pytest
import torch

from datamodules import Digits
from zoo import (
    IWAE,
    VAE,
    Autoencoder,
    BetaVAE,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    VampPriorVAE,
)
from zoo.models.latent.base import LatentModel

MODELS = (
    VAE, BetaVAE, IWAE, VampPriorVAE, Autoencoder, DenoisingAutoencoder, ContractiveAutoencoder,
    SparseAutoencoder,
)  # fmt: skip


def digits(samples: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    data = Digits(batch_size=samples)
    return next(iter(data.train_dataloader()))


@pytest.mark.parametrize("model_class", MODELS)
@pytest.mark.parametrize(
    ("shape", "network", "hidden"),
    [
        ((1, 8, 8), "mlp", (16,)),
        ((3, 17, 30), "conv", (4, 8)),
        ((1, 28, 28), "conv", (4, 8, 8)),
        ((2, 9, 7), "residual", (4, 8)),
        ((12,), "mlp", (16, 8)),
    ],
)
def test_latent_models_support_any_input_shape(
    model_class: type[LatentModel], shape: tuple[int, ...], network: str, hidden: tuple[int, ...]
) -> None:
    model = model_class(shape, latent_dim=3, network=network, hidden_dims=hidden).eval()
    x = torch.rand(5, *shape)
    z = model.encode(x)
    assert z.shape == (5, 3)
    assert model.decode(z).shape == x.shape
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(4).shape == (4, *shape)
    path = model.interpolate(x[:2], x[2:4], steps=6)
    assert path.shape == (6, 2, *shape)
    torch.testing.assert_close(path[0], model.reconstruct(x[:2]))
    torch.testing.assert_close(path[-1], model.reconstruct(x[2:4]))
    for samples in (model.decode(z), model.sample(4)):
        assert samples.min() >= 0
        assert samples.max() <= 1


@pytest.mark.parametrize("model_class", MODELS)
def test_encode_and_reconstruct_are_deterministic_in_training_mode_too(
    model_class: type[LatentModel],
) -> None:
    model, (x, _) = model_class((1, 8, 8)), digits()
    assert torch.equal(model.encode(x), model.encode(x))
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))


@pytest.mark.parametrize("model_class", MODELS)
def test_sampling_uses_its_generator_and_not_the_global_one(
    model_class: type[LatentModel],
) -> None:
    model = model_class((1, 8, 8))
    before = torch.get_rng_state()
    one, two, other = (model.sample(3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("model_class", "options"),
    [
        (VAE, {}),
        (VAE, {"likelihood": "gaussian"}),
        (BetaVAE, {"beta": 3.0}),
        (IWAE, {"num_samples": 3}),
        (VampPriorVAE, {"num_pseudo_inputs": 4}),
        (Autoencoder, {}),
        (DenoisingAutoencoder, {}),
        (ContractiveAutoencoder, {"contraction_weight": 0.3}),
        (SparseAutoencoder, {"sparsity": "kl", "sparsity_weight": 0.3}),
        (SparseAutoencoder, {"sparsity": "l1", "sparsity_weight": 0.3}),
    ],
)
def test_the_gradient_is_that_of_the_loss(
    model_class: type[LatentModel], options: dict[str, object]
) -> None:
    """Nothing is detached: the slope along a random direction equals the difference quotient."""
    model = model_class((1, 4, 4), 2, hidden_dims=(8,), activation="tanh", **options).double()
    batch = (torch.rand(6, 1, 4, 4).double(), None)

    def loss() -> torch.Tensor:
        with model.seeded(0):
            return model.step(batch)["loss"]

    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn_like(weight)
        values = []
        for step in (1e-5, -1e-5):
            weight.data.add_(direction, alpha=step)
            values.append(float(loss()))
            weight.data.sub_(direction, alpha=step)
        slope = (values[0] - values[1]) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_the_loss_is_the_negative_elbo_summed_over_pixels_and_latents() -> None:
    model, batch = VAE((1, 8, 8), latent_dim=4).double(), digits()
    x = batch[0].double()
    with model.seeded(5):
        parts = model.step((x, batch[1]))
    mean, log_var = model.posterior(x)
    generator = torch.Generator().manual_seed(5)
    noise = torch.empty_like(mean).normal_(generator=generator)
    p = model.decode(mean + (0.5 * log_var).exp() * noise)
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).sum() / len(x)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_var).exp()),
        torch.distributions.Normal(torch.zeros_like(mean), 1.0),
    ).sum() / len(x)
    torch.testing.assert_close(parts["reconstruction"], reconstruction, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts["kl"], kl, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts["loss"], reconstruction + kl, rtol=1e-9, atol=1e-9)


def test_codes_are_sampled_from_a_standard_normal_prior() -> None:
    z = VAE((1, 8, 8), latent_dim=50).sample_latent(4_000, torch.Generator().manual_seed(0))
    moments = [float(z.pow(k).mean()) for k in (1, 2, 4)]
    assert moments == pytest.approx([0, 1, 3], abs=0.05)


def test_the_reconstruction_is_a_sum_over_pixels_of_any_image_size() -> None:
    """A decoder that outputs ½ everywhere costs log 2 per pixel."""
    for side in (4, 8, 16):
        model = VAE((1, side, side), hidden_dims=(4,)).double()
        torch.nn.init.zeros_(model.decoder[0][-1].weight)
        torch.nn.init.zeros_(model.decoder[0][-1].bias)
        parts = model.step((torch.rand(6, 1, side, side, dtype=torch.float64), None))
        assert parts["reconstruction"].item() == pytest.approx(side**2 * math.log(2))


def test_a_gaussian_likelihood_learns_its_standard_deviation(
    trainer: Callable[..., L.Trainer],
) -> None:
    model = VAE((1, 8, 8), likelihood="gaussian", lr=3e-3)
    data = Digits(batch_size=64)
    trainer(max_epochs=30).fit(model, data)
    (metrics,) = trainer().test(model, data, verbose=False)
    sigma = model.log_sigma.exp().item()
    assert sigma == pytest.approx(metrics["test/mse"] ** 0.5, rel=0.15)
    assert metrics["test/neg_elbo"] < 64 * (0.5 * math.log(2 * math.pi * math.e * 0.3**2))


def test_binarization() -> None:
    x = torch.tensor([[0.0, 0.3, 0.7, 1.0]]).repeat(4000, 1)
    assert torch.equal(VAE((4,)).binarize(x), x)
    threshold = VAE((4,), binarization="threshold").binarize(x)
    assert threshold[0].tolist() == [0, 0, 1, 1]
    sampled = VAE((4,), binarization="stochastic").binarize(x)
    assert set(sampled.unique().tolist()) == {0, 1}
    torch.testing.assert_close(sampled.mean(0), x[0], atol=0.03, rtol=0)


def test_descriptions_of_metrics_name_likelihood_and_binarization() -> None:
    notes = VAE((4,), binarization="stochastic").describe_metrics()["neg_elbo"]
    assert "nats" in notes
    assert "Bernoulli" in notes
    assert "by sampling" in notes
    assert "learned σ" in VAE((4,), likelihood="gaussian").describe_metrics()["neg_elbo"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson'; choose from bernoulli"),
        ({"binarization": "half"}, "unknown binarization 'half'; choose from none, threshold"),
        ({"likelihood": "gaussian", "binarization": "stochastic"}, "needs likelihood='bernoulli'"),
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"network": "transformer"}, "unknown network 'transformer'; choose from mlp, conv"),
        ({"network": "conv"}, "needs images"),
        ({"activation": "rleu"}, "unknown activation 'rleu'"),
    ],
)
def test_invalid_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAE((4,), **options)  # type: ignore[arg-type]


def test_a_vae_beats_the_best_constant_image(trainer: Callable[..., L.Trainer]) -> None:
    """A decoder that ignores z costs the entropy of the mean image: 27.4 nats on these digits."""
    data = Digits(batch_size=64)
    train, test = data.split("train")[0] / 16, data.split("test")[0] / 16
    p = train.mean(0).clamp(1e-3, 1 - 1e-3)
    constant = -(test * p.log() + (1 - test) * (1 - p).log()).sum((1, 2, 3)).mean()
    model = VAE((1, 8, 8), lr=2e-3, schedule="cosine")
    trainer(max_epochs=40).fit(model, data)
    (metrics,) = trainer().test(model, data, verbose=False)
    assert metrics["test/neg_elbo"] < constant - 2
    assert metrics["test/kl"] > 1
