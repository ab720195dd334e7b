"""Metrics of a latent model's likelihood and of its codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import check_at_least
from zoo.functional.distances import knn_classify

CHUNK_SIZE = 4_000  # codes decoded at once, which bounds the memory


@torch.no_grad()
def importance_weighted_bound(
    model: Any,
    x: Tensor,
    y: Tensor | None = None,
    num_samples: int = 500,
    chunk_size: int = CHUNK_SIZE,
) -> Tensor:
    """Estimate log (1/K) Σ_k p(x, z_k)/q(z_k|x), z_k ~ q(z|x), of each image in nats, (N,).

    For K = 1 this is an estimate of the ELBO; it increases toward log p(x) with K. The noise is
    sampled from the model's generator: ``with model.seeded(0):`` makes it reproducible.

    Args:
        model: model with a method ``log_weights(x, y, num_samples)``, such as a
            :class:`~zoo.models.latent.vae.VAE`.
        x: pixels, binarized if the model binarizes its inputs, (N, *input_shape).
        y: class indices for a conditional model, (N,); default None.
        num_samples: number of latent samples per image, K, default 500.
        chunk_size: number of codes decoded at once, default 4,000; memory does not depend on K or
            N.

    Raises:
        InputError: ``num_samples`` is below 1.

    Source: Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016, section 5.
    """
    check_at_least(1, num_samples=num_samples)
    # about a hundred images per chunk, with as many samples of each as fit
    samples_per_chunk = max(1, min(num_samples, chunk_size // max(1, min(len(x), 100))))
    images_per_chunk = max(1, chunk_size // samples_per_chunk)
    parts = []
    for start in range(0, len(x), images_per_chunk):
        images = x[start : start + images_per_chunk]
        labels = None if y is None else y[start : start + images_per_chunk]
        total: Tensor | None = None
        for first in range(0, num_samples, samples_per_chunk):
            samples = min(samples_per_chunk, num_samples - first)
            log_w = model.log_weights(images, labels, samples).logsumexp(0)
            total = log_w if total is None else torch.logaddexp(total, log_w)
        parts.append(total)
    return torch.cat(parts) - torch.tensor(float(num_samples)).log()  # type: ignore[arg-type]


def active_units(codes: Tensor, threshold: float = 0.01) -> int:
    """Count the latent dimensions whose posterior mean E_q[z_d] varies over the data.

    Args:
        codes: posterior means of many inputs, (N, D).
        threshold: variance above which a dimension is active, default 0.01.

    Source: Burda et al., Importance weighted autoencoders, 2016, section 5.1.
    """
    # the correction n − 1 of a single code would be 0
    correction = min(1, len(codes) - 1)
    return int((codes.double().var(0, correction=correction) > threshold).sum())


def knn_accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], k: int = 5) -> float:
    """Compute the test accuracy of a k-nearest-neighbor classifier on codes.

    Args:
        train: training codes (N, D) and their class indices (N,).
        test: test codes (M, D) and their class indices (M,).
        k: number of nearest neighbors, default 5.
    """
    predictions = knn_classify(*train, test[0], k)
    return float((predictions == test[1]).double().mean())


def linear_probe_accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """Compute the test accuracy of a logistic regression on standardized codes.

    Args:
        train: training codes (N, D) and their class indices (N,).
        test: test codes (M, D) and their class indices (M,).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(train[0].cpu().numpy(), train[1].cpu().numpy())
    return float(probe.score(test[0].cpu().numpy(), test[1].cpu().numpy()))
