"""β-VAE, conditional VAE, VampPrior; options of the KL term; likelihoods of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from datamodules import Digits
from zoo import IWAE, VAE, BetaVAE, ConditionalVAE, VampPriorVAE
from zoo.errors import InputError
from zoo.functional.divergences import kl_standard_normal

Trainer = Callable[..., L.Trainer]


def batch(samples: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, 1, 4, 4, dtype=torch.float64, generator=generator)
    return x, torch.arange(samples) % 3


def parts_of(model: VAE, train: bool = False) -> dict[str, torch.Tensor]:
    model.double().train(train)
    with model.seeded(0):
        return model.step(batch())


# -- weight of the KL term -----------------------------------------------------------------------


def test_beta_weights_the_kl_in_the_loss_but_not_in_the_elbo() -> None:
    parts = parts_of(BetaVAE((1, 4, 4), beta=3.0, hidden_dims=(8,)))
    torch.testing.assert_close(parts["loss"], parts["reconstruction"] + 3 * parts["kl"])
    torch.testing.assert_close(parts["neg_elbo"], parts["reconstruction"] + parts["kl"])


def test_free_bits_are_not_penalized() -> None:
    model = VAE((1, 4, 4), 3, free_bits=0.5, hidden_dims=(8,)).double()
    x, _ = batch()
    kl = kl_standard_normal(*model.posterior(x)).mean(0)
    parts = parts_of(model)
    torch.testing.assert_close(parts["kl"], kl.sum())
    penalized = parts["loss"] - parts["reconstruction"]
    torch.testing.assert_close(penalized, kl.clamp(min=0.5).sum())
    assert penalized > parts["kl"]


def test_the_warm_up_multiplies_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BetaVAE((1, 4, 4), beta=3.0, hidden_dims=(8,)).train()
    model._warmup_steps = 8.0
    for step, weight in ((0, 0.0), (2, 0.75), (8, 3.0), (9, 3.0)):
        monkeypatch.setattr(BetaVAE, "global_step", step)
        parts = parts_of(model, train=True)
        torch.testing.assert_close(parts["loss"], parts["reconstruction"] + weight * parts["kl"])
    monkeypatch.setattr(BetaVAE, "global_step", 2)
    assert model.eval().kl_weight() == 3.0


@pytest.mark.parametrize("warmup", [8, 0.5])
def test_the_kl_is_warmed_up_in_training_only(warmup: float, trainer: Trainer) -> None:
    weights = []

    class RecordWeight(L.Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, model: Any, _: Any) -> None:
            weights.append(model.kl_weight())

    model = VAE((1, 8, 8), kl_warmup=warmup, hidden_dims=(8,))
    fit = trainer(max_steps=16, callbacks=[RecordWeight()], limit_val_batches=0)
    fit.fit(model, Digits(batch_size=64))
    assert weights == [min(1.0, step / 8) for step in range(16)]
    assert model.eval().kl_weight() == 1.0


def test_a_fraction_of_endless_training_is_refused(trainer: Trainer) -> None:
    model = VAE((1, 8, 8), kl_warmup=0.5, hidden_dims=(8,))
    with pytest.raises(InputError, match="kl_warmup below 1 is a fraction of training, which has"):
        trainer(max_epochs=-1).fit(model, Digits())


# -- pixels --------------------------------------------------------------------------------------


def test_categorical_likelihood() -> None:
    model = VAE((2, 3, 3), 2, likelihood="categorical", levels=5, hidden_dims=(8,)).double().eval()
    x = torch.randint(0, 5, (6, 2, 3, 3)).double() / 4
    decoded = model.decoder(torch.randn(6, 2).double())
    assert decoded.shape == (6, 5, 2, 3, 3)
    expected = torch.einsum("bkchw,k->bchw", decoded.softmax(1), torch.arange(5).double() / 4)
    torch.testing.assert_close(model.likelihood_mean(decoded), expected)
    parts = model.step((x, None))
    bits = parts["neg_elbo"] / (18 * math.log(2))
    torch.testing.assert_close(parts["bits_per_dim"], bits)
    for network in ("conv", "residual"):
        other = VAE(
            (2, 6, 5), 2, likelihood="categorical", levels=5, network=network, hidden_dims=(4,)
        )
        assert other.decoder(torch.randn(3, 2)).shape == (3, 5, 2, 6, 5)
        assert other.sample(3).shape == (3, 2, 6, 5)


def test_a_gaussian_likelihood_has_one_standard_deviation() -> None:
    model = VAE((1, 4, 4), 2, likelihood="gaussian", hidden_dims=(8,)).double().eval()
    with torch.no_grad():
        model.log_sigma.fill_(-0.7)
    x, _ = batch()
    means = model.decoder(torch.randn(6, 2).double())
    expected = Normal(means, math.exp(-0.7)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(model.log_prob(x, means), expected)


@pytest.mark.parametrize("binarization", ["none", "threshold", "stochastic"])
@pytest.mark.parametrize("samples", [0, 3])
def test_bounds_are_those_of_binarized_pixels_and_errors_those_of_gray_ones(
    samples: int, binarization: str
) -> None:
    """Of a β-VAE, and of an importance-weighted autoencoder with so many samples."""
    options: dict[str, Any] = {"binarization": binarization, "hidden_dims": (8,)}
    make = (lambda: IWAE((1, 4, 4), 2, samples, **options)) if samples else (
        lambda: BetaVAE((1, 4, 4), 2, beta=3.0, **options)
    )  # fmt: skip
    model = make().double().eval()
    gray, _ = batch()
    with model.seeded(2):
        parts = model.step((gray, None))
    generator = torch.Generator().manual_seed(2)
    x = {
        "none": lambda: gray,
        "threshold": lambda: gray.round(),
        "stochastic": lambda: torch.bernoulli(gray, generator=generator),
    }[binarization]()
    mean, log_var = model.encoder(x)[:, :2], model.encoder(x)[:, 2:]
    posterior, prior = Normal(mean, (log_var / 2).exp()), Normal(0.0, torch.ones(2).double())
    noise = torch.empty(max(samples, 1), 6, 2).double().normal_(generator=generator)
    z = posterior.loc + posterior.scale * noise
    p = model.decoder(z.flatten(0, 1)).sigmoid().view(-1, *x.shape)
    log_p = (x * p.log() + (1 - x) * (1 - p).log()).sum((2, 3, 4))  # (samples, B)
    if samples:
        log_w = log_p + (prior.log_prob(z) - posterior.log_prob(z)).sum(2)
        bound, neg_elbo = -log_w.exp().mean(0).log().mean(), -log_w.mean()
        torch.testing.assert_close(parts["loss"], bound)
        assert bound < neg_elbo
    else:
        kl = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
        bound = neg_elbo = -log_p.mean() + kl
        torch.testing.assert_close(parts["reconstruction"], -log_p.mean())
    torch.testing.assert_close(parts["neg_elbo"], neg_elbo)
    torch.testing.assert_close(parts["bits_per_dim"], bound / (16 * math.log(2)))
    seen = x if binarization == "threshold" else gray  # encode is deterministic
    code = model.encoder(seen)[:, :2]
    torch.testing.assert_close(model.encode(gray), code)
    error = (model.decoder(code).sigmoid() - gray).square().mean()
    torch.testing.assert_close(parts["mse"], error)


def test_the_number_of_gray_levels_comes_from_the_data() -> None:
    import zoo

    model = zoo.create_model("vae", likelihood="categorical")
    assert model.hparams["levels"] == 17
    assert zoo.create_model("vae", data="mnist").hparams["levels"] == 256


class StandardizedDigits(Digits):
    """Standardized images, which are not in [0, 1]."""

    def prepare_evaluation(self, batch: Any, generator: torch.Generator) -> Any:
        x, *rest = super().prepare_evaluation(batch, generator)
        return ((x - 0.3) / 0.4, *rest)


@pytest.mark.parametrize("hook", ["fit", "validate", "test"])
def test_pixels_outside_the_unit_interval_are_refused(hook: str, trainer: Trainer) -> None:
    run = getattr(trainer(max_epochs=1, num_sanity_val_steps=0), hook)
    with pytest.raises(InputError, match=r"bernoulli likelihood needs pixels in \[0, 1\], the"):
        run(VAE((1, 8, 8)), StandardizedDigits())
    gaussian = VAE((1, 8, 8), likelihood="gaussian")
    getattr(trainer(fast_dev_run=True), hook)(gaussian, StandardizedDigits())


# -- conditional ---------------------------------------------------------------------------------


def test_a_conditional_code_ends_with_the_class() -> None:
    model = ConditionalVAE((1, 4, 4), 3, 2, hidden_dims=(8,)).double().eval()
    x, y = batch()
    code = model.encode(x, y)
    assert code.shape == (6, 5)
    assert torch.equal(code[:, 2:].argmax(1), y)
    torch.testing.assert_close(code[:, :2], model.posterior(x)[0])
    assert model.sample(7).shape == (7, 1, 4, 4)
    sampled = model.sample_latent(4, y=torch.tensor([2, 2, 0, 1]))
    assert sampled[:, 2:].argmax(1).tolist() == [2, 2, 0, 1]
    assert model.sample_latent(5)[:, 2:].argmax(1).tolist() == [0, 1, 2, 0, 1]
    middle = model.interpolate(x[:1], x[1:2], 3)[1]
    half = (model.encode(x[:1]) + model.encode(x[1:2])) / 2
    torch.testing.assert_close(middle, model.decode(half))


def test_importance_weights_of_a_conditional_model() -> None:
    """log w = log p(x|z, y) + log p(z) − log q(z|x), for each sample of z with its own class."""
    model = ConditionalVAE((1, 4, 4), 3, 2, hidden_dims=(8,)).double().eval()
    x, y = batch()
    with model.seeded(4):
        found = model.log_weights(x, y, num_samples=3)
    mean, log_var = model.posterior(x)
    q, prior = Normal(mean, (log_var / 2).exp()), Normal(0.0, torch.ones(2).double())
    noise = torch.empty(3, 6, 2).double().normal_(generator=torch.Generator().manual_seed(4))
    for row, z in zip(found, mean + q.scale * noise, strict=True):
        p = model.decoder(torch.cat([z, torch.eye(3)[y]], 1)).sigmoid()
        log_p = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
        expected = log_p + (prior.log_prob(z) - q.log_prob(z)).sum(1)
        torch.testing.assert_close(row, expected)


def test_the_class_is_inferred_by_bayes_rule() -> None:
    model = ConditionalVAE((1, 4, 4), 3, 2, hidden_dims=(8,)).double().eval()
    x, _ = batch()
    z = model.posterior(x)[0]
    scores = torch.stack([
        model.log_prob(x, model.decoder(torch.cat([z, torch.eye(3)[k].expand(6, 3)], 1)))
        for k in range(3)
    ])  # fmt: skip
    assert torch.equal(model.encode(x)[:, 2:].argmax(1), scores.argmax(0))


def test_labels_lower_the_bound_and_are_inferred_from_images(trainer: Trainer) -> None:
    settings = {"hidden_dims": (128,), "lr": 3e-3, "schedule": "one_cycle"}
    data = Digits(batch_size=64)
    bounds = []
    for model in (VAE((1, 8, 8), **settings), ConditionalVAE((1, 8, 8), 10, **settings)):
        trainer(max_epochs=30).fit(model, data)
        (metrics,) = trainer().test(model, data, verbose=False)
        bounds.append(metrics["test/neg_elbo"])
    assert bounds[1] < bounds[0] - 0.5
    x, y = data.split("test")
    with torch.no_grad():
        found = model.eval().encode(x / 16)[:, 2:].argmax(1)
    assert (found == y).float().mean() > 0.75


def test_a_conditional_model_needs_labels() -> None:
    model = ConditionalVAE((1, 4, 4), 3)
    for labels in (None, torch.rand(6), torch.rand(6, 2)):
        with pytest.raises(InputError, match="needs a class index for each sample"):
            model.step((torch.rand(6, 1, 4, 4), labels))


# -- VampPrior -----------------------------------------------------------------------------------


def test_the_vamp_prior_is_the_mixture_of_its_posteriors() -> None:
    model = VampPriorVAE((1, 4, 4), 1, num_pseudo_inputs=4, hidden_dims=(8,)).double()
    with torch.no_grad():
        torch.testing.assert_close(model.pseudo_inputs(), 1 / (1 + (-model.pseudo_logits).exp()))
        mean, log_var = model.posterior(model.pseudo_inputs())
    mixture = MixtureSameFamily(
        Categorical(torch.ones(4).double()), Normal(mean[:, 0], (log_var[:, 0] / 2).exp())
    )
    grid = torch.linspace(-8, 8, 4001).double()[:, None]
    torch.testing.assert_close(model.log_prior(grid).detach(), mixture.log_prob(grid[:, 0]))
    assert float(model.log_prior(grid).exp().sum().detach()) * 0.004 == pytest.approx(1, abs=1e-6)
    sampled = model.sample_latent(100_000, torch.Generator().manual_seed(0))[:, 0].detach()
    assert float(sampled.mean()) == pytest.approx(float(mixture.mean), abs=0.02)
    assert float(sampled.var()) == pytest.approx(float(mixture.variance), rel=0.02)


def test_the_vamp_prior_kl_is_estimated_by_the_log_ratio() -> None:
    """With one pseudo-input the prior is a Gaussian, and the KL has a closed form."""
    model = VampPriorVAE((1, 4, 4), 2, num_pseudo_inputs=1, hidden_dims=(8,)).double().eval()
    x = torch.rand(1, 1, 4, 4).double()
    with torch.no_grad():
        mean, log_var = model.posterior(x)
        prior_mean, prior_log_var = model.posterior(model.pseudo_inputs())
        z = model.reparameterize(mean.expand(50_000, 2), log_var.expand(50_000, 2))
        estimates = model.kl(mean.expand(50_000, 2), log_var.expand(50_000, 2), z)
    exact = torch.distributions.kl_divergence(
        Normal(mean, (log_var / 2).exp()), Normal(prior_mean, (prior_log_var / 2).exp())
    ).sum()
    error = estimates.std() / 50_000**0.5
    assert abs(estimates.mean() - exact) < 4 * error + 1e-9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VAE((4,), kl_warmup=-1), "kl_warmup must not be negative"),
        (lambda: VAE((4,), likelihood="categorical", levels=1), "levels must be at least 2"),
        (lambda: VAE((4,), 5), "latent_dim=5 is not smaller"),
        (lambda: BetaVAE((4,), beta=-1), "beta must not be negative"),
        (lambda: IWAE((4,), num_samples=0), "num_samples must be at least 1, got 0"),
        (lambda: IWAE((4,), free_bits=0.1), "has no KL term"),
        (lambda: VampPriorVAE((4,), num_pseudo_inputs=0), "num_pseudo_inputs must be at least 1"),
        (lambda: VampPriorVAE((4,), free_bits=0.1), "free_bits needs a KL for each"),
    ],
)
def test_invalid_arguments(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
