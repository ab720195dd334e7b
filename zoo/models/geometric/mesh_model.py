"""MeshModel: base class of classifiers of meshes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_choice, check_probability
from zoo.functional.spectral import heat_kernel_signature
from zoo.models.geometric.base import GeometricTask
from zoo.networks.diffusion_net import DiffusionNet, SurfaceBatch

INPUT_FEATURES = ("hks", "xyz")


class MeshModel(GeometricTask, Classifier):
    """A classifier around a :class:`~zoo.networks.diffusion_net.DiffusionNet`.

    Args:
        num_classes: number of classes, K.
        input_features: features of a vertex: ``hks`` (default), its heat kernel signature, which
            bending the surface does not change; or ``xyz``, its coordinates.
        num_times: number of diffusion times of the heat kernel signature, default 16; they are
            spaced logarithmically from 10^−2.5 to 10^−0.5, in units of the surface's area.
        width: number of channels of the network, C, default 64.
        blocks: number of blocks of the network, default 4.
        dropout: dropout probability in the blocks, default 0.
        **classifier: see :class:`~zoo.core.classification.Classifier`.

    Batch: a PyG ``Batch`` of B meshes with V vertices in total, with coordinates pos (V, 3), class
    indices y, and the operators of :mod:`zoo.functional.spectral`: mass (V,), eigenvalues (B, k),
    eigenvectors (V, k), grad_index (2, E) and grad (E, 2).

    Raises:
        InputError: unknown input features, or numbers out of range.

    Source: Sharp et al., DiffusionNet: Discretization agnostic learning on surfaces, 2022.
    """

    def __init__(
        self,
        num_classes: int,
        input_features: str = "hks",
        num_times: int = 16,
        width: int = 64,
        blocks: int = 4,
        dropout: float = 0.0,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **classifier)
        check_choice("input_features", input_features, INPUT_FEATURES)
        check_at_least(1, num_times=num_times, width=width, blocks=blocks)
        check_probability(dropout=dropout)

    def build(self) -> None:
        times = torch.logspace(-2.5, -0.5, self.hparams["num_times"])
        self.register_buffer("heat_times", times)
        self.network = self.make_network()

    def make_network(self) -> DiffusionNet:
        """Create the network from vertex features to the logits of every vertex."""
        hp = self.hparams
        in_dim = hp["num_times"] if hp["input_features"] == "hks" else 3
        return DiffusionNet(in_dim, self.num_classes, hp["width"], hp["blocks"], hp["dropout"])

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return len(batch.y), self.num_classes

    def surfaces(self, meshes: Any) -> SurfaceBatch:
        """Return the surfaces of a batch of meshes, with their differential operators.

        Raises:
            InputError: meshes without operators.
        """
        if "eigenvectors" not in meshes:
            raise InputError(
                f"{type(self).__name__} needs meshes with their differential operators: choose "
                "other data"
            )
        return SurfaceBatch(
            meshes.mass, meshes.eigenvalues, meshes.eigenvectors, meshes.grad_index, meshes.grad.T,
            meshes.ptr.diff().tolist(),
        )  # fmt: skip

    def vertex_features(self, meshes: Any, surfaces: SurfaceBatch) -> Tensor:
        """Compute the input features of every vertex, (V, F).

        Args:
            meshes: batch of meshes.
            surfaces: surfaces of the meshes, from :meth:`surfaces`.
        """
        if self.hparams["input_features"] == "xyz":
            return meshes.pos
        bases = zip(surfaces.eigenvalues, surfaces.eigenvectors.split(surfaces.sizes), strict=True)
        return torch.cat([heat_kernel_signature(*basis, self.heat_times) for basis in bases])

    def vertex_logits(self, meshes: Any, surfaces: SurfaceBatch) -> Tensor:
        """Compute the logits of every vertex, (V, K).

        Args:
            meshes: batch of meshes.
            surfaces: surfaces of the meshes, from :meth:`surfaces`.
        """
        return self.network(self.vertex_features(meshes, surfaces), surfaces)
