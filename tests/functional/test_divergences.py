"""Divergences against torch.distributions and Monte Carlo estimates, in float64."""

import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from zoo.functional.divergences import kl_bernoulli, kl_standard_normal


def test_kl_of_normals_is_that_of_torch() -> None:
    mean, log_var = torch.randn(2, 7, 3, dtype=torch.float64)
    q = Normal(mean, (0.5 * log_var).exp())
    expected = kl_divergence(q, Normal(torch.zeros(()).double(), 1.0))
    torch.testing.assert_close(kl_standard_normal(mean, log_var), expected, rtol=1e-12, atol=1e-14)


def test_kl_agrees_with_monte_carlo() -> None:
    mean = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    log_var = torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    q = Normal(mean, (0.5 * log_var).exp())
    z = q.sample((400_000,))
    estimates = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - kl_standard_normal(mean, log_var).sum()) < 4 * error


def test_kl_is_zero_only_at_the_prior() -> None:
    zero = torch.zeros(1, 1)
    assert kl_standard_normal(zero, zero).item() == 0
    assert kl_standard_normal(zero + 0.1, zero).item() > 0
    assert kl_standard_normal(zero, zero + 0.1).item() > 0


def test_kl_of_bernoullis_is_that_of_torch_and_finite_for_a_unit_that_never_fires() -> None:
    rates = torch.rand(9).double()
    expected = kl_divergence(Bernoulli(torch.tensor(0.05, dtype=torch.float64)), Bernoulli(rates))
    torch.testing.assert_close(kl_bernoulli(0.05, rates), expected, rtol=1e-12, atol=1e-14)
    assert kl_bernoulli(0.05, torch.tensor([0.0, 1.0])).isfinite().all()
