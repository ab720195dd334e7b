import pytest
import torch

from zoo import plots
from zoo.plots.images import tile
from zoo.plots.latent import principal_plane
from zoo.plots.style import COLORS


def test_tiles_lie_where_they_should() -> None:
    images = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 1, 2, 3) / 10
    pixels = tile(images, columns=4)
    assert pixels.shape == (5, 15)
    assert pixels[0, 0] == pytest.approx(0.0)
    assert pixels[0, 4] == pytest.approx(0.1)
    assert pixels[3, 4] == pytest.approx(0.5)
    assert pixels[2, 0] == 1  # gap
    assert tile(torch.rand(2, 3, 4, 4), 2).shape == (4, 9, 3)


def test_vectors_are_no_pictures() -> None:
    with pytest.raises(ValueError, match=r"expected images \(N, 1 or 3, H, W\), got \(4, 7\)"):
        tile(torch.rand(4, 7), 2)


def test_the_manifolds_vertical_axis_points_up() -> None:
    images = torch.zeros(9, 1, 2, 2)
    images[6:] = 1  # the highest values of the second axis
    figure = plots.manifold(images, [1, 50, 99], "t", ("a", "b"))
    (axes,) = figure.axes
    assert axes.images[0].get_array()[0, 0] == 1
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1", "50", "99"]
    top, bottom = axes.get_yticks()[-1], axes.get_yticks()[0]
    assert top < bottom  # rows of an image count downwards
    assert axes.get_xlabel() == "a, percentile"


def test_scatter_draws_each_class_with_its_name() -> None:
    labels = torch.arange(60) % 3
    figure = plots.latent_scatter(torch.randn(60, 2), labels, "codes")
    (axes,) = figure.axes
    assert [len(c.get_offsets()) for c in axes.collections] == [20, 20, 20]
    assert [t.get_text() for t in axes.texts] == ["0", "1", "2"]
    assert axes.get_xlabel() == "z₁"
    assert len(figure.legends) == 1


def test_more_dimensions_go_through_pca() -> None:
    torch.manual_seed(0)
    codes = torch.randn(500, 4) * torch.tensor([0.1, 5.0, 0.2, 2.0])
    points, share = principal_plane(codes)
    assert abs(torch.corrcoef(torch.stack([points[:, 0], codes[:, 1]]))[0, 1]) > 0.99
    assert share[0] == pytest.approx(25 / 29.05, abs=0.05)
    mirrored, _ = principal_plane(-codes)
    assert torch.isfinite(mirrored).all()
    figure = plots.latent_scatter(codes, None, "codes")
    assert "of variance" in figure.axes[0].get_xlabel()


def test_paths_lie_in_the_plane_of_their_codes() -> None:
    codes, labels = torch.randn(30, 2), torch.arange(30) % 3
    line = torch.stack([codes[0], codes[1]])
    panels = [
        plots.Panel("plane", codes, line, torch.rand(2, 1, 4, 4)),
        plots.Panel("space", torch.randn(30, 5), torch.randn(2, 5), torch.rand(2, 1, 4, 4)),
    ]
    figure = plots.latent_comparison(panels, labels, "both")
    plane, space = figure.axes[:2]
    torch.testing.assert_close(torch.tensor(plane.lines[0].get_xydata()).float(), line)
    assert plane.get_xlabel() == "z₁"
    assert "of variance" in space.get_xlabel()
    assert len(figure.legends) == 1
    assert len(plots.latent_comparison(panels, None, "both").legends) == 0


def test_an_equation_has_its_signs_between_the_images() -> None:
    images = torch.rand(4, 1, 3, 3)
    figure = plots.equation(images, ("+", "−", "="), list("abcd"), "sum")
    assert [[t.get_text() for t in axes.texts] for axes in figure.axes] == [[], ["+"], ["−"], ["="]]
    assert [axes.get_xlabel() for axes in figure.axes] == list("abcd")


def test_shares_of_variance_add_up() -> None:
    figure = plots.explained_variance(torch.tensor([0.5, 0.3, 0.1]), "three")
    (axes,) = figure.axes
    assert [round(bar.get_height()) for bar in axes.patches] == [50, 30, 10]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([50, 80, 90])


def test_ten_colours_are_distinct() -> None:
    assert len(set(COLORS)) == 10
