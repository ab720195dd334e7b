"""Vector-quantized variational autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import check_at_least, check_fraction, check_non_negative
from zoo.functional.precision import widen
from zoo.models.latent.likelihood import LikelihoodModel
from zoo.networks.conv_autoencoder import check_encoder_depth
from zoo.networks.mlp import make_activation
from zoo.networks.pixelcnn import PixelCNN
from zoo.networks.residual_autoencoder import make_residual_downsampling, make_residual_upsampling
from zoo.networks.shapes import halved_sides
from zoo.networks.vector_quantizer import VectorQuantizer


class VQVAE(LikelihoodModel):
    """Vector-quantized VAE: an image becomes a grid of vectors from a learned codebook.

    Minimizes −log p(x|e(x)) + β ‖h(x) − sg[e(x)]‖² in nats per image. h(x) is the grid of the
    encoder's vectors, e(x) the nearest codebook vectors, and sg stops the gradient; the gradient
    with respect to e(x) is passed on to h(x) unchanged. The codebook vectors are exponential moving
    averages of the encoder's vectors assigned to them.

    A PixelCNN prior over the grid of codebook indices k(x) is trained at the same time, without
    effect on the other networks. As the indices are a function of x,

        −log p(x) ≤ −log p(x|e(x)) − log p(k(x)),

    and the metric ``neg_elbo`` is the right-hand side. A code is the grid of codebook vectors,
    flattened.

    Args:
        input_shape: shape of one image, (C, H, W).
        num_codes: number of vectors in the codebook, K, default 64.
        code_dim: dimension of a codebook vector, default 16.
        hidden_dims: numbers of channels after each halving of the image, default (32, 64).
        commitment_weight: β, default 0.25.
        ema_decay: decay of the codebook's exponential moving averages, default 0.99.
        prior_width: number of channels of the PixelCNN, default 64.
        prior_blocks: number of residual blocks of the PixelCNN, default 4.
        **likelihood: see :class:`~zoo.models.latent.likelihood.LikelihoodModel`, without
            ``latent_dim`` and ``network``.

    Shapes: x (B, C, H, W), z (B, h·w·code_dim).

    Raises:
        InputError: fewer than two codes; a ``code_dim`` or ``prior_width`` below 1; a negative
            ``commitment_weight``; an ``ema_decay`` outside [0, 1]; samples that are not images, or
            images too small for so many halvings.

    Source: van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, 2017.
    """

    allows_overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "prior_nll": "−log p(k(x)) of the codebook indices, nats per image",
        "commitment": "‖h(x) − e(x)‖², sum over the grid, mean over images",
        "codes_used": "exponential of the entropy of a batch's codebook indices, at most num_codes",
        "loss": "reconstruction + commitment_weight · commitment + prior_nll",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_codes: int = 64,
        code_dim: int = 16,
        hidden_dims: tuple[int, ...] = (32, 64),
        commitment_weight: float = 0.25,
        ema_decay: float = 0.99,
        prior_width: int = 64,
        prior_blocks: int = 4,
        **likelihood: Any,
    ) -> None:
        check_at_least(2, num_codes=num_codes)
        check_at_least(1, code_dim=code_dim, prior_width=prior_width, hidden_dims=hidden_dims)
        check_at_least(0, prior_blocks=prior_blocks)
        check_encoder_depth(input_shape, hidden_dims)
        height, width = (halved_sides(side, len(hidden_dims))[-1] for side in input_shape[1:])
        size = height * width * code_dim
        super().__init__(
            input_shape, latent_dim=size, network="residual", hidden_dims=hidden_dims, **likelihood
        )
        check_non_negative(commitment_weight=commitment_weight)
        check_fraction(ema_decay=ema_decay)
        self.grid_shape = (height, width)

    # -- networks -------------------------------------------------------------------------------

    def build(self) -> None:
        super().build()
        hp = self.hparams
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()
        self.codebook = VectorQuantizer(hp["num_codes"], hp["code_dim"], hp["ema_decay"])
        self.prior = self.make_prior()

    def make_encoder(self) -> nn.Module:
        """Create the encoder, (B, C, H, W) → vectors to be quantized, (B, code_dim, h, w)."""
        hp = self.hparams
        features = make_residual_downsampling(self.input_shape, hp["hidden_dims"], hp["activation"])
        last = nn.Conv2d(hp["hidden_dims"][-1], hp["code_dim"], 1)
        return nn.Sequential(features, make_activation(hp["activation"]), last)

    def make_decoder(self) -> nn.Module:
        """Create the decoder, codebook vectors (B, code_dim, h, w) → parameters of p(x|e)."""
        hp = self.hparams
        n, (channels, *sides) = self.parameters_per_value(), self.input_shape
        upsampling = make_residual_upsampling(
            (n * channels, *sides), hp["hidden_dims"], hp["activation"]
        )
        split = [nn.Unflatten(1, (n, channels))] if n > 1 else []
        return nn.Sequential(
            nn.Conv2d(hp["code_dim"], hp["hidden_dims"][-1], 1), upsampling, *split
        )

    def make_prior(self) -> PixelCNN:
        """Create the prior over codebook indices."""
        hp = self.hparams
        return PixelCNN(hp["num_codes"], hp["prior_width"], hp["prior_blocks"])

    # -- codes and samples ----------------------------------------------------------------------

    def codebook_indices(self, x: Tensor) -> Tensor:
        """Return the index of the nearest codebook vector at each position, (B, h, w)."""
        h = self._encode_grid(self.prepare_input(x))
        # calling the codebook would update it in training mode
        return self.codebook.nearest(h.flatten(0, -2)).view(h.shape[:-1])

    def encode(self, x: Tensor) -> Tensor:
        return self.codebook.vectors[self.codebook_indices(x)].flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood_mean(self._decode_grid(z.unflatten(1, (*self.grid_shape, -1))))

    def _encode_grid(self, x: Tensor) -> Tensor:
        """Return the encoder's vectors h(x), (B, C, H, W) → (B, h, w, code_dim)."""
        return self.encoder(x).permute(0, 2, 3, 1)

    def _decode_grid(self, vectors: Tensor) -> Tensor:
        """Return the decoder's output, (B, h, w, code_dim) → parameters of p(x|e)."""
        return self.decoder(vectors.permute(0, 3, 1, 2))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        indices = self.prior.sample(n, self.grid_shape, generator)
        return self.codebook.vectors[indices].flatten(1)

    # -- training -------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Tensor]:
        gray = batch[0]
        x = self.binarize(gray)
        h = self._encode_grid(x)
        quantized, indices = self.codebook(h)
        straight_through = h + (quantized - h).detach()
        reconstruction = -self.log_prob(x, self._decode_grid(straight_through)).mean()
        commitment = (h - quantized.detach()).square().flatten(1).sum(1).mean()
        prior_nll = -self.prior.log_prob(indices).mean()
        neg_elbo = reconstruction + prior_nll
        parts = {
            "loss": neg_elbo + self.hparams["commitment_weight"] * commitment,
            "neg_elbo": neg_elbo,
            "reconstruction": reconstruction,
            "prior_nll": prior_nll,
            "commitment": commitment,
            "codes_used": self._perplexity(indices, h.dtype),
        }
        if not self.training:
            parts |= {
                "bits_per_dim": self.bits_per_dim(neg_elbo),
                "mse": F.mse_loss(widen(self.reconstruct(gray)), widen(gray)),
            }
        return parts

    def _perplexity(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """Compute the exponential of the entropy of codebook indices."""
        flat = indices.flatten()
        counts = torch.zeros(self.hparams["num_codes"], dtype=dtype, device=flat.device)
        # torch.bincount would synchronize the device
        counts.index_add_(0, flat, torch.ones_like(flat, dtype=dtype))
        return torch.special.entr(counts / len(flat)).sum().exp()
