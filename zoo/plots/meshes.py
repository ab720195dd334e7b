"""Shaded triangle meshes, drawn flat from back to front: no window, no graphics card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import COLORS, new_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
CLAY = (0.62, 0.71, 0.80)  # of a surface without colours
LIGHT = np.array([-0.35, 0.45, 0.82])  # from the left above the viewer, who looks along −z


class Drawn(NamedTuple):
    """A mesh to draw.

    Attributes:
        vertices: (V, 3), the third axis upwards.
        faces: corners of the polygons, (F, 3) or (F, 4).
        values: a number at each vertex, drawn by a colour map, (V,); or None.
        labels: a class at each vertex, (V,); or None.
        limits: values of the colour map's ends; None for the mesh's own least and largest.
    """

    vertices: Tensor
    faces: Tensor
    values: Tensor | None = None
    labels: Tensor | None = None
    limits: tuple[float, float] | None = None


def seen_from(azimuth: float, elevation: float) -> Array:
    """The rotation that brings space before a viewer at these angles, degrees: x to the right, y
    upwards, z towards them."""
    a, e = math.radians(azimuth), math.radians(elevation)
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    toward = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    return np.stack([right, np.cross(toward, right), toward])


def draw_mesh(axes: Axes, mesh: Drawn, reach: float, view: Array) -> None:
    """Draws a mesh into axes that show the square from −reach to reach.

    Args:
        axes: plain ones, in the plane.
        mesh: what to draw.
        reach: half the side of what is shown, in the mesh's units.
        view: see :func:`seen_from`.
    """
    from matplotlib.collections import PolyCollection

    points = mesh.vertices.double().cpu().numpy() @ view.T
    faces = mesh.faces.cpu().numpy()
    corners = points[faces]  # (F, 3 or 4, 3)
    order = corners[:, :, 2].mean(1).argsort()
    corners = corners[order]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    normals *= np.where(normals[:, 2:] < 0, -1, 1)  # both sides of a sheet are lit
    light = LIGHT / np.linalg.norm(LIGHT)
    shade = 0.35 + 0.65 * np.clip(normals @ light, 0, 1)
    colors = np.clip(_colors(mesh, faces)[order] * shade[:, None], 0, 1)
    # edges in the colour of their face close the seams between neighbours
    axes.add_collection(
        PolyCollection(corners[:, :, :2], facecolors=colors, edgecolors=colors,
                       linewidths=0.2)
    )  # fmt: skip
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_axis_off()


def _colors(mesh: Drawn, faces: Array) -> Array:
    """The colour of each face before light falls on it, (F, 3)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if mesh.labels is not None:
        palette = np.array([to_rgb(color) for color in COLORS])
        return palette[mesh.labels.cpu().numpy()[faces[:, 0]] % len(palette)]
    if mesh.values is None:
        return np.tile(np.array(CLAY), (len(faces), 1))
    values = mesh.values.double().cpu().numpy()
    low, high = mesh.limits or (values.min(), values.max())
    means = ((values - low) / max(float(high - low), 1e-12))[faces].mean(1)
    return np.asarray(colormaps["viridis"](means))[:, :3] * 0.8 + 0.2


def meshes(
    shown: Sequence[Drawn],
    titles: Sequence[str],
    title: str,
    names: Sequence[str] = (),
    wrong: Sequence[bool] | None = None,
    view: tuple[float, float] = (-60.0, 20.0),
) -> Figure:
    """Meshes side by side, each as large as its frame.

    Args:
        shown: what to draw.
        titles: above each.
        title: above all.
        names: of the classes of vertices, for the legend.
        wrong: which titles are red, default none.
        view: azimuth and elevation of the viewer, degrees.
    """
    columns = min(5, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(2.1 * columns + (1.4 if names else 0), 2.25 * rows + 0.4)
    all_axes = np.atleast_1d(figure.subplots(rows, columns)).flatten()
    for axes in all_axes[len(shown) :]:
        axes.set_axis_off()
    turn = seen_from(*view)
    for i, (axes, mesh) in enumerate(zip(all_axes, shown, strict=False)):
        middle = (mesh.vertices.amax(0) + mesh.vertices.amin(0)) / 2
        placed = mesh._replace(vertices=mesh.vertices - middle)
        draw_mesh(axes, placed, 1.02 * float(placed.vertices.norm(dim=1).max()), turn)
        red = wrong is not None and wrong[i]
        axes.set_title(titles[i], fontsize=8, color="#CC0000" if red else "black")
    if names:
        from matplotlib.patches import Patch

        handles = [Patch(color=COLORS[k % len(COLORS)], label=n) for k, n in enumerate(names)]
        figure.legend(handles=handles, loc="outside right center", fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def voxels(
    outsides: Sequence[Drawn],
    grids: Tensor,
    titles: Sequence[str],
    title: str,
    wrong: Sequence[bool],
) -> Figure:
    """Grids of voxels side by side, from outside and below that cut through the middle.

    Args:
        outsides: the squares of each grid; see :func:`zoo.functional.voxels.voxel_faces`.
        grids: (N, R, R, R).
        titles: above each.
        title: above all.
        wrong: which titles are red.
    """
    count, side = len(grids), grids.shape[1]
    figure = new_figure(2.1 * count, 4.3)
    axes = figure.subplots(2, count, squeeze=False)
    turn = seen_from(-60.0, 25.0)
    for i in range(count):
        middle = torch.full((3,), side / 2)
        placed = outsides[i]._replace(vertices=outsides[i].vertices - middle)
        draw_mesh(axes[0, i], placed, 0.65 * side, turn)
        axes[0, i].set_title(titles[i], fontsize=8, color="#CC0000" if wrong[i] else "black")
        cut = grids[i, :, side // 2].T.float().numpy()  # height upwards, first axis to the right
        axes[1, i].imshow(cut, cmap="Greys", vmin=0, vmax=1.4, origin="lower")
        axes[1, i].set(xticks=[], yticks=[])
        axes[1, i].set_xlabel("cut through the middle", fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def render(
    shapes: Tensor,
    faces: Tensor,
    reach: float,
    side: int = 160,
    view: tuple[float, float] = (-60.0, 15.0),
) -> Tensor:
    """Shapes of one connectivity as pictures of one scale, (N, V, 3) → (N, 3, side, side) in
    [0, 1].

    Args:
        shapes: vertices, the third axis upwards.
        faces: (F, 3).
        reach: half the side of what a picture shows around the origin, in the shapes' units.
        side: pixels, default 160.
        view: azimuth and elevation of the viewer, degrees.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    turn = seen_from(*view)
    pictures = []
    for shape in shapes.detach():
        figure = Figure(figsize=(1, 1), dpi=side)
        canvas = FigureCanvasAgg(figure)
        draw_mesh(figure.add_axes((0, 0, 1, 1)), Drawn(shape, faces), reach, turn)
        canvas.draw()
        pictures.append(torch.from_numpy(np.asarray(canvas.buffer_rgba())[:, :, :3].copy()))
    return torch.stack(pictures).permute(0, 3, 1, 2).float() / 255


def write_html(mesh: Drawn, path: Path, title: str) -> None:
    """A mesh to turn around with the mouse, as one HTML file (it loads plotly from its network
    address when it is opened).

    Raises:
        ModuleNotFoundError: plotly is missing.
    """
    import plotly.graph_objects as go

    x, y, z = mesh.vertices.double().cpu().numpy().T
    i, j, k = mesh.faces.cpu().numpy().T
    signal = mesh.values if mesh.values is not None else mesh.labels
    paint: dict[str, Any] = {"color": "lightsteelblue"}
    if signal is not None:
        paint = {"intensity": signal.cpu().numpy(), "colorscale": "Viridis"}
    body = go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, flatshading=False, **paint)
    hidden = {"visible": False}
    layout = {
        "title": title,
        "scene": {"aspectmode": "data", "xaxis": hidden, "yaxis": hidden, "zaxis": hidden},
    }
    go.Figure(body, layout).write_html(path, include_plotlyjs="cdn")
