"""What bending leaves as it was: intrinsic beside extrinsic features.

A sheet of paper that is rolled or folded keeps all lengths inside of it, and with them all that its
Laplacian knows: eigenvalues, and the heat kernel signature Σ e^(−λᵢt) φᵢ(x)² of every point. Where
the sheet lies, how far its points are through the air and which way it faces all change. Intrinsic
features therefore tell the shape of a sheet in any pose, and cannot tell the pose.

Sources: Sun, Ovsjanikov and Guibas, A concise and provably informative multi-scale signature based
on heat diffusion, 2009; Reuter, Wolter and Peinecke, Laplace-Beltrami spectra as Shape-DNA, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.functional.meshes import face_areas
from zoo.functional.spectral import MeshOperators, heat_kernel_signature, spectral_operators
from zoo.plots.meshes import Mesh, draw_mesh, view_rotation
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import Table, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = (0.01, 0.05, 0.2)  # of heat, in units of the surface's area
INTRINSIC = ("edge lengths", "areas of faces", "eigenvalues", "heat kernel signature")
POSES = ("flat", "rolled", "folded")


@dataclass(frozen=True)
class Result:
    """A sheet in three poses, its signatures, and relative changes of features over many bends."""

    faces: Tensor
    vertices: dict[str, Tensor]
    signatures: dict[str, Tensor]  # (V, len(TIMES))
    changes: dict[str, Tensor]  # feature → (sheets, bends)
    between: dict[str, float]  # feature → mean change to another outline


def run(
    refine: int = 3, bends: int = 6, eigenpairs: int = 20, outline: str = "T", seed: int = 0
) -> Result:  # fmt: skip
    """Bends sheets of several outlines and compares their features with those of the flat ones.

    Args:
        refine: mesh squares along the side of a drawn square.
        bends: random rolls, and as many folds, of each sheet.
        eigenpairs: of the Laplacian.
        outline: of the sheet that is drawn: strip, square, L, T, U, plus, ring or comb.
        seed: of the bends.
    """
    from datamodules.isometric import OUTLINES, fold, make_sheet, roll

    require(outline in OUTLINES, f"unknown outline {outline!r}; choose from {', '.join(OUTLINES)}")
    require(refine >= 1 and bends >= 1, "refine and bends must be at least 1")
    most = min(len(make_sheet(rows, refine)[0]) for rows in OUTLINES.values()) - 2
    require(4 <= eigenpairs <= most, f"eigenpairs must lie between 4 and {most}, got {eigenpairs}")
    random = generator(seed)
    flat, faces = make_sheet(OUTLINES[outline], refine)
    vertices = {"flat": flat, "rolled": roll(flat, random),
                "folded": fold(flat, random)}  # fmt: skip
    signatures = {name: signature(operators(v, faces, eigenpairs)) for name, v in vertices.items()}
    changes: dict[str, list[list[float]]] = {}
    spectra = {}
    for name, rows in track(OUTLINES.items(), "sheets"):
        flat, triangles = make_sheet(rows, refine)
        base = features(flat, triangles, eigenpairs)
        spectra[name] = base["eigenvalues"]
        found: dict[str, list[float]] = {}
        for bend in [roll, fold] * bends:
            moved = features(bend(flat, random), triangles, eigenpairs)
            for key, value in moved.items():
                found.setdefault(key, []).append(change(base[key], value))
        for key, values in found.items():
            changes.setdefault(key, []).append(values)
    others = [change(a, b) for m, a in spectra.items() for n, b in spectra.items() if m != n]
    return Result(
        faces, vertices, signatures, {key: torch.tensor(v) for key, v in changes.items()},
        {"eigenvalues": sum(others) / len(others)},
    )  # fmt: skip


def operators(vertices: Tensor, faces: Tensor, eigenpairs: int) -> MeshOperators:
    """The Laplacian's eigenpairs and what goes with them, at area 1."""
    return spectral_operators(vertices, faces, eigenpairs)


def signature(found: MeshOperators) -> Tensor:
    """The heat kernel signature at ``TIMES``, (V, T)."""
    times = torch.tensor(TIMES, dtype=torch.float64)
    return heat_kernel_signature(found.eigenvalues.double(), found.eigenvectors.double(), times)


def features(vertices: Tensor, faces: Tensor, eigenpairs: int) -> dict[str, Tensor]:
    """Intrinsic features first, extrinsic ones after them."""
    found = operators(vertices, faces, eigenpairs)
    corners = vertices[faces]
    edges = (corners - corners.roll(1, 1)).norm(dim=2)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centered = vertices - vertices.mean(0)
    return {
        "edge lengths": edges,
        "areas of faces": face_areas(vertices, faces),
        "eigenvalues": found.eigenvalues.double(),
        "heat kernel signature": signature(found),
        "coordinates": centered,
        "distances through the air": torch.pdist(vertices),
        "normals": torch.nn.functional.normalize(normals, dim=1),
        "principal moments": torch.linalg.eigvalsh(centered.mT @ centered / len(centered)),
    }


def change(before: Tensor, after: Tensor) -> float:
    """‖after − before‖/‖before‖."""
    return float((after - before).norm() / before.norm())


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for key, values in result.changes.items():
        intrinsic = key in INTRINSIC
        shown = values.max() if intrinsic else values.mean()
        kind = "largest change" if intrinsic else "mean change"
        rows.append((f"{key}: {kind} by bending", float(shown), 0.0 if intrinsic else None))
    rows.append(("eigenvalues: mean change to another outline", result.between["eigenvalues"]))
    gap = (result.signatures["folded"] - result.signatures["flat"]).abs().max()
    rows.append(("signatures of the drawn sheet, folded and flat: largest difference",
                 float(gap), 0.0))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 7.2)
    left, right = subfigures(figure, 1, 2, width_ratios=[2, 1])
    grid = left.subplots(len(TIMES), len(POSES))
    view = view_rotation(-60, 55)
    for column, name in enumerate(POSES):
        vertices = result.vertices[name] - result.vertices[name].mean(0)
        reach = 1.05 * float(vertices.norm(dim=1).max())
        for row, time in enumerate(TIMES):
            values = result.signatures[name][:, row]
            limits = tuple(result.signatures["flat"][:, row].aminmax())
            draw_mesh(grid[row, column], Mesh(
                vertices, result.faces, values=values, limits=tuple(map(float, limits)),  # type: ignore[arg-type]
            ), reach, view)  # fmt: skip
            grid[row, column].set_title(f"{name}, t = {time:g}", fontsize=9)
    left.suptitle("Heat that stays at each point", fontsize=10)
    bars = right.subplots()
    names = list(result.changes)
    heights = [max(float(v.mean()), 1e-16) for v in result.changes.values()]
    colors = [COLORS[0] if name in INTRINSIC else COLORS[1] for name in names]
    bars.barh(range(len(names)), heights, color=colors)
    bars.set_yticks(range(len(names)), names, fontsize=9)
    bars.invert_yaxis()
    bars.set(xscale="log", xlabel="relative change")
    bars.axvline(math.ulp(1.0), color="#222222", linewidth=0.8, linestyle=":")
    bars.set_title("Change by bending", fontsize=10)
    return figure
