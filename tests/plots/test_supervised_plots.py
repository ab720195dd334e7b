"""Figures of predictions, weights and curves show the values that they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo import plots
from zoo.plots.curves import metric_label


def render(figure: object) -> None:
    """Render a figure: some errors appear only then."""
    figure.canvas.draw()  # type: ignore[attr-defined]


def test_confusion_matrix_shows_counts_and_fractions() -> None:
    counts = torch.tensor([[8, 2], [0, 5]])
    figure = plots.confusion_matrix(counts, ["cat", "dog"], "Title")
    render(figure)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0, 1]])
    assert sorted(t.get_text() for t in axes.texts) == ["2", "5", "8"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog"]


def test_calibration_error_is_that_of_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    torch.manual_seed(0)
    probabilities, labels = torch.randn(500, 4).softmax(1), torch.randint(0, 4, (500,))
    expected = multiclass_calibration_error(probabilities, labels, 4, n_bins=15)
    figure = plots.calibration(probabilities, labels, "Net")
    render(figure)
    assert figure.get_suptitle() == f"Net: calibration error {float(expected):.4f}"
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    assert sum(heights) == 500


def test_decision_boundary_has_the_color_of_the_most_likely_class() -> None:
    grid = torch.linspace(-1, 1, 21)
    right = (grid > 0).float().expand(21, 21)
    probabilities = torch.stack([1 - right, right], dim=2)
    points = torch.tensor([[-0.5, 0.0], [0.5, 0.0]])
    figure = plots.decision_boundary(
        grid, grid, probabilities, points, torch.tensor([0, 1]), ["a", "b"], "Title"
    )
    render(figure)
    colors = figure.axes[0].images[0].get_array()
    assert not np.allclose(colors[10, 2], colors[10, 18])
    np.testing.assert_allclose(colors[0, 2], colors[20, 2])


def test_a_single_predicted_class_has_no_boundary() -> None:
    grid = torch.linspace(-1, 1, 5)
    probabilities = torch.tensor([0.9, 0.1]).expand(5, 5, 2)
    figure = plots.decision_boundary(
        grid, grid, probabilities, torch.zeros(1, 2), torch.zeros(1), ["a", "b"], "Title"
    )
    render(figure)
    axes = figure.axes[0]
    assert len(axes.collections) == 2  # the points of two classes, and no contour
    colors = axes.images[0].get_array()
    np.testing.assert_allclose(colors, np.broadcast_to(colors[0, 0], colors.shape))


def test_fitted_curve_draws_residuals() -> None:
    x = torch.linspace(-1, 1, 9)
    y, prediction = x**2, x**2 - 0.1
    grid = torch.linspace(-1, 1, 50)
    figure = plots.fitted_curve(
        x,
        y,
        prediction,
        grid,
        grid**2,
        "Title",
        band=("± 0.1", torch.full((50,), 0.1)),
        truth=grid**2,
    )
    render(figure)
    above, below = figure.axes
    labels = [t.get_text() for t in above.get_legend().get_texts()]
    assert labels == ["Data", "True function", "± 0.1", "Fit"]
    np.testing.assert_allclose(below.lines[0].get_ydata(), 0.1, atol=1e-6)
    render(plots.predicted_against_true(y, prediction, "Title"))


def test_weight_histograms_draw_the_penalty() -> None:
    weights = {"first": torch.randn(30, 20), "second": torch.zeros(4, 4)}
    figure = plots.weight_histograms(weights, {"0.1 |w|^1": (0.1, 1.0)}, "Title")
    render(figure)
    curves = [axes.lines[0] for axes in figure.axes if axes.lines]
    assert len(curves) == 2
    line = curves[0]
    np.testing.assert_allclose(line.get_ydata(), 0.1 * np.abs(line.get_xdata()))
    assert "16 weights, 100% near 0" in figure.axes[1].get_title()


def test_filters_and_maps() -> None:
    figure = plots.filters(torch.randn(70, 3, 3), "Title")
    render(figure)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) >= 64
    limits = {axes.images[0].get_clim() for axes in shown[:64]}
    assert len(limits) == 1  # one scale, symmetric about zero
    low, high = limits.pop()
    assert low == -high
    maps = {"a": torch.rand(3, 6, 6), "b": torch.rand(20, 2, 2)}
    for channels in (1, 3):
        render(plots.feature_maps(torch.rand(channels, 8, 8), maps, "Title"))
    render(plots.labeled_images(torch.rand(7, 1, 8, 8), list("abcdefg"), "Title"))
    render(
        plots.attribution_maps(
            torch.rand(3, 3, 8, 8), torch.randn(3, 8, 8), ["a", "b", "c"], "Title"
        )
    )


def test_curves() -> None:
    curves = {"Training": [1.0, 0.01, 0.001], "Validation": [1.0, float("nan"), 0.5]}
    figure = plots.learning_curves([0, 1, 2], curves, "bits_per_dim", "Title")
    render(figure)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "Bits per dim"
    assert [len(line.get_xdata()) for line in axes.lines] == [3, 2]
    figure = plots.pruning_curve([0, 0.5, 0.9], [0.98, 0.97, 0.9], "val/accuracy", "Title")
    render(figure)
    assert figure.axes[0].lines[0].get_xdata().tolist() == pytest.approx([0, 50, 90])


def test_metric_names_as_axis_labels() -> None:
    assert metric_label("loss") == "Loss"
    assert metric_label("val/bits_per_dim") == "Validation bits per dim"
