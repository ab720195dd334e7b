"""Reading one image file: color modes, bit depths, transparency, orientation, hostile files."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.errors import DataError, InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
#: Pillow would also start Ghostscript for a PostScript file that is called .png
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
#: color modes of 8 bits per channel that Pillow converts to RGB
MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
MAX_PIXELS = 178_956_970  # Pillow takes larger images for decompression bombs

Pixels = np.ndarray[Any, Any]


class ReadImage(NamedTuple):
    """A decoded and resized image.

    Attributes:
        pixels: uint8 (C, size, size).
        is_transparent: whether the file has transparent pixels, which are now opaque.
        has_frames: whether the file has further frames or pages, which are left out.
    """

    pixels: Pixels
    is_transparent: bool
    has_frames: bool


def parse_color(background: str) -> tuple[int, int, int]:
    """Return the red, green and blue of a color, given by its name or as ``#rrggbb``.

    Raises:
        InputError: unknown color.
    """
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        raise InputError(
            f"unknown background {background!r}: give the name of a color, such as white, or "
            "#rrggbb"
        ) from None


def read_image(
    file: Path, content: bytes, size: int, channels: int, background: tuple[int, int, int]
) -> ReadImage:
    """Return an image, upright and cut to a square.

    Args:
        file: path of the file, for error messages.
        content: contents of the file.
        size: height and width in pixels. The shorter side is scaled to this size, and the longer
            side is cropped at both ends.
        channels: 1 for grayscale, 3 for color.
        background: red, green and blue behind transparent pixels, 0 to 255.

    Raises:
        DataError: the file is not an image, is damaged or too large, or has pixels whose white
            level is unknown.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=_known_formats()) as opened:
            # an MPO file is a photo with previews of itself
            has_frames = getattr(opened, "is_animated", False) and opened.format != "MPO"
            upright = ImageOps.exif_transpose(opened)
            scaled = _to_8_bits(upright, opened.format)
            opaque, is_transparent = _over_background(scaled, background)
            image = opaque.convert("L" if channels == 1 else "RGB")
            fitted = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except DataError as error:
        raise DataError(f"{file} {error}") from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{file} has more than {MAX_PIXELS // 10**6} megapixels: make it smaller or remove it"
        ) from None
    except UnidentifiedImageError:
        reason = "it is in no known format" if content else "it is empty"
        raise DataError(f"{file} is not a readable image ({reason}): remove it") from None
    except Exception as error:  # the decoders of the formats raise all kinds of exceptions
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(
            f"{file} is not a readable image ({reason}): replace or remove it"
        ) from error
    pixels = np.asarray(fitted)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return ReadImage(pixels, is_transparent, has_frames)


@cache
def _known_formats() -> tuple[str, ...]:
    """Return the formats that this version of Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _to_8_bits(image: Image.Image, format_name: str | None) -> Image.Image:
    """Return an image with 8 bits per channel, scaled by its depth.

    Args:
        image: an image of any mode.
        format_name: Pillow's name of the file's format.

    Raises:
        DataError: the white level of the pixels or their color mode is unknown.
    """
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and format_name in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.float64) / 65535
    elif image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        if not (values >= 0).all() or not (values <= 1).all():
            raise DataError(
                f"has floating-point pixels from {values.min():.4g} to {values.max():.4g}: scale "
                "them to [0, 1], or convert the image to 8 or 16 bits"
            )
    elif image.mode.startswith("I"):
        raise DataError(
            f"has 32-bit integer pixels (mode {image.mode}), whose white level is unknown: convert "
            "it to 8 or 16 bits"
        )
    elif image.mode in MODES:
        return image
    else:  # Pillow converts others too, such as LAB, but to wrong colors
        raise DataError(
            f"has the color mode {image.mode}, which is not supported: convert it to RGB"
        )
    return Image.fromarray((255 * values).round().astype(np.uint8))


def _over_background(
    image: Image.Image, background: tuple[int, int, int]
) -> tuple[Image.Image, bool]:
    """Return an image over a background, and whether any of its pixels are transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image, False
    color = image.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", color.size, (*background, 255)), color)
    return opaque, bool((np.asarray(color.getchannel("A")) < 255).any())
