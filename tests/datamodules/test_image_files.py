"""Pixels of image files: modes, depths, transparency, orientation, damaged and hostile files."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.image_files import ReadImage, parse_color, read_image
from zoo.errors import DataError, InputError

WHITE = (255, 255, 255)


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def read(content: bytes, channels: int = 3, background: tuple[int, int, int] = WHITE) -> ReadImage:
    return read_image(Path("x.png"), content, 4, channels, background)


def corner(content: bytes, channels: int = 3, **options: Any) -> list[int]:
    """Return the channels of the top left pixel."""
    return read(content, channels, **options).pixels[:, 0, 0].tolist()


def uniform(value: float, dtype: Any) -> Image.Image:
    return Image.fromarray(np.full((4, 4), value, dtype))


def test_8_bits_are_kept() -> None:
    assert corner(encode(Image.new("RGB", (4, 4), (10, 20, 30)))) == [10, 20, 30]
    assert corner(encode(Image.new("L", (4, 4), 77))) == [77, 77, 77]
    assert corner(encode(Image.new("L", (4, 4), 77)), channels=1) == [77]
    assert corner(encode(Image.new("1", (4, 4), 1))) == [255, 255, 255]
    assert corner(encode(Image.new("HSV", (4, 4), (0, 255, 255)).convert("RGB"))) == [255, 0, 0]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_by_their_depth(format: str) -> None:
    assert corner(encode(uniform(65_535, np.uint16), format), 1) == [255]
    assert corner(encode(uniform(32_768, np.uint16), format), 1) == [128]
    assert corner(encode(uniform(257, np.uint16), format), 1) == [1]


def test_a_graymap_is_scaled_by_its_own_white_level() -> None:
    content = b"P5 4 4 1023\n" + np.full((4, 4), 512, ">u2").tobytes()
    assert corner(content, 1) == [128]


def test_floats_in_0_to_1_are_scaled() -> None:
    assert corner(encode(uniform(0.5, np.float32), "TIFF"), 1) == [128]
    assert corner(encode(uniform(1.0, np.float32), "TIFF"), 1) == [255]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (uniform(40.0, np.float32), "has floating-point pixels from 40 to 40: scale them to"),
        (uniform(np.nan, np.float32), "has floating-point pixels from nan to nan"),
        (uniform(-0.1, np.float32), "has floating-point pixels from -0.1 to -0.1"),
        (uniform(70_000, np.int32), "has 32-bit integer pixels (mode I), whose white level"),
        (Image.new("LAB", (4, 4)), "has the color mode LAB, which is not supported"),
    ],
)
def test_pixels_without_a_white_level_are_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"x.png {message}")):
        read(encode(image, "TIFF"))


def test_transparent_pixels_show_the_background() -> None:
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert corner(encode(hidden)) == [255, 255, 255]
    assert corner(encode(hidden), background=(0, 0, 9)) == [0, 0, 9]
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert corner(encode(half), background=(0, 0, 0)) == [128, 0, 0]
    assert read(encode(half)).is_transparent
    assert not read(encode(Image.new("RGBA", (4, 4), (9, 9, 9, 255)))).is_transparent


def test_transparency_of_gray_and_palette_images() -> None:
    assert corner(encode(Image.new("LA", (4, 4), (0, 0)))) == [255, 255, 255]
    palette = Image.new("RGB", (4, 4), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert corner(encode(palette)) == [1, 2, 3]
    index = palette.getpixel((0, 0))
    assert corner(encode(palette, transparency=index)) == [255, 255, 255]
    assert corner(encode(palette, "GIF", transparency=index)) == [255, 255, 255]
    assert corner(encode(Image.new("L", (4, 4), 7), transparency=7)) == [255, 255, 255]
    assert corner(encode(Image.new("RGB", (4, 4), (7, 8, 9)), transparency=(7, 8, 9))) == [255] * 3


def test_cmyk() -> None:
    yellow = Image.new("CMYK", (4, 4), (0, 0, 255, 0))
    assert corner(encode(yellow, "TIFF")) == [255, 255, 0]
    red, green, blue = corner(encode(yellow, "JPEG", quality=95))
    assert min(red, green) > 240
    assert blue < 15


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_images_are_turned_upright(mode: str) -> None:
    """Orientation 6 says that the right side of the stored pixels is the bottom of the scene."""
    stored = Image.new("L", (4, 4), 0)
    stored.paste(255, (0, 0, 2, 4))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read(encode(stored.convert(mode), exif=exif)).pixels[0]
    assert pixels[0].tolist() == [255] * 4
    assert pixels[3].tolist() == [0] * 4


def test_only_the_first_frame_is_used() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ((200, 0, 0), (0, 200, 0))]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert corner(content)[1] == 0
    assert read(content).has_frames
    assert not read(encode(frames[0], "GIF")).has_frames


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.png is not a readable image (it is empty): remove it"),
        (b"<html>404</html>", "x.png is not a readable image (it is in no known format)"),
        (encode(Image.effect_noise((64, 64), 9))[:900], "x.png is not a readable image ("),
        (encode(Image.effect_noise((64, 64), 9), "JPEG")[:900], "is not a readable image (image "),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
            "x.png is not a readable image (it is in no known format)",
        ),
    ],
)
def test_damaged_and_foreign_files_are_named(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb_is_refused() -> None:
    bomb = encode(Image.new("1", (20_000, 10_000)))  # 25 kB
    with pytest.raises(DataError, match=r"x\.png has more than 178 megapixels: make it smaller"):
        read(bomb)


def test_background_colors() -> None:
    assert parse_color("black") == (0, 0, 0)
    assert parse_color("#0a141e") == (10, 20, 30)
    with pytest.raises(InputError, match="unknown background 'transparent!'"):
        parse_color("transparent!")
