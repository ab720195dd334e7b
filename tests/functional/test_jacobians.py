"""Norms of Jacobians against exact values."""

from __future__ import annotations

import torch
from torch import nn

from zoo.functional.jacobians import estimate_squared_jacobian_norm, squared_jacobian_norm


def test_linear_map() -> None:
    """The Jacobian of x ↦ Wx is W; Hutchinson's estimate has mean ‖W‖²_F."""
    weight, x = torch.randn(3, 5).double(), torch.randn(4, 5).double()
    exact = weight.square().sum().expand(4)
    torch.testing.assert_close(squared_jacobian_norm(lambda x: x @ weight.mT, x), exact)
    many = x[:1].expand(40_000, -1)
    estimates = estimate_squared_jacobian_norm(lambda x: x @ weight.mT, many)
    error = 4 * estimates.std() / len(many) ** 0.5
    assert float((estimates.mean() - exact[0]).abs()) < float(error)


def test_values_in_inference_mode() -> None:
    """Lightning evaluates in inference mode, in which vjp of torch 2.11 returns zeros."""
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    x = torch.randn(6, 5)
    expected = squared_jacobian_norm(network, x)
    assert expected.requires_grad
    with torch.inference_mode():
        norms = squared_jacobian_norm(network, x + 0)
        generator = torch.Generator().manual_seed(0)
        estimates = estimate_squared_jacobian_norm(network, x + 0, generator)
    torch.testing.assert_close(norms, expected.detach())
    assert float(estimates.min()) > 0


def test_a_nonlinear_map_and_a_seeded_estimate() -> None:
    """Against the Jacobians of torch.autograd, in float64; the signs come from the generator."""
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(6, 5).double()
    jacobians = [torch.autograd.functional.jacobian(network, row) for row in x]
    exact = torch.stack([jacobian.square().sum() for jacobian in jacobians])
    torch.testing.assert_close(squared_jacobian_norm(network, x), exact)
    generator = torch.Generator().manual_seed(0)
    found = estimate_squared_jacobian_norm(network, x, generator)
    generator.manual_seed(0)
    signs = torch.empty(6, 3).double().bernoulli_(0.5, generator=generator) * 2 - 1
    expected = torch.stack([(s @ j).square().sum() for s, j in zip(signs, jacobians, strict=True)])
    torch.testing.assert_close(found, expected)
