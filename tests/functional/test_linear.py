"""Solvers of linear models against exact solutions and automatic differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.functional.linear import (
    fista,
    legendre_features,
    logistic_loss_gradient_hessian,
    monomial_features,
    nonzero_eigenvalue_mask,
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


def test_the_numerical_rank_counts_eigenvalues_above_the_rounding_error() -> None:
    """10 P ε times the largest eigenvalue: the error of forming a Gram matrix."""
    limit = 10 * 4 * 2.0**-52 * 3.0
    values = torch.tensor([3.0, 1.01 * limit, 0.99 * limit, -1.0], dtype=torch.float64)
    assert nonzero_eigenvalue_mask(values).tolist() == [True, True, False, False]
    assert nonzero_eigenvalue_mask(values[:2].float()).tolist() == [True, False]


@pytest.mark.parametrize("ridge", [0.0, 0.7, 50.0])
def test_ridge_regression_is_that_of_numpy(ridge: float) -> None:
    x, y = torch.randn(30, 4).double(), torch.randn(30, 2).double()
    found, rank = solve_normal_equations(x.mT @ x, x.mT @ y, ridge)
    matrix = x.numpy().T @ x.numpy() + ridge * np.eye(4)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, x.numpy().T @ y.numpy()), rtol=1e-10)
    assert rank == 4


@pytest.mark.parametrize("column", ["duplicate", "zero"])
def test_dependent_columns_have_the_solution_of_minimum_norm(column: str) -> None:
    x, y = 0.01 * torch.randn(30, 3).double(), torch.randn(30, 2).double()
    x = torch.cat([x, 2 * x[:, :1] if column == "duplicate" else torch.zeros(30, 1).double()], 1)
    found, rank = solve_normal_equations(x.mT @ x, x.mT @ y)
    assert rank == 3
    np.testing.assert_allclose(found, np.linalg.pinv(x.numpy()) @ y.numpy(), rtol=1e-7, atol=1e-9)
    assert solve_normal_equations(x.mT @ x, x.mT @ y, 0.1)[1] == 4


def reference_fista(
    gram: Tensor, cross: Tensor, l1: float, l2: float, iterations: int
) -> tuple[Tensor, int]:
    """Algorithm of Beck and Teboulle with gradient restarts; also return how many there were."""
    lipschitz = 2 * (float(torch.linalg.eigvalsh(gram).max()) + l2)
    w = v = torch.zeros_like(cross)
    t, restarts = 1.0, 0
    for _ in range(iterations):
        z = v - 2 * ((gram + l2 * torch.eye(len(gram)).double()) @ v - cross) / lipschitz
        new = z.sign() * torch.relu(z.abs() - l1 / lipschitz)
        if float(((v - new) * (new - w)).sum()) > 0:
            t, restarts = 1.0, restarts + 1
        after = (1 + math.sqrt(1 + 4 * t * t)) / 2
        w, v, t = new, new + (t - 1) / after * (new - w), after
    return w, restarts


def test_fista_follows_its_algorithm() -> None:
    """Every iterate, with and without restarts, and the sign of convergence."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 6).double(), torch.randn(40, 2).double()
    x[:, 1] = x[:, 0] + 0.03 * x[:, 1]
    gram, cross = x.mT @ x, x.mT @ y
    for iterations in (1, 2, 3, 10, 25):
        found, converged = fista(gram, cross, 5.0, 0.5, 0.0, iterations)
        expected, restarts = reference_fista(gram, cross, 5.0, 0.5, iterations)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        assert not converged
    assert restarts > 0
    found, converged = fista(gram, cross, 5.0, 0.5)
    assert converged
    # the optimality conditions: |2 (c − G w − λ₂ w)| ≤ λ₁, and equal to λ₁ sign(w) where w ≠ 0
    slope = 2 * (cross - gram @ found - 0.5 * found)
    torch.testing.assert_close(slope[found != 0], 5.0 * found[found != 0].sign(), rtol=1e-8, atol=0)
    assert (slope.abs() <= 5.0 + 1e-8).all()
    loose, converged = fista(gram, cross, 5.0, 0.5, tolerance=1e-3)
    assert converged
    assert 1e-8 < float((loose - found).abs().max()) < 0.05


def test_fista_of_nothing() -> None:
    w, converged = fista(torch.zeros(2, 2).double(), torch.ones(2, 1).double(), 1.0)
    assert converged
    assert (w == 0).all()
    w, converged = fista(0.1 * torch.eye(2).double(), torch.tensor([[1.0], [0.2]]).double(), 1.0)
    assert converged
    torch.testing.assert_close(w, torch.tensor([[5.0], [0.0]]).double())


def test_legendre_features_of_several_inputs() -> None:
    x = torch.rand(4, 3).double()
    assert legendre_features(x, 0).shape == (4, 3, 1)
    assert legendre_features(x, 1).shape == (4, 3, 2)
    p3 = (5 * x**3 - 3 * x) / 2
    torch.testing.assert_close(legendre_features(x, 3)[..., 3], math.sqrt(7) * p3)
    torch.testing.assert_close(monomial_features(x, 3)[..., 3], x**3)
