"""PixelCNN: an autoregressive model of small grids of symbols."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedConv2d(nn.Conv2d):
    """Convolution that sees only the positions before its own in raster-scan order.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd.
        includes_center: whether the convolution also sees its own position, which the first layer
            of a network must not.
    """

    mask: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, includes_center: bool
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        middle = kernel_size // 2
        mask = torch.zeros(kernel_size, kernel_size)
        mask[:middle] = 1
        mask[middle, : middle + includes_center] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


class PixelCNN(nn.Module):
    """p(k) = Π_i p(k_i | k_1, …, k_{i−1}) in raster-scan order, by masked convolutions.

    A 7×7 convolution that does not see its own position, then residual blocks φ-1×1-φ-3×3-φ-1×1
    that do.

    Args:
        num_symbols: number of symbols, K.
        width: number of channels, default 64.
        blocks: number of residual blocks, default 4.

    Shapes: symbols (B, H, W) int64 → logits (B, K, H, W).

    Source: van den Oord et al., Pixel recurrent neural networks, 2016, section 3.5.
    """

    def __init__(self, num_symbols: int, width: int = 64, blocks: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_symbols, width)
        self.first = MaskedConv2d(width, width, 7, includes_center=False)
        self.blocks = nn.ModuleList(_make_block(width) for _ in range(blocks))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, num_symbols, 1))

    def forward(self, symbols: Tensor) -> Tensor:
        h = self.first(self.embedding(symbols).permute(0, 3, 1, 2))
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)

    def log_prob(self, symbols: Tensor) -> Tensor:
        """Return log p(symbols) in nats, (B, H, W) → (B,)."""
        return -F.cross_entropy(self(symbols), symbols, reduction="none").flatten(1).sum(1)

    @torch.no_grad()
    def sample(
        self, n: int, shape: tuple[int, int], generator: torch.Generator | None = None
    ) -> Tensor:
        """Sample ``n`` grids of symbols, one position after another.

        Args:
            n: number of grids.
            shape: shape of a grid, (H, W).
            generator: random number generator on the model's device, default the global one.

        Returns:
            (n, H, W) int64.
        """
        device = self.embedding.weight.device
        symbols = torch.zeros(n, *shape, dtype=torch.long, device=device)
        for row in range(shape[0]):
            for column in range(shape[1]):
                # a position does not depend on later rows, which need not be computed
                p = self(symbols[:, : row + 1])[:, :, row, column].softmax(1)
                symbols[:, row, column] = torch.multinomial(p, 1, generator=generator)[:, 0]
        return symbols


def _make_block(width: int) -> nn.Sequential:
    half = width // 2
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(width, half, 1),
        nn.ReLU(), MaskedConv2d(half, half, 3, includes_center=True),
        nn.ReLU(), nn.Conv2d(half, width, 1),
    )  # fmt: skip
