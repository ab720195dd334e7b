import torch

from zoo.networks import RunningGaussian


def test_follows_mean_and_covariance_and_samples_them() -> None:
    torch.manual_seed(0)
    root = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    stream = RunningGaussian(2, momentum=0.01)
    for _ in range(2000):
        stream.update(torch.randn(64, 2) @ root.T + torch.tensor([3.0, -1.0]))
    torch.testing.assert_close(stream.mean, torch.tensor([3.0, -1.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(stream.covariance, root @ root.T, atol=0.15, rtol=0)
    draws = stream.sample(200_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.mean(0), stream.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.T.cov(), stream.covariance, atol=0.05, rtol=0)


def test_the_first_batch_sets_both() -> None:
    stream = RunningGaussian(3)
    z = torch.randn(500, 3) * 5 + 7
    stream.update(z)
    torch.testing.assert_close(stream.mean, z.mean(0))
    torch.testing.assert_close(stream.covariance, z.T.cov(correction=0), rtol=1e-4, atol=1e-4)


def test_a_dead_dimension_is_no_error() -> None:
    stream = RunningGaussian(2)
    stream.update(torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    assert (stream.sample(10)[:, 1] == 0).all()
