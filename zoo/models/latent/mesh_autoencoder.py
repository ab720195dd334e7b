"""Mesh autoencoder."""

from __future__ import annotations

from typing import Any

from zoo.models.latent.autoencoder import Autoencoder
from zoo.models.latent.template_mesh import TemplateMeshModel


class MeshAutoencoder(TemplateMeshModel, Autoencoder):
    """Mesh autoencoder: reconstructs the vertices of shapes that share a template mesh.

    Minimizes the squared error per coordinate, mean (x − g(f(x)))².

    Args:
        input_shape: shape of the vertices of one mesh, (V, 3).
        template: mean shape and its faces, from the data module.
        latent_dim: dimension of a code, D, default 8.
        output: range of the decoder's output, default ``identity`` (any values).
        **mesh: see :class:`~zoo.models.latent.template_mesh.TemplateMeshModel` and
            :class:`~zoo.models.latent.autoencoder.Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        template: str,
        latent_dim: int = 8,
        output: str = "identity",
        **mesh: Any,
    ) -> None:
        super().__init__(input_shape, template, latent_dim, output=output, **mesh)
