"""Figures of images and latent codes, and the helpers that lay out all figures."""

from __future__ import annotations

import pytest
import torch

from zoo import plots
from zoo.plots.images import tile
from zoo.plots.latent import principal_plane
from zoo.plots.style import (
    COLORS,
    MARKERS,
    add_colorbar,
    add_grid_and_legend,
    class_style,
    grid_shape,
    label_panel,
    new_figure,
    new_panels,
    subfigures,
)


def test_tiles_are_placed_row_by_row() -> None:
    images = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 1, 2, 3) / 10
    pixels = tile(images, columns=4)
    assert pixels.shape == (5, 15)
    assert pixels[0, 0] == pytest.approx(0.0)
    assert pixels[0, 4] == pytest.approx(0.1)
    assert pixels[3, 4] == pytest.approx(0.5)
    assert pixels[2, 0] == 1  # gap
    assert tile(torch.rand(2, 3, 4, 4), 2).shape == (4, 9, 3)


def test_tile_rejects_vectors() -> None:
    with pytest.raises(ValueError, match=r"expected images \(N, 1 or 3, H, W\), got \(4, 7\)"):
        tile(torch.rand(4, 7), 2)


def test_the_vertical_axis_of_the_manifold_points_up() -> None:
    images = torch.zeros(9, 1, 2, 2)
    images[6:] = 1  # the highest values of the second dimension
    figure = plots.latent_manifold(images, [1, 50, 99], "Title", ("a", "b"))
    (axes,) = figure.axes
    assert axes.images[0].get_array()[0, 0] == 1
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1", "50", "99"]
    top, bottom = axes.get_yticks()[-1], axes.get_yticks()[0]
    assert top < bottom  # rows of an image count downward
    assert axes.get_xlabel() == "a (percentile)"


def test_scatter_draws_each_class_with_its_index() -> None:
    labels = torch.arange(60) % 3
    figure = plots.latent_scatter(torch.randn(60, 2), labels, "Codes")
    (axes,) = figure.axes
    assert [len(c.get_offsets()) for c in axes.collections] == [20, 20, 20]
    assert [t.get_text() for t in axes.texts] == ["0", "1", "2"]
    assert axes.get_xlabel() == "z₁"
    assert len(figure.legends) == 1


def test_codes_with_more_dimensions_are_projected_by_pca() -> None:
    torch.manual_seed(0)
    codes = torch.randn(500, 4) * torch.tensor([0.1, 5.0, 0.2, 2.0])
    points, fractions = principal_plane(codes)
    assert abs(torch.corrcoef(torch.stack([points[:, 0], codes[:, 1]]))[0, 1]) > 0.99
    assert fractions[0] == pytest.approx(25 / 29.05, abs=0.05)
    mirrored, _ = principal_plane(-codes)
    assert torch.isfinite(mirrored).all()
    figure = plots.latent_scatter(codes, None, "Codes")
    assert "of variance" in figure.axes[0].get_xlabel()


def test_one_dimensional_codes_are_drawn_against_their_class() -> None:
    labels = torch.arange(12) % 3
    (axes,) = plots.latent_scatter(torch.randn(12, 1), labels, "Codes").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z", "Class")
    assert [c.get_offsets()[0, 1] for c in axes.collections] == [0, 1, 2]
    (axes,) = plots.latent_scatter(torch.randn(12, 1), None, "Codes").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z", "")


def test_paths_are_drawn_in_the_plane_of_their_codes() -> None:
    codes, labels = torch.randn(30, 2), torch.arange(30) % 3
    path = torch.stack([codes[0], codes[1]])
    panels = [
        plots.LatentPanel("plane", codes, path, torch.rand(2, 1, 4, 4)),
        plots.LatentPanel("space", torch.randn(30, 5), torch.randn(2, 5), torch.rand(2, 1, 4, 4)),
    ]
    figure = plots.latent_comparison(panels, labels, "Both")
    plane, space = figure.axes[:2]
    torch.testing.assert_close(torch.tensor(plane.lines[0].get_xydata()).float(), path)
    assert plane.get_xlabel() == "z₁"
    assert "of variance" in space.get_xlabel()
    assert len(figure.legends) == 1
    assert len(plots.latent_comparison(panels, None, "Both").legends) == 0


def test_an_equation_has_operators_between_its_images() -> None:
    images = torch.rand(4, 1, 3, 3)
    figure = plots.image_equation(images, ("+", "−", "="), list("abcd"), "Sum")
    assert [[t.get_text() for t in axes.texts] for axes in figure.axes] == [[], ["+"], ["−"], ["="]]
    assert [axes.get_xlabel() for axes in figure.axes] == list("abcd")


def test_explained_variance_is_drawn_per_component_and_cumulatively() -> None:
    figure = plots.explained_variance(torch.tensor([0.5, 0.3, 0.1]), "Three")
    (axes,) = figure.axes
    assert [round(bar.get_height()) for bar in axes.patches] == [50, 30, 10]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([50, 80, 90])


def test_scatter_panels_have_one_scale() -> None:
    sets = [torch.rand(20, 2), 5 * torch.rand(20, 2)]
    figure = plots.scatter_panels(sets, None, ["Step 0", "Step 1"], "Title")
    first, last = figure.axes
    assert first.get_xlim() == last.get_xlim()
    assert last.get_xlim()[1] > 3
    assert [axes.get_title() for axes in figure.axes] == ["Step 0", "Step 1"]


# -- layout ------------------------------------------------------------------------------------


def test_ten_colors_are_distinct() -> None:
    assert len(set(COLORS)) == 10
    styles = [tuple(class_style(k).values()) for k in range(10 * len(MARKERS))]
    assert len(set(styles)) == len(styles)


def test_unused_panels_are_hidden() -> None:
    assert grid_shape(7, 5) == (2, 5)
    assert grid_shape(3, 5) == (1, 3)
    figure = new_figure(4, 3, "Title")
    panels = new_panels(figure, 2, 5, count=7)
    assert panels.shape == (2, 5)
    assert [axes.axison for axes in panels.flat] == [True] * 7 + [False] * 3
    assert figure.get_suptitle() == "Title"
    assert all(axes.axison for axes in new_panels(new_figure(4, 3), 1, 2).flat)


def test_subfigures_are_listed_row_by_row() -> None:
    figure = new_figure(4, 3)
    assert subfigures(figure, 1, 1) == figure.subfigs
    figure = new_figure(4, 3)
    assert subfigures(figure, 2, 1, height_ratios=[2, 1]) == figure.subfigs


def test_panels_have_a_legend_only_if_something_is_labeled() -> None:
    figure = new_figure(4, 3)
    left, right = new_panels(figure, 1, 2).flat
    left.plot([0, 1], label="line")
    right.plot([0, 1])
    add_grid_and_legend(left, right)
    assert [t.get_text() for t in left.get_legend().get_texts()] == ["line"]
    assert right.get_legend() is None


def test_labels_and_color_bar() -> None:
    figure = new_figure(4, 3)
    panels = new_panels(figure, 1, 2)
    image = panels[0, 0].imshow(torch.rand(2, 2))
    label_panel(panels[0, 0], "Title", "Time (s)", "Loss", size=8)
    add_colorbar(figure, image, panels, "Weight")
    axes, bar = figure.axes[0], figure.axes[-1]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("Title", "Time (s)", "Loss")
    assert axes.title.get_fontsize() == 8
    assert bar.get_ylabel() == "Weight"
