"""Solvers of linear models from their sufficient statistics."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from zoo.functional.penalties import soft_threshold


def numerical_rank(eigenvalues: Tensor) -> Tensor:
    """Which eigenvalues of a Gram matrix are not rounding errors, a boolean mask.

    Forming the matrix loses about ``eps`` of the largest: smaller than 10 P of that counts as zero.
    """
    tolerance = 10 * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return eigenvalues > tolerance * eigenvalues.max()


def solve_normal_equations(gram: Tensor, cross: Tensor, ridge: float = 0.0) -> tuple[Tensor, int]:
    """w with (G + α I) w = c: Cholesky, else the solution of minimum norm.

    The equations are scaled to a unit diagonal before they are solved. Where columns depend on
    each other and α is 0, w = G⁺ c by the eigenvectors of G.

    Args:
        gram: G = XᵀX, (P, P).
        cross: c = XᵀY, (P, T).
        ridge: α, not negative.

    Returns:
        w (P, T) and the numerical rank of G + α I.
    """
    matrix = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    scale = matrix.diagonal().clamp(min=0).sqrt()
    if bool((scale > 0).all()):
        scaled = matrix / torch.outer(scale, scale)
        if bool(numerical_rank(torch.linalg.eigvalsh(scaled)).all()):
            factor = torch.linalg.cholesky(scaled)
            solution = torch.cholesky_solve(cross / scale[:, None], factor)
            return solution / scale[:, None], len(gram)
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    kept = numerical_rank(eigenvalues)
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
    """argmin_w wᵀG w − 2 cᵀw + λ₁ ‖w‖₁ + λ₂ ‖w‖² by accelerated proximal gradient.

    w⁺ = soft(v − ∇f(v)/L, λ₁/L) with v the extrapolated point; the momentum starts anew whenever it
    points uphill.

    Args:
        gram: G, (P, P).
        cross: c, (P, T).
        l1, l2: λ₁ and λ₂.
        tolerance: stops when no weight moves by more than this share of the largest.
        max_iterations: stops then at the latest.

    Returns:
        w (P, T), and whether it settled within the iterations.

    Source: Beck and Teboulle, 2009; restarts: O'Donoghue and Candès, 2015, section 3.2.
    """
    lipschitz = 2 * (float(torch.linalg.eigvalsh(gram)[-1]) + l2)
    w = torch.zeros_like(cross)
    if lipschitz <= 0:
        return w, True
    extrapolated, momentum = w, 1.0
    for _ in range(max_iterations):
        gradient = 2 * (gram @ extrapolated - cross + l2 * extrapolated)
        following = soft_threshold(extrapolated - gradient / lipschitz, l1 / lipschitz)
        moved = following - w
        if float(((extrapolated - following) * moved).sum()) > 0:
            momentum = 1.0
        accelerated = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = following + (momentum - 1) / accelerated * moved
        w, momentum = following, accelerated
        if float(moved.abs().max()) <= tolerance * max(float(w.abs().max()), 1e-300):
            return w, True
    return w, False


def logistic_sums(design: Tensor, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over a batch of the multinomial logistic loss, its gradient and its Hessian.

    loss = −Σ log p_y; ∂/∂w_k = Σ (p_k − [y = k]) x, which for two classes is Xᵀ(σ(Xw) − y);
    ∂²/∂w_k∂w_l = Σ p_k ([k = l] − p_l) x xᵀ.

    Args:
        design: X, (B, P).
        logits: of all classes, (B, K); the weights of class 0 are fixed at zero where only K − 1
            have any.
        y: classes, (B,).

    Returns:
        Scalar; (K, P); (K, P, K, P).
    """
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    loss = -log_p.gather(1, y[:, None]).sum()
    residual = p - torch.nn.functional.one_hot(y, logits.shape[1])
    gradient = residual.mT @ design
    classes, features = gradient.shape
    hessian = design.new_zeros(classes, features, classes, features)
    for k, other in itertools.combinations_with_replacement(range(classes), 2):
        weights = p[:, k] * (float(k == other) - p[:, other])  # (B,)
        block = design.mT @ (weights[:, None] * design)
        hessian[k, :, other] = block
        hessian[other, :, k] = block
    return loss, gradient, hessian


def monomials(num_features: int, degree: int) -> list[tuple[int, ...]]:
    """Exponents of all monomials of degree 1 to ``degree`` in that many variables, by degree."""
    terms = []
    for total in range(1, degree + 1):
        for variables in itertools.combinations_with_replacement(range(num_features), total):
            terms.append(tuple(variables.count(v) for v in range(num_features)))
    return terms


def monomial_features(x: Tensor, degree: int) -> Tensor:
    """1, x, …, x^degree along a new last dimension."""
    return torch.stack([x**k for k in range(degree + 1)], dim=-1)


def legendre_features(x: Tensor, degree: int) -> Tensor:
    """Legendre polynomials √(2k+1) P_k(x), orthonormal under the uniform measure on [−1, 1].

    (k+1) P_{k+1} = (2k+1) x P_k − k P_{k−1}, along a new last dimension.
    """
    values = [torch.ones_like(x), x]
    for k in range(1, degree):
        values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
    scaled = [math.sqrt(2 * k + 1) * value for k, value in enumerate(values[: degree + 1])]
    return torch.stack(scaled, dim=-1)
