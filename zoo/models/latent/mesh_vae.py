"""Mesh VAE."""

from __future__ import annotations

from typing import Any

from zoo.errors import InputError
from zoo.models.latent.template_mesh import TemplateMeshModel
from zoo.models.latent.vae import VAE


class MeshVAE(TemplateMeshModel, VAE):
    """Mesh VAE: a VAE of the vertices of shapes that share a template mesh.

    p(x|z) is a normal distribution of each coordinate around the decoder's output, with one learned
    standard deviation σ for all of them.

    Args:
        input_shape: shape of the vertices of one mesh, (V, 3).
        template: mean shape and its faces, from the data module.
        latent_dim: dimension of a code, D, default 8.
        likelihood: family of p(x|z); only ``gaussian``, the default, suits coordinates.
        **mesh: see :class:`~zoo.models.latent.template_mesh.TemplateMeshModel` and
            :class:`~zoo.models.latent.vae.VAE`.

    Raises:
        InputError: a ``likelihood`` of gray values.

    Source: Tan et al., Variational autoencoders for deforming 3D mesh models, 2018.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        template: str,
        latent_dim: int = 8,
        likelihood: str = "gaussian",
        **mesh: Any,
    ) -> None:
        super().__init__(input_shape, template, latent_dim, likelihood=likelihood, **mesh)
        if likelihood != "gaussian":
            raise InputError(
                f"MeshVAE needs likelihood='gaussian', got {likelihood!r}: coordinates are "
                "continuous and may be outside [0, 1]"
            )

    def step(self, batch: Any) -> dict[str, Any]:
        parts = super().step(batch)
        parts.pop("bits_per_dim", None)  # coordinates are continuous
        return parts
