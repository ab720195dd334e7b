"""Autoencoders of shapes that share a template: vertices that correspond from one to the next."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo import plots
from zoo.errors import InputError, check_at_least, check_non_negative
from zoo.functional.meshes import edge_lengths, mesh_edges
from zoo.functional.paths import PATHS, linear_path, minimize_path_energy
from zoo.functional.templates import unpack_template
from zoo.models.latent.autoencoders import Autoencoder
from zoo.models.latent.base import LatentModel
from zoo.models.latent.vae import VAE
from zoo.networks.mesh_conv import MeshHierarchy, make_mesh_decoder, make_mesh_encoder

NETWORKS = ("spiral", "cheb", "mlp")


class TemplateMeshModel(LatentModel):
    """A latent model of shapes on a template, around networks of spiral or Chebyshev convolutions.

    The template is made coarser once for each entry of ``hidden_dims``, by farthest points; what this
    takes is stored with the model. Its vertices are what the encoder measures from and the decoder
    adds to.

    Args:
        input_shape: (V, 3).
        template: the mean shape and its faces as text; see
            :func:`zoo.functional.templates.pack_template`.
        latent_dim: D, default 8.
        network: ``spiral`` (default), ``cheb``, or ``mlp``, which looks at no edges.
        hidden: channels at each level, default (16, 32, 64); widths of an MLP.
        pooling_factor: how many times fewer vertices each level has than the one before, default 4.
        kernel_size: the spirals' length, or the number of Chebyshev polynomials, default 9.
        isometry_weight: weight λ of a penalty on edges that are not as long as they should be halfway
            between shapes, default 0:

                λ · mean_e ((ℓₑ(g(z_t)) − ℓ̄ₑ) / ℓ̄ₑ)²,  z_t = (1−t) z₀ + t z₁,
                ℓ̄ₑ = (1−t) ℓₑ(x₀) + t ℓₑ(x₁),

            for neighbours x₀, x₁ in the batch and a random t for each pair in training, ½ in
            evaluation.
        activation: default ``elu``.
        **latent: the settings of :class:`zoo.core.task.Task` and of the base class.

    Raises:
        ValueError: a template of another number of vertices than ``input_shape``; a pooling that
            leaves fewer than 4; a negative isometry.

    Source: Ranjan et al., Generating 3D faces using convolutional mesh autoencoders, 2018; Gong et
    al., SpiralNet++, 2019; the penalty after Cosmo et al., LIMP: Learning latent shape
    representations with metric preservation priors, 2020, section 4.
    """

    networks = NETWORKS
    paths = (*PATHS, "isometric")
    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error per coordinate of decode(encode(x)); 1 is the training shapes' "
        "variance around their mean",
        "edge_error": "Σ |ℓ′ − ℓ| / Σ ℓ of the edges of reconstructions",
        "distortion": "mean ((ℓ − ℓ̄) / ℓ̄)² of edges between codes, ℓ̄ between the shapes' own",
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
            activation=activation, **latent,
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
        """Coarser versions of the template for mesh convolutions; None for an MLP."""
        hp = self.hparams
        if hp["network"] == "mlp":
            return None
        vertices, faces = unpack_template(hp["template"])
        factors = [hp["pooling_factor"]] * len(hp["hidden_dims"])
        return MeshHierarchy(vertices, faces, factors, hp["network"], hp["kernel_size"])

    def make_encoder_network(self, out_features: int) -> nn.Module:
        """(B, V, 3) → (B, out_features)."""
        mean = unpack_template(self.hparams["template"])[0]
        hp = self.hparams
        if self.hierarchy is None:
            network = super().make_encoder_network(out_features)
        else:
            network = make_mesh_encoder(
                self.hierarchy, hp["hidden_dims"], out_features, hp["activation"]
            )
        return nn.Sequential(AddOffset(-mean), network)

    def make_decoder_network(self, in_features: int | None = None, values: int = 1) -> nn.Module:
        """(B, in_features) → (B, V, 3)."""
        mean = unpack_template(self.hparams["template"])[0]
        size = self.latent_dim if in_features is None else in_features
        hp = self.hparams
        if self.hierarchy is None:
            network = super().make_decoder_network(size)
        else:
            network = make_mesh_decoder(self.hierarchy, hp["hidden_dims"], size, hp["activation"])
        return nn.Sequential(network, AddOffset(mean))

    # -- training -------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Any]:
        parts: dict[str, Any] = super().step(batch)
        weight, x = self.hparams["isometry_weight"], batch[0]
        if weight:
            parts["distortion"] = self.distortion(x)
            parts["loss"] = parts["loss"] + weight * parts["distortion"]
        if not self.training:
            true = edge_lengths(x, self.edges)
            found = edge_lengths(self.reconstruct(x), self.edges)
            parts["edge_error"] = ((found - true).abs().sum(1) / true.sum(1)).mean()
        return parts

    def distortion(self, x: Tensor) -> Tensor:
        """How far edges between the codes of neighbours in a batch are from the length that they
        should have; see ``isometry_weight``."""
        z, lengths = self.encode(x), edge_lengths(x, self.edges)
        t = torch.rand(len(x), 1).to(x) if self.training else x.new_full((len(x), 1), 0.5)
        wanted = torch.lerp(lengths, lengths.roll(1, 0), t)
        found = edge_lengths(self.decode(torch.lerp(z, z.roll(1, 0), t)), self.edges)
        return ((found - wanted) / wanted).square().mean()

    def describe_metrics(self) -> dict[str, str]:
        notes = super().describe_metrics() | TemplateMeshModel.metric_notes
        return {name: note.replace("per image", "per shape") for name, note in notes.items()}

    # -- the contract ---------------------------------------------------------------------------

    def interpolate(self, x0: Tensor, x1: Tensor, steps: int = 10, kind: str = "linear") -> Tensor:
        """Decoded points of a path between two codes, both ends included.

        ``isometric`` bends the straight line until the shapes along it change as little as they
        can: it minimises the energy of :meth:`path_energy` over the codes in between, as the
        discrete geodesics of Kilian, Mitra and Pottmann, Geometric modeling in shape space, 2007.

        Args:
            x0, x1: where it begins and ends, (B, V, 3) each.
            steps: points along it, default 10.
            kind: ``linear`` (default), ``spherical_path`` or ``isometric``.

        Returns:
            (steps, B, V, 3).
        """
        if kind != "isometric":
            return super().interpolate(x0, x1, steps, kind)
        with torch.inference_mode(False), torch.enable_grad():  # also within a test
            line = linear_path(self.encode(x0).clone(), self.encode(x1).clone(), steps).detach()
            codes = minimize_path_energy(line, lambda z: self.path_energy(self._decoded(z)))
        return self._decoded(codes).detach()

    def _decoded(self, codes: Tensor) -> Tensor:
        return self.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])

    def path_energy(self, shapes: Tensor) -> Tensor:
        """How much shapes change along a path, (steps, B, V, 3) → a number:

        Σ_k mean_e ((ℓ_{k+1} − ℓ_k) / ℓ̄)² + 0.01 · mean ‖v_{k+1} − v_k‖², ℓ̄ the mean over the path.
        """
        lengths = edge_lengths(shapes, self.edges)  # (steps, B, E)
        change = lengths.diff(dim=0) / lengths.mean(0).detach()
        return (
            change.square().mean((1, 2)).sum()
            + 0.01 * shapes.diff(dim=0).square().mean((1, 2, 3)).sum()
        )

    def to_images(self, x: Tensor) -> Tensor:
        return plots.render(x, self.faces, half_width=1.15 * self._radius())

    def _radius(self) -> float:
        return float(unpack_template(self.hparams["template"])[0].norm(dim=1).max())


class AddOffset(nn.Module):
    """Adds the same to every sample."""

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


class MeshAutoencoder(TemplateMeshModel, Autoencoder):
    """An :class:`~zoo.models.latent.autoencoders.Autoencoder` of shapes: mean (x − g(f(x)))².

    Args:
        input_shape: (V, 3).
        template: the mean shape and its faces, from the data.
        latent_dim: D, default 8.
        output: default ``identity``.
        **shapes: see :class:`TemplateMeshModel` and :class:`~zoo.models.latent.autoencoders.Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        template: str,
        latent_dim: int = 8,
        output: str = "identity",
        **shapes: Any,
    ) -> None:
        super().__init__(input_shape, template, latent_dim, output=output, **shapes)


class MeshVAE(TemplateMeshModel, VAE):
    """A :class:`~zoo.models.latent.vae.VAE` of shapes: each coordinate normal around the decoder's, with
    one learned σ for all.

    Args:
        input_shape: (V, 3).
        template: the mean shape and its faces, from the data.
        latent_dim: D, default 8.
        likelihood: default ``gaussian``.
        **shapes: see :class:`TemplateMeshModel` and :class:`~zoo.models.latent.vae.VAE`.

    Source: Tan et al., Variational autoencoders for deforming 3D mesh models, 2018.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        template: str,
        latent_dim: int = 8,
        likelihood: str = "gaussian",
        **shapes: Any,
    ) -> None:
        super().__init__(input_shape, template, latent_dim, likelihood=likelihood, **shapes)

    def step(self, batch: Any) -> dict[str, Any]:
        parts = super().step(batch)
        parts.pop("bits_per_dim", None)  # coordinates have no levels
        return parts
