"""Sparse autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from zoo.errors import (
    InputError,
    check_choice,
    check_non_negative,
    check_positive,
    check_probability,
)
from zoo.functional.divergences import kl_bernoulli
from zoo.models.latent.autoencoder import Autoencoder


class SparseAutoencoder(Autoencoder):
    """Sparse autoencoder: a penalty keeps most code units inactive for each input.

    Minimizes mean (x − g(f(x)))² + λ · penalty(z). The penalty is E Σ_d |z_d| (``l1``, with ReLU
    codes), or Σ_d KL(ρ ‖ ρ̂_d) (``kl``, with sigmoid codes), where ρ̂_d is the mean activation of
    unit d over the batch.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 64; it may exceed the size of a sample.
        sparsity: penalty on the codes, ``l1`` (default) or ``kl``.
        sparsity_weight: λ, default 1e-3.
        target_rate: mean activation that ``kl`` aims at, ρ in (0, 1), default 0.05.
        code_activation: activation function of the code units, default ``relu`` for ``l1`` and
            ``sigmoid`` for ``kl``.
        **autoencoder: see :class:`~zoo.models.latent.autoencoder.Autoencoder`.

    Raises:
        InputError: an unknown ``sparsity``; a negative ``sparsity_weight``; a ``target_rate``
            outside (0, 1); ``kl`` with codes that are not in (0, 1).

    Source: Ng, Sparse autoencoder (CS294A lecture notes), 2011, section 3.
    """

    allows_overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "sparsity": "E Σ|z|, or Σ KL(target rate ‖ mean activation) in nats",
        "active": "effective fraction of active code units, (Σ|z|)² / (D Σ z²), mean over samples",
        "loss": "mse + sparsity_weight · sparsity",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        sparsity: str = "l1",
        sparsity_weight: float = 1e-3,
        target_rate: float = 0.05,
        code_activation: str | None = None,
        **autoencoder: Any,
    ) -> None:
        check_choice("sparsity", sparsity, ("l1", "kl"))
        code_activation = code_activation or ("relu" if sparsity == "l1" else "sigmoid")
        super().__init__(input_shape, latent_dim, code_activation=code_activation, **autoencoder)
        if sparsity == "kl" and code_activation not in ("sigmoid", "scaled_sigmoid"):
            raise InputError(
                "sparsity='kl' needs code_activation='sigmoid' or 'scaled_sigmoid', got "
                f"{code_activation!r}"
            )
        check_non_negative(sparsity_weight=sparsity_weight)
        check_positive(target_rate=target_rate)
        check_probability(target_rate=target_rate)

    def penalize_codes(self, parts: dict[str, Tensor], x: Tensor, z: Tensor) -> dict[str, Tensor]:
        if self.hparams["sparsity"] == "l1":
            sparsity = z.abs().sum(1).mean()
        else:
            sparsity = kl_bernoulli(self.hparams["target_rate"], z.mean(0)).sum()
        loss = parts["loss"] + self.hparams["sparsity_weight"] * sparsity
        active = active_fraction(z.detach()).mean()
        return parts | {"loss": loss, "sparsity": sparsity, "active": active}


def active_fraction(z: Tensor) -> Tensor:
    """Compute the effective fraction of active units of each code, (Σ_d |z_d|)² / (D Σ_d z_d²).

    It is k/D where k of the D units have the same activation and the others are 0.

    Args:
        z: codes, (B, D).

    Returns:
        (B,), in [0, 1].
    """
    squares = z.square().sum(1).clamp(min=1e-12)
    return z.abs().sum(1).square() / (z.shape[1] * squares)
