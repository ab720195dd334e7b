"""Distances between sets of samples, computed on their features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.functional.moments import Moments

ROWS = 2_000  # rows of a distance matrix computed at once, to bound the memory


def frechet_distance(first: Moments, second: Moments) -> Tensor:
    """Compute ‖μ₁ − μ₂‖² + tr(C₁ + C₂ − 2 (C₁C₂)^½) between Gaussians with the given moments.

    tr (C₁C₂)^½ is computed as the sum of the square roots of the eigenvalues of C₁^½ C₂ C₁^½, which
    are nonnegative. Covariances have the divisor n − 1, as in the published implementation. The
    estimate is biased upward for small samples: compare only values from equal sample sizes.

    Source: Heusel et al., GANs trained by a two time-scale update rule, 2017, section 3.
    """
    c1, c2 = (moments.scatter / (moments.n - 1) for moments in (first, second))
    eigenvalues, eigenvectors = torch.linalg.eigh(c1)
    root = eigenvectors * eigenvalues.clamp(min=0).sqrt() @ eigenvectors.mT
    product = torch.linalg.eigvalsh(root @ c2 @ root)
    trace = c1.trace() + c2.trace() - 2 * product.clamp(min=0).sqrt().sum()
    return (first.mean - second.mean).square().sum() + trace


def kernel_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Compute the unbiased squared maximum mean discrepancy with k(a, b) = (a·b/D + 1)³.

    This is the mean of k over all pairs of different samples within each set, minus twice its mean
    over pairs across the sets. Using all pairs makes it independent of a random choice of subsets.

    Args:
        real: features of the data, (N, D), N at least 2.
        fake: features of the generated samples, (M, D), M at least 2.

    Source: Bińkowski et al., Demystifying MMD GANs, 2018, section 4.
    """
    real, fake = real.double(), fake.double()

    def total(a: Tensor, b: Tensor) -> Tensor:
        sums = [(part @ b.mT / a.shape[1] + 1).pow(3).sum() for part in a.split(ROWS)]
        return torch.stack(sums).sum()

    def mean_within(a: Tensor) -> Tensor:
        diagonal = (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
        return (total(a, a) - diagonal) / (len(a) * (len(a) - 1))

    across = total(real, fake) / (len(real) * len(fake))
    return mean_within(real) + mean_within(fake) - 2 * across


def precision_recall_density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, Tensor]:
    """Compute precision, recall, density and coverage of generated samples.

    Each sample has a ball around it that reaches to its k-th nearest neighbor in its own set.

    * ``precision``: fraction of generated samples inside at least one ball of the data.
    * ``recall``: fraction of the data inside at least one ball of the generated samples.
    * ``density``: mean number of data balls that contain a generated sample, divided by k; about 1
      for equal distributions, and it may exceed 1.
    * ``coverage``: fraction of the data balls that contain at least one generated sample.

    Args:
        real: features of the data, (N, D).
        fake: features of the generated samples, (M, D).
        k: number of nearest neighbors, default 5.

    Raises:
        ValueError: k is below 1, or not below both N and M.

    Sources: Kynkäänniemi et al., Improved precision and recall metric, 2019; Naeem et al., Reliable
    fidelity and diversity metrics for generative models, 2020.
    """
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(
            f"k must be at least 1 and below both sample sizes, got k={k} with {len(real)} real "
            f"and {len(fake)} generated samples"
        )
    real_radii, fake_radii = _kth_neighbor_distances(real, k), _kth_neighbor_distances(fake, k)
    precise, balls = [], []
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = torch.zeros_like(recalled)
    for part, radii in zip(fake.split(ROWS), fake_radii.split(ROWS), strict=True):
        distance = torch.cdist(real, part)  # (N, rows)
        inside = distance < real_radii[:, None]
        precise.append(inside.any(0))
        balls.append(inside.sum())
        covered |= inside.any(1)
        recalled |= (distance < radii).any(1)
    return {
        "precision": torch.cat(precise).double().mean(),
        "recall": recalled.double().mean(),
        "density": torch.stack(balls).sum() / (k * len(fake)),
        "coverage": covered.double().mean(),
    }


def _kth_neighbor_distances(points: Tensor, k: int) -> Tensor:
    """Return the distance of each point to its k-th nearest neighbor, itself excluded, (N,)."""
    parts = [torch.cdist(part, points).kthvalue(k + 1).values for part in points.split(ROWS)]
    return torch.cat(parts)


def knn_classify(codes: Tensor, labels: Tensor, queries: Tensor, k: int = 5) -> Tensor:
    """Classify each query by a majority vote of its k nearest codes; the nearest decides ties.

    Args:
        codes: labeled codes, (N, D).
        labels: class indices of the codes, (N,).
        queries: codes to classify, (M, D).
        k: number of nearest neighbors, default 5.

    Returns:
        class indices, (M,).
    """
    predictions = []
    num_classes = int(labels.max()) + 1
    for part in queries.split(ROWS):
        nearest = labels[torch.cdist(part, codes).topk(k, largest=False).indices]  # (rows, k)
        votes = F.one_hot(nearest, num_classes).sum(1).double()
        # a bonus below one vote, the larger the nearer, decides between classes with equal votes
        rank = torch.linspace(0.5, 0, k, dtype=votes.dtype, device=votes.device)
        bonus = torch.zeros_like(votes).scatter_reduce_(1, nearest, rank.expand_as(nearest), "amax")
        predictions.append((votes + bonus).argmax(1))
    return torch.cat(predictions)
