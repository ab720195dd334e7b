"""The vector-quantised variational autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import check_at_least
from zoo.models.latent.likelihood import LikelihoodModel
from zoo.networks.conv_autoencoder import check_encoder_depth
from zoo.networks.mlp import make_activation
from zoo.networks.pixelcnn import PixelCNN
from zoo.networks.residual_autoencoder import (
    make_residual_downsampling,
    make_residual_upsampling,
)
from zoo.networks.shapes import halved_sides
from zoo.networks.vector_quantizer import VectorQuantizer


class VQVAE(LikelihoodModel):
    """Images as grids of symbols: an encoder, the nearest codebook vectors, a decoder.

    Minimises −log p(x|e(x)) + β ‖h(x) − sg[e(x)]‖² in nats per image, h the encoder's vectors, e
    the codebook's nearest ones, through which the gradient passes straight; the codebook follows
    by running means. A prior over the symbols, a PixelCNN, is trained beside it on the symbols
    alone. Since the symbols are a function of x,

        −log p(x) ≤ −log p(x|e(x)) − log p(symbols),

    which is ``neg_elbo``. A code is the grid of codebook vectors, flattened.

    Args:
        input_shape: (C, H, W).
        num_codes: K, vectors in the codebook, default 64.
        code_dim: their length, default 16.
        hidden: channels after each halving of the image, default (32, 64).
        commitment_weight: β, default 0.25.
        ema_decay: γ of the codebook's running means, default 0.99.
        prior_width, prior_blocks: of the PixelCNN, default 64 and 4.
        **pixels: ``likelihood``, ``binarization``, ``activation``, and the settings of
            :class:`zoo.core.task.Task`; see :class:`zoo.models.latent.likelihood.LikelihoodModel`.

    Shapes: x (B, C, H, W), z (B, h·w·code_dim).

    Raises:
        ValueError: no image, or one too small for the halvings; fewer than two codes.

    Source: van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, 2017.
    """

    overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "prior_nll": "−log p(symbols), nats per image",
        "commitment": "‖encoder's vectors − codebook's‖², sum over the grid, mean over images",
        "codes_used": "exp of the entropy of the symbols in a batch, at most num_codes",
        "loss": "reconstruction + β · commitment + prior_nll, the last one trains the prior alone",
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
        **pixels: Any,
    ) -> None:
        check_at_least(2, num_codes=num_codes)
        check_encoder_depth(input_shape, hidden_dims)
        height, width = (halved_sides(side, len(hidden_dims))[-1] for side in input_shape[1:])
        size = height * width * code_dim
        super().__init__(
            input_shape, latent_dim=size, network="residual", hidden_dims=hidden_dims, **pixels
        )
        self.grid = (height, width)

    def build(self) -> None:
        super().build()
        hp = self.hparams
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()
        self.codebook = VectorQuantizer(hp["num_codes"], hp["code_dim"], hp["ema_decay"])
        self.prior = self.make_prior()

    def make_encoder(self) -> nn.Module:
        """(B, C, H, W) → vectors to be quantised, (B, code_dim, h, w)."""
        hp = self.hparams
        features = make_residual_downsampling(self.input_shape, hp["hidden_dims"], hp["activation"])
        last = nn.Conv2d(hp["hidden_dims"][-1], hp["code_dim"], 1)
        return nn.Sequential(features, make_activation(hp["activation"]), last)

    def make_decoder(self) -> nn.Module:
        """Codebook vectors (B, code_dim, h, w) → the pixels' distribution."""
        hp = self.hparams
        values, (channels, *sides) = self.parameters_per_pixel(), self.input_shape
        images = make_residual_upsampling(
            (values * channels, *sides), hp["hidden_dims"], hp["activation"]
        )
        split = [nn.Unflatten(1, (values, channels))] if values > 1 else []
        return nn.Sequential(nn.Conv2d(hp["code_dim"], hp["hidden_dims"][-1], 1), images, *split)

    def make_prior(self) -> PixelCNN:
        """p(symbols)."""
        hp = self.hparams
        return PixelCNN(hp["num_codes"], hp["prior_width"], hp["prior_blocks"])

    # -- the contract ---------------------------------------------------------------------------

    def quantize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder's vectors, codebook's vectors, (B, h, w, code_dim) each, symbols (B, h, w)."""
        h = self.encoder(x).permute(0, 2, 3, 1)
        quantized, symbols = self.codebook(h)
        return h, quantized, symbols

    def symbols(self, x: Tensor) -> Tensor:
        """Indices into the codebook, (B, h, w)."""
        return self.quantize(self.encoder_input(x))[2]

    def encode(self, x: Tensor) -> Tensor:
        return self.quantize(self.encoder_input(x))[1].flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood_mean(self._decoded(z.unflatten(1, (*self.grid, -1))))

    def _decoded(self, vectors: Tensor) -> Tensor:
        return self.decoder(vectors.permute(0, 3, 1, 2))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        symbols = self.prior.sample(n, self.grid, generator)
        return self.codebook.vectors[symbols].flatten(1)

    # -- training -------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Tensor]:
        gray = batch[0]
        x = self.binarize(gray)
        h, quantized, symbols = self.quantize(x)
        straight = h + (quantized - h).detach()
        reconstruction = -self.log_prob(x, self._decoded(straight)).mean()
        commitment = (h - quantized.detach()).square().flatten(1).sum(1).mean()
        prior_nll = -self.prior.log_prob(symbols).mean()
        neg_elbo = reconstruction + prior_nll
        flat = symbols.flatten()
        uses = torch.zeros(self.hparams["num_codes"], dtype=h.dtype, device=h.device)
        uses.index_add_(0, flat, torch.ones_like(flat, dtype=h.dtype))  # bincount would wait
        share = uses / len(flat)
        parts = {
            "loss": neg_elbo + self.hparams["commitment_weight"] * commitment,
            "neg_elbo": neg_elbo,
            "reconstruction": reconstruction,
            "prior_nll": prior_nll,
            "commitment": commitment,
            "codes_used": torch.special.entr(share).sum().exp(),
        }
        if not self.training:
            parts |= {
                "bits_per_dim": self.bits_per_dim(neg_elbo),
                "mse": F.mse_loss(self.reconstruct(gray), gray),
            }
        return parts
