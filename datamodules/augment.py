"""Random augmentation of batches of images, on the device they are on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError, check_at_least, check_non_negative


@dataclass(frozen=True)
class Augmentation:
    """Random transformations of training images, sampled independently for each image and epoch.

    The random numbers come from a CPU generator, so they are the same on every device.

    Args:
        flip: whether to mirror images horizontally with probability ½, default False.
        crop: zero padding in pixels before a random crop to the original size, which shifts the
            image by whole pixels; default 0.
        rotation: largest rotation angle in degrees, in both directions; default 0.
        zoom: largest relative change of size, in both directions: 0.1 scales images by a factor
            between 0.9 and 1.1; default 0.
        cutout: side in pixels of a square around a random center that is set to zero (DeVries and
            Taylor, 2017), default 0.
        noise: standard deviation of Gaussian noise on pixels in [0, 1], which are then clipped to
            this range; default 0.

    Shapes: (B, C, H, W) → (B, C, H, W), float in [0, 1].

    Raises:
        InputError: an argument is negative, or ``zoom`` is 1 or more.
    """

    flip: bool = False
    crop: int = 0
    rotation: float = 0.0
    zoom: float = 0.0
    cutout: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotation", "zoom", "noise"):
            check_non_negative(**{f"augment.{name}": getattr(self, name)})
        for name in ("crop", "cutout"):
            check_at_least(0, **{f"augment.{name}": getattr(self, name)})
        if self.zoom >= 1:
            raise InputError(f"augment.zoom must be below 1, got {self.zoom}")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.flip:
            x = random_flip(x, generator)
        if self.rotation or self.zoom:
            x = random_rotation_and_zoom(x, self.rotation, self.zoom, generator)
        if self.crop:
            x = random_crop(x, self.crop, generator)
        if self.cutout:
            x = random_cutout(x, self.cutout, generator)
        if self.noise:
            noise = torch.randn(x.shape, generator=generator).to(x)
            x = (x + self.noise * noise).clamp(0, 1)
        return x


def random_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image (B, C, H, W) horizontally with probability ½."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored.to(x.device), x.flip(-1), x)


def random_crop(x: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shift each image (B, C, H, W) by up to ``padding`` pixels per axis, filling with zeros."""
    batch, _, height, width = x.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator).to(x.device)
    rows = offsets[0] + torch.arange(height, device=x.device)  # (B, H)
    columns = offsets[1] + torch.arange(width, device=x.device)  # (B, W)
    padded = F.pad(x, [padding] * 4).permute(0, 2, 3, 1)  # (B, H+2p, W+2p, C)
    images = torch.arange(batch, device=x.device)[:, None, None]
    return padded[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_rotation_and_zoom(
    x: Tensor, degrees: float, zoom: float, generator: torch.Generator
) -> Tensor:
    """Rotate and scale each image (B, C, H, W) about its center, bilinear, filling with zeros.

    Args:
        x: images.
        degrees: largest rotation angle in degrees, in both directions.
        zoom: largest relative change of size, in both directions.
        generator: CPU generator of the angles and factors.
    """
    height, width = x.shape[-2:]
    angle = (torch.rand(len(x), generator=generator) * 2 - 1) * math.radians(degrees)
    scale = 1 + (torch.rand(len(x), generator=generator) * 2 - 1) * zoom
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros(len(x))
    # both axes of affine_grid run over [−1, 1], so the rotation has to undo the aspect ratio
    top = torch.stack([cos, -sin * height / width, zero], dim=1)
    bottom = torch.stack([sin * width / height, cos, zero], dim=1)
    theta = torch.stack([top, bottom], dim=1).to(x)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def random_cutout(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a random square of each image (B, C, H, W) to zero; it may extend over the border."""
    batch, _, height, width = x.shape
    centers = torch.rand(2, batch, 1, generator=generator).to(x.device)
    corner_y = (centers[0] * height).floor() - side // 2
    corner_x = (centers[1] * width).floor() - side // 2
    ys, xs = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    inside_y = (ys >= corner_y) & (ys < corner_y + side)  # (B, H)
    inside_x = (xs >= corner_x) & (xs < corner_x + side)  # (B, W)
    inside = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]  # (B, 1, H, W)
    return x.masked_fill(inside, 0)
