"""Augmentation of whole batches of images, on the device they are on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn anew for every image and epoch.

    The random numbers come from a CPU generator, so that they are the same on every device.

    Args:
        flip: mirror left and right with probability ½.
        crop: pad with zeros by this many pixels, then cut out at a random place: a shift by whole
            pixels.
        rotation: largest angle in degrees, either way.
        zoom: largest relative change of size, either way: 0.1 is 0.9 to 1.1 times.
        cutout: side of a square, in pixels, set to zero around a random centre (DeVries and
            Taylor, 2017).
        noise: standard deviation of Gaussian noise, in units of the pixel range; clipped to [0, 1].

    Shapes: (B, C, H, W) → (B, C, H, W), float in [0, 1].

    Raises:
        ValueError: a negative amount, or a zoom of 1 or more.
    """

    flip: bool = False
    crop: int = 0
    rotation: float = 0.0
    zoom: float = 0.0
    cutout: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop", "rotation", "zoom", "cutout", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"augment.{name} must not be negative, got {getattr(self, name)}")
        if self.zoom >= 1:
            raise ValueError(f"augment.zoom must be below 1, got {self.zoom}")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.flip:
            x = flip(x, generator)
        if self.rotation or self.zoom:
            x = rotate_and_zoom(x, self.rotation, self.zoom, generator)
        if self.crop:
            x = crop(x, self.crop, generator)
        if self.cutout:
            x = cutout(x, self.cutout, generator)
        if self.noise:
            noise = torch.randn(x.shape, generator=generator).to(x)
            x = (x + self.noise * noise).clamp(0, 1)
        return x


def flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors half of the images, (B, C, H, W)."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored.to(x.device), x.flip(-1), x)


def crop(x: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shifts each image by up to ``padding`` pixels along both axes; zeros come in."""
    batch, _, height, width = x.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator).to(x.device)
    rows = offsets[0] + torch.arange(height, device=x.device)  # (B, H)
    columns = offsets[1] + torch.arange(width, device=x.device)  # (B, W)
    padded = F.pad(x, [padding] * 4).permute(0, 2, 3, 1)  # (B, H+2p, W+2p, C)
    images = torch.arange(batch, device=x.device)[:, None, None]
    return padded[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def rotate_and_zoom(x: Tensor, degrees: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Turns and scales each image about its centre, bilinear; zeros come in."""
    height, width = x.shape[-2:]
    angle = (torch.rand(len(x), generator=generator) * 2 - 1) * math.radians(degrees)
    scale = 1 + (torch.rand(len(x), generator=generator) * 2 - 1) * zoom
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros(len(x))
    # affine_grid's axes run over [−1, 1] whatever the sides: undo the aspect ratio
    top = torch.stack([cos, -sin * height / width, zero], dim=1)
    bottom = torch.stack([sin * width / height, cos, zero], dim=1)
    theta = torch.stack([top, bottom], dim=1).to(x)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def cutout(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Sets one square of each image to zero; it may stick out over the edge."""
    batch, _, height, width = x.shape
    centers = torch.rand(2, batch, 1, generator=generator).to(x.device)
    corner_y = (centers[0] * height).floor() - side // 2
    corner_x = (centers[1] * width).floor() - side // 2
    ys, xs = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    inside_y = (ys >= corner_y) & (ys < corner_y + side)  # (B, H)
    inside_x = (xs >= corner_x) & (xs < corner_x + side)  # (B, W)
    inside = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]  # (B, 1, H, W)
    return x.masked_fill(inside, 0)
