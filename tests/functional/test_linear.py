"""Solvers of linear models against exact solutions and automatic differentiation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.functional.linear import (
    fista,
    legendre_features,
    logistic_loss_gradient_hessian,
    solve_normal_equations,
)


def test_normal_equations_of_badly_scaled_columns() -> None:
    scale = torch.tensor([1e-6, 1.0, 1e4, 1e8]).double()
    x = torch.randn(60, 4).double() * scale
    w = torch.randn(4, 1).double() / scale[:, None]
    found, rank = solve_normal_equations(x.mT @ x, x.mT @ (x @ w))
    assert rank == 4
    torch.testing.assert_close(found, w, rtol=1e-9, atol=0)


def test_fista_on_a_diagonal_problem_is_soft_thresholding() -> None:
    cross = torch.tensor([[3.0], [-0.2], [0.5]]).double()
    w, converged = fista(torch.eye(3).double(), cross, l1=1.0)
    assert converged
    expected = torch.tensor([[2.5], [0.0], [0.0]]).double()
    torch.testing.assert_close(w, expected)


def test_the_orthogonal_basis_is_orthonormal() -> None:
    nodes, quadrature = np.polynomial.legendre.leggauss(20)
    table = legendre_features(torch.tensor(nodes), 8)  # (20, 9)
    gram = table.mT @ (torch.tensor(quadrature / 2)[:, None] * table)
    torch.testing.assert_close(gram, torch.eye(9).double(), atol=1e-12, rtol=0)


def test_gradient_of_the_logistic_loss() -> None:
    """The gradient is Xᵀ(σ(Xw) − y)."""
    x, y = torch.randn(80, 5).double(), torch.randint(2, (80,))
    w = torch.randn(5, 1).double()
    logits = torch.cat([torch.zeros(80, 1).double(), x @ w], dim=1)
    loss, gradient, hessian = logistic_loss_gradient_hessian(x, logits, y)
    p = torch.sigmoid(x @ w)[:, 0]
    torch.testing.assert_close(gradient[1], x.mT @ (p - y))
    torch.testing.assert_close(hessian[1, :, 1], x.mT @ torch.diag(p * (1 - p)) @ x)
    torch.testing.assert_close(loss, -(y * p.log() + (1 - y) * (1 - p).log()).sum())


def test_gradient_and_hessian_of_the_multinomial_loss() -> None:
    x, y = torch.randn(20, 5).double(), torch.randint(3, (20,))
    w = torch.randn(3, 5).double()

    def total(weights: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(x @ weights.mT, y, reduction="sum")

    loss, gradient, hessian = logistic_loss_gradient_hessian(x, x @ w.mT, y)
    torch.testing.assert_close(loss, total(w))
    torch.testing.assert_close(gradient, torch.func.grad(total)(w))
    torch.testing.assert_close(hessian, torch.func.hessian(total)(w))
