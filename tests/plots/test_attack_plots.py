"""Figures of attacks: positions, colors and labels of what is drawn."""

from __future__ import annotations

import numpy as np
import torch

from zoo import plots
from zoo.plots.style import ERROR_COLOR


def test_perturbations_are_amplified_by_the_factor_in_their_label() -> None:
    x = torch.full((2, 1, 4, 4), 0.5)
    x_adv = x.clone()
    x_adv[0, 0, 0, 0] += 0.1
    before = torch.tensor([0, 1]), torch.tensor([0.9, 0.8])
    after = torch.tensor([1, 1]), torch.tensor([0.6, 0.7])
    figure = plots.adversarial_images(x, x_adv, before, after, ["a", "b"], "Title")
    assert figure.get_suptitle() == "Title"
    rows = np.array(figure.axes).reshape(3, 2)
    assert rows[1, 0].get_ylabel() == "Perturbation\n×5"
    drawn = rows[1, 0].images[0].get_array()
    assert float(drawn[0, 0]) == 1.0  # 0.1 amplified five times, around mid-gray
    assert rows[2, 0].get_xlabel() == "b 60%"
    assert rows[2, 0].xaxis.label.get_color() == ERROR_COLOR
    assert rows[2, 1].xaxis.label.get_color() != ERROR_COLOR


def test_robustness_curves_start_at_clean_accuracy() -> None:
    figure = plots.robustness_curves([0.1, 0.2], 0.9, {"PGD": [0.5, 0.1]}, "Title", chance=0.1)
    (line, chance) = figure.axes[0].lines
    assert list(line.get_xdata()) == [0.0, 0.1, 0.2]
    assert list(line.get_ydata()) == [0.9, 0.5, 0.1]
    assert chance.get_label() == "Chance"


def test_robust_training_has_two_curves_and_its_budget() -> None:
    curves = {"plain": ([0.8, 0.9], [0.1, 0.0])}
    figure = plots.robust_training(curves, [0.0, 0.1], {"plain": [0.9, 0.1]}, 0.15, "Title")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["plain, clean", "plain, attacked"]
    assert list(left.lines[1].get_ydata()) == [0.1, 0.0]
    assert right.lines[1].get_xdata()[0] == 0.15


def test_rows_of_the_transfer_matrix_are_source_models() -> None:
    accuracy = torch.tensor([[0.0, 0.9], [0.8, 0.1]])
    figure = plots.transfer_matrix(accuracy, ["one", "two"], "Title")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.0%", "90.0%", "80.0%", "10.0%"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("Source model", "Target model")


def test_displaced_shapes_have_one_color_scale() -> None:
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    moved = square.clone()
    moved[2] += torch.tensor([0.0, 0.0, 0.4])
    titles = ["cat 90%", "dog 80%"], ["dog 60%", "dog 70%"]
    figure = plots.displaced_meshes(
        [square, square], [moved, square], [faces, faces], *titles, [True, False], "Title"
    )
    colors = {axes.get_title(): axes.title.get_color() for axes in figure.axes if axes.get_title()}
    assert colors["dog 60%"] == ERROR_COLOR
    assert colors["dog 70%"] != ERROR_COLOR
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "Displacement")
    np.testing.assert_allclose(bar.get_ylim(), (0, 0.4), atol=1e-6)
    clouds = torch.stack([square, square]), torch.stack([moved, square])
    figure = plots.displaced_point_clouds(*clouds, *titles, [True, False], "Title")
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "Displacement")
    np.testing.assert_allclose(bar.get_ylim(), (0, 0.4), atol=1e-6)


def test_flipped_edges_are_drawn_as_added_or_removed() -> None:
    positions = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    flips = torch.tensor([[0, 0], [1, 2]])  # one edge is removed, one added
    misclassified = torch.tensor([False, False, True, False])
    labels = torch.tensor([0, 0, 1, 1])
    figure = plots.flipped_edges(
        positions, edges, flips, labels, misclassified, ["a", "b"], "Title"
    )
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["Removed: 1", "Added: 1", "a", "b", "Misclassified: 1"]
    removed, added = figure.axes[0].collections[1:3]
    np.testing.assert_array_equal(removed.get_segments()[0], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(added.get_segments()[0], [[0, 0], [1, 1]])
