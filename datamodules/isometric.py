"""Cut-out sheets of paper that are rolled and folded without stretching."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.meshes import MeshDataModule
from zoo.errors import check_at_least, check_choice

#: outlines of the sheets, as rows of square cells: "#" is paper
OUTLINES = {
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
    """Sheets of eight outlines, bent isometrically along lines of their mesh.

    A bend rotates the part of the sheet beyond a line of the mesh about that line. Training sheets
    are rolled: bent slightly at every line across the sheet, always in the same direction. Test
    sheets are folded: bent sharply at a few parallel lines, in either direction. The intrinsic
    geometry of a sheet is the same in both poses.

    Properties for models: ``num_classes``; for figures: ``class_names``.

    Args:
        num_samples: training sheets, including validation, default 160; half as many are for
            testing.
        subdivisions: mesh squares along each side of a cell of the outline, default 2.
        test_poses: poses of the test sheets, ``folded`` (default) or ``rolled``.
        eigenpairs: number of eigenpairs of the Laplacian, default 32.
        rotate: kind of random rotation, default ``any``; see
            :class:`~datamodules.meshes.MeshDataModule`.
        **meshes: see :class:`~datamodules.meshes.MeshDataModule`.

    Raises:
        InputError: unknown ``test_poses``, or a number out of range.
    """

    def __init__(
        self,
        num_samples: int = 160,
        subdivisions: int = 2,
        test_poses: str = "folded",
        eigenpairs: int = 32,
        rotate: str = "any",
        **meshes: Any,
    ) -> None:
        super().__init__(eigenpairs=eigenpairs, rotate=rotate, **meshes)
        check_at_least(2, num_samples=num_samples)
        check_at_least(1, subdivisions=subdivisions)
        check_choice("test_poses", test_poses, POSES)
        self.num_samples, self.subdivisions, self.test_poses = num_samples, subdivisions, test_poses
        self.class_names = list(OUTLINES)

    def load(self, train: bool) -> list[Data]:
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        sheets = [make_sheet(outline, self.subdivisions) for outline in OUTLINES.values()]
        pose = roll if train or self.test_poses == "rolled" else fold
        meshes = []
        for i in range(self.num_samples if train else self.num_samples // 2):
            label = i % len(sheets)
            flat, faces = sheets[label]
            pos = pose(flat, generator)
            meshes.append(Data(pos=pos, face=faces.T, y=torch.tensor([label])))
        return meshes


def make_sheet(outline: tuple[str, ...], subdivisions: int) -> tuple[Tensor, Tensor]:
    """Triangulate a flat sheet.

    Args:
        outline: rows of square cells, ``#`` for paper and any other character for none.
        subdivisions: mesh squares along each side of a cell.

    Returns:
        Vertices at integer coordinates, float64 (V, 3), and faces (F, 3), two for each mesh square.
    """
    paper = torch.tensor([[cell == "#" for cell in row] for row in outline])
    paper = paper.repeat_interleave(subdivisions, 0).repeat_interleave(subdivisions, 1)
    y, x = paper.nonzero().T
    corners = torch.stack(
        [torch.stack([x + i, y + j], 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    )
    vertices, indices = torch.unique(corners.flatten(0, 1), dim=0, return_inverse=True)
    a, b, c, d = indices.view(4, -1)
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    flat = torch.cat([vertices, torch.zeros(len(vertices), 1)], 1)
    return flat.double(), faces


#: normals n of the lines of the mesh: a line has the equation n · v = i, with an integer i
LINE_NORMALS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, -1.0, 0.0]]).double()


def bend(flat: Tensor, direction: int, angles: dict[int, float]) -> Tensor:
    """Bend a sheet at parallel lines of its mesh.

    Args:
        flat: vertices of a flat sheet, (V, 3).
        direction: index in ``LINE_NORMALS`` of the normal of the lines.
        angles: bending angle in radians at each line n · v = i, keyed by i.

    Returns:
        Vertices of the bent sheet, (V, 3).
    """
    normal = LINE_NORMALS[direction]
    across = normal / normal.norm()
    along = torch.stack([-across[1], across[0], across[2]])
    lines = (flat @ normal).round()
    first, last = int(lines.min()), int(lines.max())
    spacing = 1 / float(normal.norm())  # distance between neighboring lines
    # cross section of the bent sheet: a polyline with a corner at every line
    profile = [torch.zeros(2, dtype=torch.float64)]
    heading = 0.0
    for line in range(first, last):
        heading += angles.get(line, 0.0)
        ahead = torch.tensor([math.cos(heading), math.sin(heading)], dtype=torch.float64)
        profile.append(profile[-1] + spacing * ahead)
    section = torch.stack(profile)[(lines - first).long()]  # (V, 2)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    return section[:, :1] * across + (flat @ along)[:, None] * along + section[:, 1:] * up


def roll(flat: Tensor, generator: torch.Generator) -> Tensor:
    """Roll a sheet (V, 3) along its first axis, by a random total angle between π and 2π."""
    lines = flat[:, 0].round().long()
    first, last = int(lines.min()), int(lines.max())
    total = math.pi * (1 + float(torch.rand((), generator=generator)))
    return bend(flat, 0, dict.fromkeys(range(first, last), total / (last - first)))


def fold(flat: Tensor, generator: torch.Generator) -> Tensor:
    """Fold a sheet (V, 3) at one to three random parallel lines, by 45° to 135° in either
    direction."""
    direction = int(torch.randint(len(LINE_NORMALS), (), generator=generator))
    lines = (flat @ LINE_NORMALS[direction]).round()
    first, last = int(lines.min()), int(lines.max())
    count = int(torch.randint(1, 4, (), generator=generator))
    creases = first + 1 + torch.randperm(last - first - 1, generator=generator)[:count]
    angles = {}
    for line in creases.tolist():
        size = math.pi * (0.25 + 0.5 * float(torch.rand((), generator=generator)))
        sign = 1 if float(torch.rand((), generator=generator)) < 0.5 else -1
        angles[line] = sign * size
    return bend(flat, direction, angles)
