"""Solvers of linear models from sufficient statistics, and polynomial features."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from zoo.functional.penalties import soft_threshold


def nonzero_eigenvalue_mask(eigenvalues: Tensor) -> Tensor:
    """Return the mask of the eigenvalues of a Gram matrix that are not rounding errors, (P,).

    Forming the matrix has an error of about ``eps`` times the largest eigenvalue λ; eigenvalues up
    to 10 P · eps · λ count as zero. The sum of the mask is the numerical rank.

    Args:
        eigenvalues: eigenvalues of the (P, P) matrix, (P,).
    """
    tolerance = 10 * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return eigenvalues > tolerance * eigenvalues.max()


def solve_normal_equations(gram: Tensor, cross: Tensor, ridge: float = 0.0) -> tuple[Tensor, int]:
    """Solve (G + α I) w = c, by Cholesky decomposition if the matrix has full rank.

    The equations are scaled to a unit diagonal first. If columns are linearly dependent and α is 0,
    the result is the minimum-norm solution w = G⁺ c, computed from the eigenvectors of G.

    Args:
        gram: Gram matrix G = XᵀX, (P, P).
        cross: right-hand side c = XᵀY, (P, T).
        ridge: ridge penalty α, not negative, default 0.

    Returns:
        w (P, T), and the numerical rank of G + α I.
    """
    matrix = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    scale = matrix.diagonal().clamp(min=0).sqrt()
    if bool((scale > 0).all()):
        scaled = matrix / torch.outer(scale, scale)
        if bool(nonzero_eigenvalue_mask(torch.linalg.eigvalsh(scaled)).all()):
            factor = torch.linalg.cholesky(scaled)
            solution = torch.cholesky_solve(cross / scale[:, None], factor)
            return solution / scale[:, None], len(gram)
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    kept = nonzero_eigenvalue_mask(eigenvalues)
    inverse = torch.where(kept, 1 / eigenvalues.clamp(min=1e-300), 0)
    return vectors @ (inverse[:, None] * (vectors.mT @ cross)), int(kept.sum())


def fista(
    gram: Tensor,
    cross: Tensor,
    l1: float,
    l2: float = 0.0,
    tolerance: float = 1e-12,
    max_iterations: int = 100_000,
) -> tuple[Tensor, bool]:
    """Minimize wᵀG w − 2 cᵀw + λ₁ ‖w‖₁ + λ₂ ‖w‖² by accelerated proximal gradient descent.

    w⁺ = soft(v − ∇f(v)/L, λ₁/L), where v is the extrapolated point; the momentum is reset whenever
    it points uphill.

    Args:
        gram: Gram matrix G, (P, P).
        cross: vector or matrix c, (P, T).
        l1: weight λ₁ of the L1 penalty.
        l2: weight λ₂ of the squared L2 penalty, default 0.
        tolerance: converged when no weight changes by more than this fraction of the largest
            weight, default 1e-12.
        max_iterations: maximum number of iterations, default 100,000.

    Returns:
        w (P, T), and whether it converged within the iterations.

    Source: Beck and Teboulle, 2009; restarts: O'Donoghue and Candès, 2015, section 3.2.
    """
    lipschitz = 2 * (float(torch.linalg.eigvalsh(gram)[-1]) + l2)
    w = torch.zeros_like(cross)
    if lipschitz <= 0:
        return w, True
    extrapolated, momentum = w, 1.0
    for _ in range(max_iterations):
        gradient = 2 * (gram @ extrapolated - cross + l2 * extrapolated)
        new_w = soft_threshold(extrapolated - gradient / lipschitz, l1 / lipschitz)
        change = new_w - w
        if float(((extrapolated - new_w) * change).sum()) > 0:
            momentum = 1.0
        new_momentum = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = new_w + (momentum - 1) / new_momentum * change
        w, momentum = new_w, new_momentum
        if float(change.abs().max()) <= tolerance * max(float(w.abs().max()), 1e-300):
            return w, True
    return w, False


def logistic_loss_gradient_hessian(
    design: Tensor, logits: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the multinomial logistic loss, its gradient and its Hessian, summed over a batch.

    loss = −Σ log p_y; ∂/∂w_k = Σ (p_k − [y = k]) x, which for two classes is Xᵀ(σ(Xw) − y);
    ∂²/∂w_k∂w_m = Σ p_k ([k = m] − p_m) x xᵀ.

    Args:
        design: design matrix X, (B, P).
        logits: logits of all K classes, (B, K). In a parametrization with K − 1 weight vectors the
            logits of class 0 are zero.
        y: class indices, (B,).

    Returns:
        the loss, a scalar; the gradient, (K, P); and the Hessian, (K, P, K, P).
    """
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    loss = -log_p.gather(1, y[:, None]).sum()
    residual = p - torch.nn.functional.one_hot(y, logits.shape[1])
    gradient = residual.mT @ design
    num_classes, num_features = gradient.shape
    hessian = design.new_zeros(num_classes, num_features, num_classes, num_features)
    for k, m in itertools.combinations_with_replacement(range(num_classes), 2):
        weights = p[:, k] * (float(k == m) - p[:, m])  # (B,)
        block = design.mT @ (weights[:, None] * design)
        hessian[k, :, m] = block
        hessian[m, :, k] = block
    return loss, gradient, hessian


def monomial_exponents(num_features: int, degree: int) -> list[tuple[int, ...]]:
    """Return the exponents of all monomials of degree 1 to ``degree``, in order of the degree.

    Args:
        num_features: number of variables.
        degree: largest total degree.
    """
    exponents = []
    for total in range(1, degree + 1):
        for variables in itertools.combinations_with_replacement(range(num_features), total):
            exponents.append(tuple(variables.count(v) for v in range(num_features)))
    return exponents


def monomial_features(x: Tensor, degree: int) -> Tensor:
    """Compute 1, x, …, x^degree along a new last dimension."""
    return torch.stack([x**k for k in range(degree + 1)], dim=-1)


def legendre_features(x: Tensor, degree: int) -> Tensor:
    """Compute the normalized Legendre polynomials √(2k+1) P_k(x), k = 0 … degree.

    They are orthonormal under the uniform distribution on [−1, 1]. The values are stacked along a
    new last dimension and computed by (k+1) P_{k+1} = (2k+1) x P_k − k P_{k−1}.
    """
    values = [torch.ones_like(x), x]
    for k in range(1, degree):
        values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
    scaled = [math.sqrt(2 * k + 1) * value for k, value in enumerate(values[: degree + 1])]
    return torch.stack(scaled, dim=-1)
