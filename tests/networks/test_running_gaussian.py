"""Running estimate of a Gaussian."""

from __future__ import annotations

import torch

from zoo.networks import RunningGaussian


def test_estimates_mean_and_covariance_and_samples_from_them() -> None:
    torch.manual_seed(0)
    root = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.5, -0.5, 1.0]])
    gaussian = RunningGaussian(3, momentum=0.01)
    mean = torch.tensor([3.0, -1.0, 2.0])
    for _ in range(2000):
        gaussian.update(torch.randn(64, 3) @ root.T + mean)
    torch.testing.assert_close(gaussian.mean, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(gaussian.covariance, root @ root.T, atol=0.15, rtol=0)
    samples = gaussian.sample(200_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples.mean(0), gaussian.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(samples.T.cov(), gaussian.covariance, atol=0.05, rtol=0)


def test_the_first_batch_sets_mean_and_covariance() -> None:
    gaussian = RunningGaussian(3)
    z = torch.randn(500, 3) * 5 + 7
    gaussian.update(z)
    torch.testing.assert_close(gaussian.mean, z.mean(0))
    torch.testing.assert_close(gaussian.covariance, z.T.cov(correction=0), rtol=1e-4, atol=1e-4)


def test_a_collapsed_dimension_is_sampled_as_a_constant() -> None:
    gaussian = RunningGaussian(2)
    gaussian.update(torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    assert (gaussian.sample(10)[:, 1] == 0).all()


def test_codes_in_half_precision_are_averaged_in_float32() -> None:
    torch.manual_seed(0)
    z = (torch.randn(100, 3) + 7).bfloat16()
    expected, gaussian = RunningGaussian(3), RunningGaussian(3)
    for _ in range(2):
        expected.update(z.float())
        with torch.autocast("cpu", torch.bfloat16):
            gaussian.update(z)
    torch.testing.assert_close(gaussian.mean, expected.mean, rtol=0, atol=0)
    torch.testing.assert_close(gaussian.covariance, expected.covariance, rtol=0, atol=0)
