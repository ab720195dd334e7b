"""Log-likelihoods against torch.distributions, in float64."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal

from zoo.functional.likelihoods import (
    bernoulli_log_prob,
    categorical_log_prob,
    gaussian_log_prob,
    log_mean_exp,
)


def test_bernoulli_on_binary_pixels_is_that_of_torch() -> None:
    logits = 3 * torch.randn(5, 1, 4, 4, dtype=torch.float64)
    x = torch.randint(0, 2, logits.shape).double()
    expected = Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_log_prob(logits, x), expected, rtol=1e-12, atol=0)


def test_bernoulli_on_gray_values_is_the_expectation_over_binary_images() -> None:
    logits = torch.randn(1, 3, dtype=torch.float64)
    gray = torch.tensor([[0.2, 0.7, 1.0]], dtype=torch.float64)
    expected = torch.zeros(1, dtype=torch.float64)
    for bits in torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3):
        probability = torch.where(bits > 0, gray, 1 - gray).prod()
        expected += probability * bernoulli_log_prob(logits, bits[None])
    torch.testing.assert_close(bernoulli_log_prob(logits, gray), expected, rtol=1e-12, atol=0)


def test_gaussian_is_that_of_torch() -> None:
    mean = torch.randn(5, 3, 2, dtype=torch.float64)
    x = torch.randn_like(mean)
    log_sigma = torch.tensor(-0.7, dtype=torch.float64)
    expected = Normal(mean, log_sigma.exp()).log_prob(x).sum((1, 2))
    torch.testing.assert_close(gaussian_log_prob(mean, log_sigma, x), expected, rtol=1e-12, atol=0)


def test_log_likelihoods_are_sums_over_pixels() -> None:
    small, large = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 8, 8)
    ratio = bernoulli_log_prob(large, large) / bernoulli_log_prob(small, small)
    torch.testing.assert_close(ratio, torch.tensor([4.0, 4.0]))


def test_categorical_is_that_of_torch_at_every_gray_level() -> None:
    logits = torch.randn(5, 17, 1, 4, 4).double()
    levels = torch.randint(0, 17, (5, 1, 4, 4))
    expected = Categorical(logits=logits.movedim(1, -1)).log_prob(levels).sum((1, 2, 3))
    x = levels.float() / 16  # single precision, like images
    torch.testing.assert_close(categorical_log_prob(logits, x), expected, rtol=1e-12, atol=0)


def test_log_mean_exp_does_not_overflow() -> None:
    values = torch.tensor([[1000.0, -1000.0], [1001.0, -1002.0]]).double()
    expected = (
        torch.tensor([1000, -1000]).double()
        + ((torch.tensor([0.0, 0.0]).exp() + torch.tensor([1.0, -2.0]).exp()) / 2).double().log()
    )
    torch.testing.assert_close(log_mean_exp(values), expected)


def test_parameters_may_have_leading_dimensions() -> None:
    x = torch.randint(0, 4, (5, 2, 3, 3)).double() / 3
    logits = torch.randn(7, 5, 2, 3, 3).double()
    expected = torch.stack([bernoulli_log_prob(one, x) for one in logits])
    torch.testing.assert_close(bernoulli_log_prob(logits, x), expected)
    expected = torch.stack([gaussian_log_prob(one, torch.tensor(0.3), x) for one in logits])
    torch.testing.assert_close(gaussian_log_prob(logits, torch.tensor(0.3), x), expected)
    torch.testing.assert_close(gaussian_log_prob(x, torch.tensor(0.3), logits), expected)
    scores = torch.randn(7, 5, 4, 2, 3, 3).double()
    expected = torch.stack([categorical_log_prob(one, x) for one in scores])
    torch.testing.assert_close(categorical_log_prob(scores, x), expected)


def test_saturated_logits_are_exact() -> None:
    logits = torch.tensor([[50.0, -50.0, 1000.0, -1000.0]]).double()
    right, wrong = (logits > 0).double(), (logits < 0).double()
    assert float(bernoulli_log_prob(logits, right)) == pytest.approx(-2 * math.exp(-50), rel=1e-9)
    assert float(bernoulli_log_prob(logits, wrong)) == pytest.approx(-2100)
    assert float(bernoulli_log_prob(logits[None], wrong)) == pytest.approx(-2100)
    near = torch.tensor([[[30.0, -3.0, 19.0, 21.0]]]).double()
    x = torch.tensor([[1.0, 0.0, 1.0, 0.5]]).double()
    torch.testing.assert_close(
        bernoulli_log_prob(near, x)[0], bernoulli_log_prob(near[0], x), atol=1e-13, rtol=0
    )
