"""Densities over codes: fitting and sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from zoo import VAE, Autoencoder
from zoo.errors import InputError
from zoo.models.latent.samplers import GaussianMixtureSampler, PriorSampler, fit_sampler


def clusters(samples: int = 3000) -> torch.Tensor:
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    which = torch.randint(3, (samples,))
    return centers[which] + 0.5 * torch.randn(samples, 2)


def test_the_mixture_equals_that_of_scikit_learn() -> None:
    codes = clusters()
    sampler = GaussianMixtureSampler(codes, 3, seed=1)
    oracle = GaussianMixture(3, random_state=1).fit(codes.double().numpy())
    queries = clusters(50)
    np.testing.assert_allclose(
        sampler.log_prob(queries), oracle.score_samples(queries.double().numpy()), rtol=1e-4
    )


def test_samples_follow_the_mixture() -> None:
    sampler = GaussianMixtureSampler(clusters(), 3)
    sampled = sampler.sample(20_000, torch.Generator().manual_seed(0))
    nearest = torch.cdist(sampled, torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])).min(1)
    assert nearest.values.max() < 3
    frequency = torch.bincount(nearest.indices) / 20_000
    assert ((frequency - 1 / 3).abs() < 0.03).all()
    assert torch.equal(sampled, sampler.sample(20_000, torch.Generator().manual_seed(0)))


def test_clusters_are_sampled_with_their_weights() -> None:
    codes = torch.cat([torch.randn(count, 2) + 20 * i for i, count in enumerate((600, 300, 100))])
    sampled = GaussianMixtureSampler(codes, 3).sample(20_000, torch.Generator().manual_seed(0))
    frequency = torch.bincount((sampled.mean(1) / 20).round().long()) / 20_000
    torch.testing.assert_close(frequency, torch.tensor([0.6, 0.3, 0.1]), atol=0.015, rtol=0)


def test_one_gaussian_is_fitted_to_clusters_too() -> None:
    codes, queries = clusters().double(), clusters(50).double()
    fitted = fit_sampler("gaussian", Autoencoder((9,), 2), codes, components=3)
    assert isinstance(fitted, GaussianMixtureSampler)
    expected = multivariate_normal(codes.mean(0), codes.T.cov(correction=0)).logpdf(queries)
    np.testing.assert_allclose(fitted.log_prob(queries), expected, rtol=1e-4)


def test_one_gaussian_has_the_moments_of_the_codes() -> None:
    codes = torch.randn(5000, 3) @ torch.randn(3, 3) + 4
    sampled = fit_sampler("gaussian", Autoencoder((9,), 3), codes).sample(50_000)
    torch.testing.assert_close(sampled.mean(0), codes.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(sampled.T.cov(), codes.T.cov(), atol=0.2, rtol=0.05)


def test_codes_of_any_scale_are_fitted() -> None:
    codes = 1e-5 * clusters()
    sampled = GaussianMixtureSampler(codes, 3).sample(2000)
    assert torch.cdist(sampled, codes).min(1).values.max() < 5e-6


def test_a_model_decodes_codes_from_a_sampler() -> None:
    model = VAE((1, 8, 8), 2).eval()
    mixture = fit_sampler("mixture", model, clusters(), 3)
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    images = model.sample(6, seeds[0], mixture)
    assert images.shape == (6, 1, 8, 8)
    assert torch.equal(images, model.decode(mixture.sample(6, seeds[1])))
    prior = PriorSampler(model)
    one, other = (torch.Generator().manual_seed(1) for _ in range(2))
    assert torch.equal(model.sample(5, one), model.sample(5, other, prior))


def test_invalid_arguments() -> None:
    with pytest.raises(InputError, match="unknown sampler 'mixtur'; did you mean 'mixture'"):
        fit_sampler("mixtur", VAE((4,)), torch.randn(9, 2))
    for codes, components, needed in ((3, 10, 10), (1, 1, 2)):
        message = rf"fitting {components} Gaussian\(s\) needs at least {needed} codes, got {codes}"
        with pytest.raises(InputError, match=message):
            GaussianMixtureSampler(torch.randn(codes, 2), components)
