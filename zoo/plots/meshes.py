"""Shaded triangle meshes and voxel grids, painted from back to front in plain matplotlib axes.

No window, graphics card or 3-D library is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import (
    COLORS,
    TICK_SIZE,
    Array,
    add_figure_legend,
    grid_shape,
    label_panel,
    new_figure,
    new_panels,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SURFACE_COLOR = (0.62, 0.71, 0.80)  # RGB of a surface without values or labels
LIGHT = np.array([-0.35, 0.45, 0.82])  # direction of the light: above left of the viewer, at +z


class Mesh(NamedTuple):
    """A mesh and the colors to draw it in.

    Attributes:
        vertices: coordinates, (V, 3), the third axis upward.
        faces: vertex indices of triangles or quadrilaterals, (F, 3) or (F, 4).
        values: value at each vertex, drawn with a color map, (V,); or None.
        labels: class index of each vertex, (V,); or None.
        limits: values at both ends of the color map; None for the smallest and largest value.
    """

    vertices: Tensor
    faces: Tensor
    values: Tensor | None = None
    labels: Tensor | None = None
    limits: tuple[float, float] | None = None


def view_rotation(azimuth: float, elevation: float) -> Array:
    """Return the rotation matrix, (3, 3), from mesh coordinates to those of a viewer.

    The viewer's x axis points right, y up, and z toward the viewer.

    Args:
        azimuth, elevation: direction of the viewer as seen from the mesh, degrees.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    toward = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    return np.stack([right, np.cross(toward, right), toward])


def centered(vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Move the center of the bounding box to the origin; return vertices (V, 3) and center (3,)."""
    center = (vertices.amax(0) + vertices.amin(0)) / 2
    return vertices - center, center


def draw_mesh(axes: Axes, mesh: Mesh, half_width: float, view: Array) -> None:
    """Draw a mesh into a panel that shows the square from −half_width to half_width.

    Args:
        axes: the panel, with plain two-dimensional axes.
        mesh: the mesh to draw.
        half_width: half the width of the panel in the mesh's units.
        view: rotation to the viewer's coordinates; see :func:`view_rotation`.
    """
    from matplotlib.collections import PolyCollection

    points = mesh.vertices.double().cpu().numpy() @ view.T
    faces = mesh.faces.cpu().numpy()
    corners = points[faces]  # (F, 3 or 4, 3)
    order = corners[:, :, 2].mean(1).argsort()
    corners = corners[order]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    normals *= np.where(normals[:, 2:] < 0, -1, 1)  # both sides of a surface are lit
    light = LIGHT / np.linalg.norm(LIGHT)
    shade = 0.35 + 0.65 * np.clip(normals @ light, 0, 1)
    colors = np.clip(_face_colors(mesh, faces)[order] * shade[:, None], 0, 1)
    # edges in the color of their face close the seams between neighboring faces
    axes.add_collection(
        PolyCollection(corners[:, :, :2], facecolors=colors, edgecolors=colors,
                       linewidths=0.2)
    )  # fmt: skip
    axes.set(xlim=(-half_width, half_width), ylim=(-half_width, half_width), aspect="equal")
    axes.set_axis_off()


def _face_colors(mesh: Mesh, faces: Array) -> Array:
    """Return the color of each face before shading, (F, 3)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if mesh.labels is not None:
        palette = np.array([to_rgb(color) for color in COLORS])
        return palette[mesh.labels.cpu().numpy()[faces[:, 0]] % len(palette)]
    if mesh.values is None:
        return np.tile(np.array(SURFACE_COLOR), (len(faces), 1))
    values = mesh.values.double().cpu().numpy()
    low, high = mesh.limits or (values.min(), values.max())
    means = ((values - low) / max(float(high - low), 1e-12))[faces].mean(1)
    return np.asarray(colormaps["viridis"](means))[:, :3] * 0.8 + 0.2


def meshes(
    shapes: Sequence[Mesh],
    panel_titles: Sequence[str],
    title: str,
    class_names: Sequence[str] = (),
    wrong: Sequence[bool] | None = None,
    view: tuple[float, float] = (-60.0, 20.0),
) -> Figure:
    """Draw meshes side by side, each scaled to its panel.

    Args:
        shapes: the meshes.
        panel_titles: one title for each mesh.
        title: figure title.
        class_names: names of the vertex classes, for the legend; default none.
        wrong: whether the prediction of each mesh is wrong, which makes its title red; default
            none.
        view: azimuth and elevation of the viewer, degrees.
    """
    rows, columns = grid_shape(len(shapes), 5)
    width = 2.1 * columns + (1.4 if class_names else 0)
    figure = new_figure(width, 2.25 * rows + 0.4, title)
    panels = new_panels(figure, rows, columns, len(shapes)).flat
    rotation = view_rotation(*view)
    for i, (axes, mesh) in enumerate(zip(panels, shapes, strict=False)):
        vertices, _ = centered(mesh.vertices)
        half_width = 1.02 * float(vertices.norm(dim=1).max())
        draw_mesh(axes, mesh._replace(vertices=vertices), half_width, rotation)
        is_error = wrong is not None and wrong[i]
        label_panel(axes, panel_titles[i], size=TICK_SIZE, is_error=is_error)
    if class_names:
        from matplotlib.patches import Patch

        handles = [Patch(color=COLORS[k % len(COLORS)], label=n) for k, n in enumerate(class_names)]
        add_figure_legend(figure, handles=handles)
    return figure


def voxels(
    surfaces: Sequence[Mesh],
    grids: Tensor,
    panel_titles: Sequence[str],
    title: str,
    wrong: Sequence[bool],
) -> Figure:
    """Draw voxel grids side by side: their surface and, below, a slice through the middle.

    Args:
        surfaces: outer squares of each grid; see :func:`zoo.functional.voxels.voxel_faces`.
        grids: occupancy, (N, R, R, R).
        panel_titles: one title for each grid.
        title: figure title.
        wrong: whether the prediction of each grid is wrong, which makes its title red.
    """
    count, resolution = len(grids), grids.shape[1]
    figure = new_figure(2.1 * count, 4.3, title)
    panels = new_panels(figure, 2, count)
    view = view_rotation(-60.0, 25.0)
    center = torch.full((3,), resolution / 2)
    for i, (above, below) in enumerate(panels.T):
        surface = surfaces[i]._replace(vertices=surfaces[i].vertices - center)
        draw_mesh(above, surface, 0.65 * resolution, view)
        label_panel(above, panel_titles[i], size=TICK_SIZE, is_error=wrong[i])
        middle = grids[i, :, resolution // 2].T.float().numpy()  # height up, first axis right
        below.imshow(middle, cmap="Greys", vmin=0, vmax=1.4, origin="lower")
        below.set(xticks=[], yticks=[])
        label_panel(below, xlabel="Slice through the middle", size=TICK_SIZE)
    return figure


def render(
    shapes: Tensor,
    faces: Tensor,
    half_width: float,
    size: int = 160,
    view: tuple[float, float] = (-60.0, 15.0),
) -> Tensor:
    """Render shapes with the same connectivity as images at one scale.

    Args:
        shapes: vertices of each shape, (N, V, 3), the third axis upward.
        faces: vertex indices of the triangles, (F, 3).
        half_width: half the width of an image around the origin, in the shapes' units.
        size: width and height of an image in pixels, default 160.
        view: azimuth and elevation of the viewer, degrees.

    Returns:
        Images in [0, 1], (N, 3, size, size).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rotation = view_rotation(*view)
    images = []
    for shape in shapes.detach():
        figure = Figure(figsize=(1, 1), dpi=size)
        canvas = FigureCanvasAgg(figure)
        draw_mesh(figure.add_axes((0, 0, 1, 1)), Mesh(shape, faces), half_width, rotation)
        canvas.draw()
        images.append(torch.from_numpy(np.asarray(canvas.buffer_rgba())[:, :, :3].copy()))
    return torch.stack(images).permute(0, 3, 1, 2).float() / 255


def write_html(mesh: Mesh, path: Path, title: str) -> None:
    """Write a mesh as an HTML page in which the mouse rotates it.

    The page loads plotly from the network when it is opened.

    Args:
        mesh: the mesh, with triangles only.
        path: the file to write.
        title: title of the page's figure.

    Raises:
        ModuleNotFoundError: plotly is not installed.
    """
    import plotly.graph_objects as go

    x, y, z = mesh.vertices.double().cpu().numpy().T
    i, j, k = mesh.faces.cpu().numpy().T
    values = mesh.values if mesh.values is not None else mesh.labels
    style: dict[str, Any] = {"color": "lightsteelblue"}
    if values is not None:
        style = {"intensity": values.cpu().numpy(), "colorscale": "Viridis"}
    surface = go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, flatshading=False, **style)
    hidden = {"visible": False}
    layout = {
        "title": title,
        "scene": {"aspectmode": "data", "xaxis": hidden, "yaxis": hidden, "zaxis": hidden},
    }
    go.Figure(surface, layout).write_html(path, include_plotlyjs="cdn")
