"""How good a latent model's density and codes are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.functional.distances import knn_classify

ROWS = 4_000  # decoded at once: bounds the memory of an importance-weighted bound


@torch.no_grad()
def importance_weighted_bound(
    model: Any, x: Tensor, label: Tensor | None = None, num_samples: int = 500, rows: int = ROWS
) -> Tensor:
    """log (1/K) Σ_k p(x, z_k)/q(z_k|x), z_k ~ q(z|x), of each image, in nats, (N,).

    At K = 1 it is an estimate of the ELBO; it rises with K towards log p(x). Noise comes from the
    model's generator: ``with model.seeded(0):`` makes it repeatable.

    Args:
        model: has ``log_weights(x, label, draws)``, such as a VAE.
        x: pixels, binarised where the model has them so, (N, *input_shape).
        label: classes, of a conditional model, (N,).
        draws: K, default 500.
        rows: codes decoded at once; memory does not depend on K or N.

    Raises:
        ValueError: fewer than one draw.

    Source: Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016, section 5.
    """
    if num_samples < 1:
        raise ValueError(f"draws must be at least 1, got {num_samples}")
    # about a hundred images at a time, as many draws of each as fit
    at_once = max(1, min(num_samples, rows // max(1, min(len(x), 100))))
    images = max(1, rows // at_once)
    parts = []
    for start in range(0, len(x), images):
        part = x[start : start + images]
        labels = None if label is None else label[start : start + images]
        total: Tensor | None = None
        for first in range(0, num_samples, at_once):
            log_w = model.log_weights(part, labels, min(at_once, num_samples - first)).logsumexp(0)
            total = log_w if total is None else torch.logaddexp(total, log_w)
        parts.append(total)
    return torch.cat(parts) - torch.tensor(float(num_samples)).log()  # type: ignore[arg-type]


def active_units(codes: Tensor, threshold: float = 0.01) -> int:
    """Latent dimensions whose mean E_q[z_d] varies over the data by more than ``threshold``.

    Args:
        codes: posterior means of many inputs, (N, D).
        threshold: of the variance, default 0.01.

    Source: Burda et al., 2016, section 5.1.
    """
    return int((codes.double().var(0) > threshold).sum())


def neighbor_accuracy(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], k: int = 5
) -> float:
    """Share of test codes whose class the k nearest training codes name.

    Args:
        train, test: codes (N, D) and classes (N,).
        k: default 5.
    """
    found = knn_classify(*train, test[0], k)
    return float((found == test[1]).double().mean())


def probe_accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """Test accuracy of a logistic regression on standardised codes.

    Args:
        train, test: codes (N, D) and classes (N,).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(train[0].cpu().numpy(), train[1].cpu().numpy())
    return float(probe.score(test[0].cpu().numpy(), test[1].cpu().numpy()))
