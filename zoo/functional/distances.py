"""Distances between sets of samples, by their features."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.functional.moments import Moments

ROWS = 2_000  # of a distance matrix at a time


def frechet_distance(one: Moments, other: Moments) -> Tensor:
    """‖μ₁ − μ₂‖² + tr(C₁ + C₂ − 2 (C₁C₂)^½) between Gaussians of the same moments.

    tr (C₁C₂)^½ is the sum of the square roots of the eigenvalues of C₁^½ C₂ C₁^½, which are not
    negative. Covariances have the divisor n − 1, as in the published implementation. Biased
    upwards by the sample size: compare only figures of equal sizes.

    Source: Heusel et al., GANs trained by a two time-scale update rule, 2017, section 3.
    """
    first, second = (m.scatter / (m.n - 1) for m in (one, other))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    product = torch.linalg.eigvalsh(root @ second @ root)
    trace = first.trace() + second.trace() - 2 * product.clamp(min=0).sqrt().sum()
    return (one.mean - other.mean).square().sum() + trace


def kernel_distance(real: Tensor, fake: Tensor) -> Tensor:
    """The unbiased squared maximum mean discrepancy with k(a, b) = (a·b/D + 1)³.

    The mean of k over pairs within each set, without a sample's pair with itself, minus twice the
    mean over pairs across; on all pairs, so that nothing is left to the choice of subsets.

    Args:
        real, fake: features, (N, D) and (M, D), at least two each.

    Source: Bińkowski et al., Demystifying MMD GANs, 2018, section 4.
    """
    real, fake = real.double(), fake.double()

    def total(a: Tensor, b: Tensor) -> Tensor:
        rows = [(part @ b.mT / a.shape[1] + 1).pow(3).sum() for part in a.split(ROWS)]
        return torch.stack(rows).sum()

    def within(a: Tensor) -> Tensor:
        own = (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
        return (total(a, a) - own) / (len(a) * (len(a) - 1))

    return within(real) + within(fake) - 2 * total(real, fake) / (len(real) * len(fake))


def precision_recall_density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, Tensor]:
    """Precision, recall, density and coverage of generated samples, each by balls around samples.

    A ball reaches to its sample's k-th nearest neighbour in its own set. ``precision``: share of
    fakes inside some real ball; ``recall``: of reals inside some fake ball; ``density``: real balls
    that a fake lies in, over k (1 for equal sets, and not bounded by it); ``coverage``: share of
    real balls with a fake inside.

    Args:
        real, fake: features, (N, D) and (M, D).
        k: default 5.

    Raises:
        ValueError: k below 1, or not fewer than the samples.

    Sources: Kynkäänniemi et al., Improved precision and recall metric, 2019; Naeem et al., Reliable
    fidelity and diversity metrics for generative models, 2020.
    """
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k={k} neighbours of {len(real)} real and {len(fake)} generated samples")
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    precise, dense, covered = [], [], torch.zeros(len(real), dtype=torch.bool, device=real.device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for part, radii in zip(fake.split(ROWS), fake_radii.split(ROWS), strict=True):
        distance = torch.cdist(real, part)  # (N, rows)
        inside = distance < real_radii[:, None]
        precise.append(inside.any(0))
        dense.append(inside.sum())
        covered |= inside.any(1)
        recalled |= (distance < radii).any(1)
    return {
        "precision": torch.cat(precise).double().mean(),
        "recall": recalled.double().mean(),
        "density": torch.stack(dense).sum() / (k * len(fake)),
        "coverage": covered.double().mean(),
    }


def _radii(points: Tensor, k: int) -> Tensor:
    """Distance of each point's k-th nearest neighbour, itself not counted, (N,)."""
    parts = [torch.cdist(part, points).kthvalue(k + 1).values for part in points.split(ROWS)]
    return torch.cat(parts)


def knn_classify(codes: Tensor, labels: Tensor, queries: Tensor, k: int = 5) -> Tensor:
    """The class most frequent among the k nearest codes; of equally frequent ones the nearest's.

    Args:
        codes, labels: (N, D) and classes (N,).
        queries: (M, D).
        k: default 5.

    Returns:
        (M,) classes.
    """
    chosen = []
    classes = int(labels.max()) + 1
    for part in queries.split(ROWS):
        nearest = labels[torch.cdist(part, codes).topk(k, largest=False).indices]  # (rows, k)
        votes = torch.nn.functional.one_hot(nearest, classes).sum(1).double()
        # a vote for the nearest decides ties
        rank = torch.linspace(0.5, 0, k, dtype=votes.dtype, device=votes.device)
        bonus = torch.zeros_like(votes).scatter_reduce_(1, nearest, rank.expand_as(nearest), "amax")
        chosen.append((votes + bonus).argmax(1))
    return torch.cat(chosen)
