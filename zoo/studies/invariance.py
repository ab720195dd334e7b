"""Intrinsic and extrinsic features of surfaces under bending.

Which features of a surface are invariant to its pose? Rolling or folding a sheet of paper preserves
all lengths within the sheet, and with them everything that its Laplacian determines: eigenvalues,
and the heat kernel signature Σ e^(−λᵢt) φᵢ(x)² of every point x. Positions, distances through space
and normals all change. Intrinsic features therefore identify the outline of a sheet in any pose,
and carry no information about the pose.

Sources: Sun, Ovsjanikov and Guibas, A concise and provably informative multi-scale signature based
on heat diffusion, 2009; Reuter, Wolter and Peinecke, Laplace-Beltrami spectra as Shape-DNA, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datamodules.isometric import OUTLINES, fold, make_sheet, roll
from zoo.errors import check_at_least, check_choice
from zoo.functional.meshes import face_areas
from zoo.functional.spectral import MeshOperators, heat_kernel_signature, spectral_operators
from zoo.plots.meshes import Mesh, draw_mesh, view_rotation
from zoo.plots.style import COLORS, INK, new_figure, subfigures
from zoo.studies.base import Row, Table, check_range, make_generator, sentence_case, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = (0.01, 0.05, 0.2)  # of heat diffusion, relative to the area of the surface
INTRINSIC = ("edge lengths", "face areas", "eigenvalues", "heat kernel signature")
POSES = ("flat", "rolled", "folded")


@dataclass(frozen=True)
class Result:
    """A sheet in three poses with its signatures, and relative changes of features."""

    faces: Tensor
    vertices: dict[str, Tensor]
    signatures: dict[str, Tensor]  # (V, len(TIMES))
    changes: dict[str, Tensor]  # feature → change by bending, (outlines, 2 · bends)
    between_outlines: dict[str, float]  # feature → mean change from one outline to another


def run(
    resolution: int = 3, bends: int = 6, eigenpairs: int = 20, outline: str = "T", seed: int = 0
) -> Result:  # fmt: skip
    """Bend sheets of several outlines, and compare their features with those of the flat sheets.

    Args:
        resolution: mesh squares along each side of the squares that make up an outline.
        bends: random rolls of each sheet, and as many random folds.
        eigenpairs: number of eigenvalues and eigenvectors of the Laplacian, from 4 to two less than
            the number of vertices of the smallest sheet.
        outline: outline of the drawn sheet: strip, square, L, T, U, plus, ring or comb.
        seed: random seed of the bends.
    """
    check_choice("outline", outline, OUTLINES)
    check_at_least(1, resolution=resolution, bends=bends)
    fewest_vertices = min(len(make_sheet(squares, resolution)[0]) for squares in OUTLINES.values())
    check_range(4, fewest_vertices - 2, eigenpairs=eigenpairs)
    rng = make_generator(seed)
    flat, faces = make_sheet(OUTLINES[outline], resolution)
    vertices = {"flat": flat, "rolled": roll(flat, rng),
                "folded": fold(flat, rng)}  # fmt: skip
    signatures = {
        pose: signature(spectral_operators(v, faces, eigenpairs)) for pose, v in vertices.items()
    }
    changes: dict[str, list[list[float]]] = {}
    spectra = []
    for squares in track(OUTLINES.values(), "outlines"):
        flat_sheet, triangles = make_sheet(squares, resolution)
        flat_features = compute_features(flat_sheet, triangles, eigenpairs)
        spectra.append(flat_features["eigenvalues"])
        by_feature: dict[str, list[float]] = {}
        for bend in [roll, fold] * bends:
            bent = compute_features(bend(flat_sheet, rng), triangles, eigenpairs)
            for name, value in bent.items():
                by_feature.setdefault(name, []).append(relative_change(flat_features[name], value))
        for name, values in by_feature.items():
            changes.setdefault(name, []).append(values)
    others = [relative_change(a, b) for a in spectra for b in spectra if a is not b]
    return Result(
        faces, vertices, signatures, {name: torch.tensor(v) for name, v in changes.items()},
        {"eigenvalues": sum(others) / len(others)},
    )  # fmt: skip


def signature(operators: MeshOperators) -> Tensor:
    """Return the heat kernel signature at ``TIMES``, (V, len(TIMES))."""
    times = torch.tensor(TIMES, dtype=torch.float64)
    return heat_kernel_signature(
        operators.eigenvalues.double(), operators.eigenvectors.double(), times
    )


def compute_features(vertices: Tensor, faces: Tensor, eigenpairs: int) -> dict[str, Tensor]:
    """Return the features of a mesh by name, intrinsic ones first."""
    operators = spectral_operators(vertices, faces, eigenpairs)
    corners = vertices[faces]
    edges = (corners - corners.roll(1, 1)).norm(dim=2)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centered = vertices - vertices.mean(0)
    return {
        "edge lengths": edges,
        "face areas": face_areas(vertices, faces),
        "eigenvalues": operators.eigenvalues.double(),
        "heat kernel signature": signature(operators),
        "coordinates": centered,
        "distances through space": torch.pdist(vertices),
        "normals": torch.nn.functional.normalize(normals, dim=1),
        "principal moments": torch.linalg.eigvalsh(centered.mT @ centered / len(centered)),
    }


def relative_change(before: Tensor, after: Tensor) -> float:
    """Return ‖after − before‖/‖before‖."""
    return float((after - before).norm() / before.norm())


def table(result: Result) -> Table:
    """Return the relative changes of features by bending, and between outlines."""
    rows: list[Row] = []
    for name, values in result.changes.items():
        if name in INTRINSIC:
            rows.append((f"{name}: largest change by bending", float(values.max()), 0.0))
        else:
            rows.append((f"{name}: mean change by bending", float(values.mean())))
    mean_change = result.between_outlines["eigenvalues"]
    rows.append(("eigenvalues: mean change to another outline", mean_change))
    gap = (result.signatures["folded"] - result.signatures["flat"]).abs().max()
    rows.append(("signatures of the drawn sheet, folded vs. flat: largest difference",
                 float(gap), 0.0))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the heat kernel signature in three poses, and relative changes of features."""
    figure = new_figure(12, 7.2)
    left, right = subfigures(figure, 1, 2, width_ratios=[2, 1])
    grid = left.subplots(len(TIMES), len(POSES))
    view = view_rotation(-60, 55)
    for column, pose in enumerate(POSES):
        vertices = result.vertices[pose] - result.vertices[pose].mean(0)
        reach = 1.05 * float(vertices.norm(dim=1).max())
        for row, time in enumerate(TIMES):
            values = result.signatures[pose][:, row]
            low, high = map(float, result.signatures["flat"][:, row].aminmax())
            mesh = Mesh(vertices, result.faces, values=values, limits=(low, high))
            draw_mesh(grid[row, column], mesh, reach, view)
            grid[row, column].set_title(f"{sentence_case(pose)}, t = {time:g}", fontsize=9)
    left.suptitle("Heat kernel signature", fontsize=10)
    bars = right.subplots()
    names = list(result.changes)
    means = [max(float(v.mean()), 1e-16) for v in result.changes.values()]
    colors = [COLORS[0] if name in INTRINSIC else COLORS[1] for name in names]
    bars.barh(range(len(names)), means, color=colors)
    bars.set_yticks(range(len(names)), names, fontsize=9)
    bars.invert_yaxis()
    bars.set(xscale="log", xlabel="Relative change")
    bars.axvline(math.ulp(1.0), color=INK, linewidth=0.8, linestyle=":", label="machine precision")
    bars.legend(frameon=False, fontsize=8, loc="upper right")
    bars.set_title("Mean change by bending", fontsize=10)
    return figure
