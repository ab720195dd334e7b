"""Meshes of any connectivity: which shape a surface is, and which part of it each vertex."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_choice
from zoo.functional.spectral import heat_kernel_signature
from zoo.models.geometric.base import GeometricTask
from zoo.networks.diffusion_net import DiffusionNet, SurfaceBatch

INPUTS = ("hks", "xyz")


class MeshModel(GeometricTask, Classifier):
    """A classifier around a :class:`~zoo.networks.diffusion_net.DiffusionNet`.

    Args:
        num_classes: K.
        inputs: at each vertex ``hks`` (default): its heat-kernel signature, which stays the same
            when the surface is bent; or ``xyz``: where it is.
        num_times: of the signature, default 16, from 10^−2.5 to 10^−0.5 of the surface's area.
        width: C inside of the network, default 64.
        blocks: default 4.
        dropout: in the blocks, default 0.
        **classifier: see :class:`~zoo.core.classification.Classifier`.

    Raises:
        ValueError: unknown inputs.

    Source: Sharp et al., DiffusionNet: Discretization agnostic learning on surfaces, 2022.
    """

    def __init__(
        self,
        num_classes: int,
        inputs: str = "hks",
        num_times: int = 16,
        width: int = 64,
        blocks: int = 4,
        dropout: float = 0.0,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **classifier)
        check_choice("inputs", inputs, INPUTS)
        check_at_least(1, num_times=num_times, width=width, blocks=blocks)

    def build(self) -> None:
        times = torch.logspace(-2.5, -0.5, self.hparams["num_times"])
        self.register_buffer("heat_times", times)
        self.network = self.make_network()

    def make_network(self) -> DiffusionNet:
        """Inputs (V, F) and surfaces → scores at every vertex, (V, K)."""
        hp = self.hparams
        in_dim = hp["num_times"] if hp["inputs"] == "hks" else 3
        return DiffusionNet(in_dim, self.num_classes, hp["width"], hp["blocks"], hp["dropout"])

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return len(batch.y), self.num_classes

    def features(self, meshes: Any, on: SurfaceBatch) -> Tensor:
        """What the network is given at each vertex, (V, F)."""
        if self.hparams["inputs"] == "xyz":
            return meshes.pos
        bases = zip(on.eigenvalues, on.eigenvectors.split(on.sizes), strict=True)
        return torch.cat([heat_kernel_signature(*basis, self.heat_times) for basis in bases])

    def vertex_scores(self, meshes: Any) -> tuple[Tensor, SurfaceBatch]:
        """Scores at every vertex of a batch of meshes, (V, K), and its surfaces."""
        if "eigenvectors" not in meshes:
            raise InputError(
                f"{type(self).__name__} needs meshes with their operators: choose other data"
            )
        on = SurfaceBatch(
            meshes.mass, meshes.eigenvalues, meshes.eigenvectors, meshes.grad_index, meshes.grad.T,
            meshes.ptr.diff().tolist(),
        )  # fmt: skip
        return self.network(self.features(meshes, on), on), on


class MeshClassifier(MeshModel):
    """Which shape a mesh is: the mean of the scores of its vertices, by area.

    Args:
        num_classes: K.
        **surfaces: see :class:`MeshModel`.

    Shapes: a PyG ``Batch`` of B meshes → (B, K).

    Batch: pos (V, 3), y (B,), and the operators of :mod:`zoo.functional.spectral`: mass,
    eigenvalues (B, k), eigenvectors, grad_index, and grad as (E, 2).
    """

    def logits(self, x: Any) -> Tensor:
        """Scores of the meshes of a batch, (B, K)."""
        scores, on = self.vertex_scores(x)
        return on.mean(scores)

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.logits(batch), batch.y


class MeshSegmenter(MeshModel):
    """Which part of a shape each vertex of a mesh is.

    Args:
        num_classes: K, parts of all shapes together.
        **surfaces: see :class:`MeshModel`.

    Shapes: a PyG ``Batch`` of V vertices in all → (V, K).

    Batch: as for :class:`MeshClassifier`, with y (V,).
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "accuracy": "fraction of vertices classified correctly",
        "iou": "vertices in both over vertices in either of a part and its prediction, mean over "
        "parts",
    }

    def logits(self, x: Any) -> Tensor:
        """Scores of the parts at every vertex, (V, K)."""
        return self.vertex_scores(x)[0]

    def batch_size(self, batch: Any) -> int:
        return int(batch.num_nodes)

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        if len(batch.y) != batch.num_nodes:
            raise InputError(
                "MeshSegmenter needs a part at every vertex, the data says what each mesh is: "
                "choose other data, or --model diffusion_net"
            )
        return self.logits(batch), batch.y

    def step(self, batch: Any) -> dict[str, Any]:
        return super().step(batch) | {"weight": len(batch.y)}

    def make_metrics(self) -> dict[str, Metric]:
        return super().make_metrics() | {"iou": MulticlassJaccardIndex(self.num_classes)}
