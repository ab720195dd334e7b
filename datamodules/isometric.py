"""Cut-outs of paper, folded and rolled: nothing is stretched, so that they stay what they are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.meshes import MeshDataModule

#: cut-outs by the squares that are left of a sheet
CUTS = {
    "strip": ("############", "############", "############"),
    "square": ("######", "######", "######", "######", "######", "######"),
    "L": ("###......", "###......", "###......", "#########", "#########", "#########"),
    "T": ("#########", "#########", "#########", "...###...", "...###...", "...###..."),
    "U": ("###...###", "###...###", "###...###", "#########", "#########", "#########"),
    "plus": ("...###...", "...###...", "#########", "#########", "...###...", "...###..."),
    "ring": ("########", "########", "##....##", "##....##", "########", "########"),
    "comb": ("##.##.##.##", "##.##.##.##", "###########", "###########"),
}
POSES = ("rolled", "folded")


class Isometric(MeshDataModule):
    """Sheets of eight outlines, bent in space along the lines of their mesh without any stretching.

    A bend turns what lies beyond a line of the mesh about that line. Training sheets are rolled:
    every line across the sheet is bent a little, one way. Test sheets are folded: a few lines,
    along the sheet, across it or askew, are bent sharply, either way. Inside the surface nothing
    tells the two apart.

    Properties that models ask for: ``num_classes``; and ``class_names``.

    Args:
        num_samples: training sheets, validation included, default 160; half as many for test.
        refine: mesh squares along the side of a drawn square, default 2.
        poses: of test sheets, ``folded`` (default) or ``rolled``.
        eigenpairs: default 32.
        **meshes: see :class:`~datamodules.meshes.MeshDataModule`; ``rotate`` is ``any``.

    Raises:
        ValueError: unknown poses.
    """

    classes = tuple(CUTS)
    num_classes = len(CUTS)

    def __init__(
        self,
        num_samples: int = 160,
        refine: int = 2,
        poses: str = "folded",
        eigenpairs: int = 32,
        rotate: str = "any",
        **meshes: Any,
    ) -> None:
        super().__init__(eigenpairs=eigenpairs, rotate=rotate, **meshes)
        if poses not in POSES:
            raise ValueError(f"unknown poses {poses!r}; choose from {', '.join(POSES)}")
        self.num_samples, self.refine, self.poses = num_samples, refine, poses

    def load(self, train: bool) -> list[Data]:
        source = torch.Generator().manual_seed(2 * self.seed + train)
        sheets = [sheet(cut, self.refine) for cut in CUTS.values()]
        bend = roll if train or self.poses == "rolled" else fold
        meshes = []
        for i in range(self.num_samples if train else self.num_samples // 2):
            flat, faces = sheets[i % len(sheets)]
            pos = bend(flat, self.refine, source)
            meshes.append(Data(pos=pos, face=faces.T, y=torch.tensor([i % len(sheets)])))
        return meshes


def sheet(rows: tuple[str, ...], refine: int) -> tuple[Tensor, Tensor]:
    """A flat cut-out: vertices at whole numbers, float64 (V, 3), and faces (F, 3), two to a square.

    Args:
        rows: of squares, ``#`` for one that is there.
        refine: mesh squares along the side of each.
    """
    here = torch.tensor([[c == "#" for c in row] for row in rows])
    here = here.repeat_interleave(refine, 0).repeat_interleave(refine, 1)
    y, x = here.nonzero().T
    corners = torch.stack(
        [torch.stack([x + i, y + j], 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    )
    places, numbers = torch.unique(corners.flatten(0, 1), dim=0, return_inverse=True)
    a, b, c, d = numbers.view(4, -1)
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    flat = torch.cat([places, torch.zeros(len(places), 1)], 1)
    return flat.double(), faces


#: directions of the lines of the mesh, as what is constant along them: x, y, x − y
LINES = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, -1.0, 0.0]], dtype=torch.float64)


def bend(flat: Tensor, direction: int, angles: dict[int, float]) -> Tensor:
    """A sheet bent about parallel lines of its mesh, (V, 3) → the same.

    Args:
        flat: a sheet in the plane.
        direction: row of ``LINES``: the lines are where that form has a whole value.
        angles: radians by which the sheet turns at a line, by its value.
    """
    normal = LINES[direction]
    unit = normal / normal.norm()
    along = torch.stack([-unit[1], unit[0], unit[2]])
    values = (flat @ normal).round()
    low, high = int(values.min()), int(values.max())
    step = 1 / float(normal.norm())  # between neighbouring lines
    profile = [torch.zeros(2, dtype=torch.float64)]
    heading = 0.0
    for line in range(low, high):
        heading += angles.get(line, 0.0)
        ahead = torch.tensor([math.cos(heading), math.sin(heading)], dtype=torch.float64)
        profile.append(profile[-1] + step * ahead)
    place = torch.stack(profile)[(values - low).long()]  # (V, 2)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    return place[:, :1] * unit + (flat @ along)[:, None] * along + place[:, 1:] * up


def roll(flat: Tensor, refine: int, source: torch.Generator) -> Tensor:
    """A sheet rolled across its length, half a turn to a whole one in all."""
    values = flat[:, 0].round().long()
    low, high = int(values.min()), int(values.max())
    turn = math.pi * (1 + float(torch.rand((), generator=source)))
    each = turn / (high - low)
    return bend(flat, 0, dict.fromkeys(range(low, high), each))


def fold(flat: Tensor, refine: int, source: torch.Generator) -> Tensor:
    """A sheet folded about one to three lines of one direction, by 45° to 135° either way."""
    direction = int(torch.randint(len(LINES), (), generator=source))
    values = (flat @ LINES[direction]).round()
    low, high = int(values.min()), int(values.max())
    count = int(torch.randint(1, 4, (), generator=source))
    lines = (low + 1 + torch.randperm(high - low - 1, generator=source)[:count]).tolist()
    angles = {}
    for line in lines:
        size = math.pi * (0.25 + 0.5 * float(torch.rand((), generator=source)))
        sign = 1 if float(torch.rand((), generator=source)) < 0.5 else -1
        angles[line] = sign * size
    return bend(flat, direction, angles)
