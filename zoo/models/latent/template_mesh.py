"""TemplateMeshModel: the base class of latent models of meshes with a template."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least, check_non_negative
from zoo.functional.meshes import edge_lengths, mesh_edges
from zoo.functional.paths import PATHS, linear_path, minimize_path_energy
from zoo.functional.precision import widen
from zoo.functional.templates import unpack_template
from zoo.models.latent.base import LatentModel
from zoo.models.latent.pca import fit_components, projection_error
from zoo.networks.mesh_conv import MeshHierarchy, make_mesh_decoder, make_mesh_encoder

NETWORK_TYPES = ("spiral", "cheb", "mlp")
SMOOTHNESS = 0.01  # weight of the second term of the path energy


class TemplateMeshModel(LatentModel):
    """A latent model of shapes that share the connectivity of a template mesh.

    Encoder and decoder use spiral or Chebyshev convolutions on the template and on coarser versions
    of it, one for each entry of ``hidden_dims``, whose vertices are chosen by farthest point
    sampling. Everything that pooling needs is saved with the model. The encoder takes offsets from
    the template's vertices, and the decoder outputs such offsets.

    Inherit from this class first and then from a latent model: ``class MeshVAE(TemplateMeshModel,
    VAE)``.

    Args:
        input_shape: shape of the vertices of one mesh, (V, 3).
        template: mean shape and its faces, as the text that
            :func:`zoo.functional.templates.pack_template` returns.
        latent_dim: dimension of a code, D, default 8.
        network: ``spiral`` (default), ``cheb``, or ``mlp``, which does not use the edges.
        hidden_dims: numbers of channels at each level, default (16, 32, 64); widths of an MLP.
        pooling_factor: number of vertices of a level divided by that of the next coarser one,
            default 4.
        kernel_size: length of the spirals, or number of Chebyshev polynomials, default 9.
        isometry_weight: weight λ, default 0, of a penalty on the edge lengths of shapes that are
            decoded between two codes,

                λ · mean_e ((ℓₑ(g(z_t)) − ℓ̄ₑ) / ℓ̄ₑ)²,  z_t = (1−t) z₀ + t z₁,
                ℓ̄ₑ = (1−t) ℓₑ(x₀) + t ℓₑ(x₁),

            where x₀ and x₁ are neighbors in the batch, and t is random for each pair in training
            and ½ in evaluation.
        activation: activation function of the hidden layers, default ``elu``.
        **latent: see :class:`~zoo.models.latent.base.LatentModel`.

    Raises:
        InputError: an unknown network; a template whose number of vertices differs from
            ``input_shape``; pooling that leaves fewer than 4 vertices; numbers out of range.

    Source: Ranjan et al., Generating 3D faces using convolutional mesh autoencoders, 2018; Gong et
    al., SpiralNet++, 2019; the penalty follows Cosmo et al., LIMP: Learning latent shape
    representations with metric preservation priors, 2020, section 4.
    """

    network_types = NETWORK_TYPES
    _principal_components: tuple[Tensor, Tensor] | None = None
    path_types = (*PATHS, "isometric")
    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error per coordinate of decode(encode(x)); 1 is the variance of the "
        "training shapes around their mean",
        "edge_error": "relative error of the edge lengths of reconstructions, Σ |ℓ′ − ℓ| / Σ ℓ",
        "pca_mse": "squared error per coordinate of PCA with as many dimensions, on the same split",
        "isometry_error": "squared relative error of the edge lengths of shapes decoded between "
        "two codes, mean ((ℓ − ℓ̄) / ℓ̄)²",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        template: str,
        latent_dim: int = 8,
        network: str = "spiral",
        hidden_dims: tuple[int, ...] = (16, 32, 64),
        pooling_factor: int = 4,
        kernel_size: int = 9,
        isometry_weight: float = 0.0,
        activation: str = "elu",
        **latent: Any,
    ) -> None:
        super().__init__(
            input_shape, latent_dim, network=network, hidden_dims=hidden_dims,
            activation=activation, template=template, **latent,
        )  # fmt: skip
        vertices, _ = unpack_template(template)
        if tuple(input_shape) != tuple(vertices.shape):
            raise InputError(
                f"the template has {len(vertices)} vertices, input_shape is {tuple(input_shape)}"
            )
        check_non_negative(isometry_weight=isometry_weight)
        check_at_least(2, pooling_factor=pooling_factor)
        check_at_least(1, kernel_size=kernel_size)

    # -- networks -------------------------------------------------------------------------------

    def build(self) -> None:
        _, faces = unpack_template(self.hparams["template"])
        super().build()
        self.register_buffer("faces", faces)
        self.register_buffer("edges", mesh_edges(faces))

    @cached_property
    def hierarchy(self) -> MeshHierarchy | None:
        """The template and its coarser versions, for mesh convolutions; None for an MLP."""
        hp = self.hparams
        if hp["network"] == "mlp":
            return None
        vertices, faces = unpack_template(hp["template"])
        factors = [hp["pooling_factor"]] * len(hp["hidden_dims"])
        return MeshHierarchy(vertices, faces, factors, hp["network"], hp["kernel_size"])

    def make_encoder_network(self, out_features: int) -> nn.Module:
        """Create an encoder of the type ``network``, (B, V, 3) → (B, out_features)."""
        mean = unpack_template(self.hparams["template"])[0]
        hp = self.hparams
        if self.hierarchy is None:
            network = super().make_encoder_network(out_features)
        else:
            network = make_mesh_encoder(
                self.hierarchy, hp["hidden_dims"], out_features, hp["activation"]
            )
        return nn.Sequential(Offset(-mean), network)

    def make_decoder_network(
        self, in_features: int | None = None, outputs_per_value: int = 1
    ) -> nn.Module:
        """Create a decoder of the type ``network``, (B, in_features) → (B, V, 3).

        ``outputs_per_value`` has no effect: a coordinate has one output.
        """
        mean = unpack_template(self.hparams["template"])[0]
        size = self.latent_dim if in_features is None else in_features
        hp = self.hparams
        if self.hierarchy is None:
            network = super().make_decoder_network(size)
        else:
            network = make_mesh_decoder(self.hierarchy, hp["hidden_dims"], size, hp["activation"])
        return nn.Sequential(network, Offset(mean))

    # -- training -------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Any]:
        parts: dict[str, Any] = super().step(batch)
        weight, x = self.hparams["isometry_weight"], batch[0]
        if weight:
            parts["isometry_error"] = self.isometry_error(x)
            parts["loss"] = parts["loss"] + weight * parts["isometry_error"]
        if not self.training:
            true = edge_lengths(x, self.edges)
            found = edge_lengths(self.reconstruct(x), self.edges)
            parts["edge_error"] = ((found - true).abs().sum(1) / true.sum(1)).mean()
        if self._principal_components is not None and self.trainer.testing:
            parts["pca_mse"] = projection_error(x, *self._principal_components).to(x)
        return parts

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._principal_components = self._fit_principal_components()

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._principal_components = None

    def _fit_principal_components(self) -> tuple[Tensor, Tensor] | None:
        """Return mean and components of the training shapes; None if the test data have none."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if not getattr(data, "has_training_meshes", False):
            return None
        shapes = data.evaluation_samples("train")[0].to(self.device)
        return fit_components(shapes, self.latent_dim)

    def isometry_error(self, x: Tensor) -> Tensor:
        """Compute the mean squared relative error of edge lengths between two codes, a scalar.

        See ``isometry_weight`` for the formula.

        Args:
            x: a batch of shapes, (B, V, 3); each is paired with the one before it.
        """
        z, lengths = widen(self.encode(x)), edge_lengths(x, self.edges)
        t = torch.rand(len(x), 1).to(x) if self.training else x.new_full((len(x), 1), 0.5)
        expected = torch.lerp(lengths, lengths.roll(1, 0), t)
        found = edge_lengths(self.decode(torch.lerp(z, z.roll(1, 0), t)), self.edges)
        return ((found - expected) / expected).square().mean()

    def describe_metrics(self) -> dict[str, str]:
        notes = super().describe_metrics() | TemplateMeshModel.metric_notes
        return {name: note.replace("per image", "per shape") for name, note in notes.items()}

    # -- paths ----------------------------------------------------------------------------------

    def interpolate(self, x0: Tensor, x1: Tensor, steps: int = 10, kind: str = "linear") -> Tensor:
        """Decode the points of a path from the code of one shape to that of another.

        ``isometric`` starts from the straight line and moves the codes between its ends to minimize
        :meth:`path_energy`, so the decoded shapes change as little as possible along the path, as
        in the discrete geodesics of Kilian, Mitra and Pottmann, Geometric modeling in shape space,
        2007.

        Args:
            x0: shapes at the start, (B, V, 3).
            x1: shapes at the end, (B, V, 3).
            steps: number of points, both ends included, default 10.
            kind: ``linear`` (default), ``spherical`` or ``isometric``.

        Returns:
            (steps, B, V, 3).

        Raises:
            InputError: ``kind`` is unknown.
        """
        if kind != "isometric":
            return super().interpolate(x0, x1, steps, kind)
        # validation and test run in inference mode, which does not allow gradients
        with torch.inference_mode(False), torch.enable_grad():
            line = linear_path(self.encode(x0).clone(), self.encode(x1).clone(), steps).detach()
            codes = minimize_path_energy(line, lambda z: self.path_energy(self._decode_path(z)))
        return self._decode_path(codes).detach()

    def _decode_path(self, codes: Tensor) -> Tensor:
        """Decode codes, (steps, B, D) → (steps, B, V, 3)."""
        return self.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])

    def path_energy(self, shapes: Tensor) -> Tensor:
        """Compute how much shapes change along a path, (steps, B, V, 3) → a scalar.

        Σ_k [mean ((ℓ_{k+1} − ℓ_k) / ℓ̄)² + 0.01 · mean (v_{k+1} − v_k)²], where ℓ are edge lengths,
        ℓ̄ their means over the path, and v the coordinates of the vertices.
        """
        lengths = edge_lengths(shapes, self.edges)  # (steps, B, E)
        change = lengths.diff(dim=0) / lengths.mean(0).detach()
        return (
            change.square().mean((1, 2)).sum()
            + SMOOTHNESS * shapes.diff(dim=0).square().mean((1, 2, 3)).sum()
        )


class Offset(nn.Module):
    """Adds the same tensor to every sample of a batch.

    Args:
        offset: tensor of the shape of one sample; a buffer, not trained.
    """

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset
