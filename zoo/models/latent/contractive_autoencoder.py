"""Contractive autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from zoo.errors import check_choice, check_non_negative
from zoo.functional.jacobians import estimate_squared_jacobian_norm, squared_jacobian_norm
from zoo.models.latent.autoencoder import Autoencoder


class ContractiveAutoencoder(Autoencoder):
    """Contractive autoencoder: a penalty keeps codes insensitive to small changes of the input.

    Minimizes mean (x − g(f(x)))² + λ E‖∂f/∂x‖²_F.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 64; it may exceed the size of a sample.
        contraction_weight: λ, default 1e-3.
        jacobian: method that computes ‖∂f/∂x‖²_F in training: ``exact`` (default; D vectorized
            backward passes) or ``estimate`` (unbiased; one backward pass). Evaluation is exact.
        code_activation: activation function of the code units, default ``sigmoid``.
        **autoencoder: see :class:`~zoo.models.latent.autoencoder.Autoencoder`.

    Raises:
        InputError: an unknown choice of ``jacobian``; a negative ``contraction_weight``.

    Source: Rifai et al., Contractive auto-encoders, 2011.
    """

    allows_overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "jacobian": "‖∂z/∂x‖²_F, mean over samples",
        "loss": "mse + contraction_weight · jacobian",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        contraction_weight: float = 1e-3,
        jacobian: str = "exact",
        code_activation: str = "sigmoid",
        **autoencoder: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, code_activation=code_activation, **autoencoder)
        check_non_negative(contraction_weight=contraction_weight)
        check_choice("jacobian", jacobian, ("exact", "estimate"))

    def penalize_codes(self, parts: dict[str, Tensor], x: Tensor, z: Tensor) -> dict[str, Tensor]:
        if self.hparams["jacobian"] == "exact" or not self.training:
            norm = squared_jacobian_norm(self.encode, x).mean()
        else:
            norm = estimate_squared_jacobian_norm(self.encode, x).mean()
        loss = parts["loss"] + self.hparams["contraction_weight"] * norm
        return parts | {"loss": loss, "jacobian": norm}
