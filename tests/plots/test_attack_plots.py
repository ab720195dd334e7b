"""Pictures of attacks: what is drawn where, and in which colour."""

from __future__ import annotations

import numpy as np
import torch

from zoo import plots

RED = "#CC0000"


def test_perturbations_are_enlarged_and_say_so() -> None:
    x = torch.full((2, 1, 4, 4), 0.5)
    found = x.clone()
    found[0, 0, 0, 0] += 0.1
    said = torch.tensor([0, 1]), torch.tensor([0.9, 0.8])
    after = torch.tensor([1, 1]), torch.tensor([0.6, 0.7])
    figure = plots.adversarial_images(x, found, said, after, ["a", "b"], "title")
    rows = np.array(figure.axes).reshape(3, 2)
    assert rows[1, 0].get_ylabel() == "perturbation\n×5"
    drawn = rows[1, 0].images[0].get_array()
    assert float(drawn[0, 0]) == 1.0  # 0.1 enlarged five times, around grey
    assert rows[2, 0].get_xlabel() == "b 60%"
    assert rows[2, 0].xaxis.label.get_color() != rows[2, 1].xaxis.label.get_color()


def test_curves_begin_without_an_attack() -> None:
    figure = plots.robustness_curves([0.1, 0.2], 0.9, {"PGD": [0.5, 0.1]}, "title", chance=0.1)
    (line, chance) = figure.axes[0].lines
    assert list(line.get_xdata()) == [0.0, 0.1, 0.2]
    assert list(line.get_ydata()) == [0.9, 0.5, 0.1]
    assert chance.get_label() == "chance"


def test_training_has_two_curves_and_its_budget() -> None:
    curves = {"plain": ([0.8, 0.9], [0.1, 0.0])}
    figure = plots.robust_training(curves, [0.0, 0.1], {"plain": [0.9, 0.1]}, 0.15, "title")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["plain, clean", "plain, attacked"]
    assert list(left.lines[1].get_ydata()) == [0.1, 0.0]
    assert right.lines[1].get_xdata()[0] == 0.15


def test_the_matrix_reads_from_made_for_to_attacked() -> None:
    shares = torch.tensor([[0.0, 0.9], [0.8, 0.1]])
    figure = plots.transfer_matrix(shares, ["one", "two"], "title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0.0%", "90.0%", "80.0%", "10.0%"]


def test_moved_shapes_share_one_scale_of_ways() -> None:
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    moved = square.clone()
    moved[2] += torch.tensor([0.0, 0.0, 0.4])
    said = ["cat 90%", "dog 80%"]
    figure = plots.displaced_meshes(
        [square, square], [moved, square], [faces, faces], said, ["dog 60%", "dog 70%"],
        [True, False], "title",
    )  # fmt: skip
    titles = {axes.get_title(): axes.title.get_color() for axes in figure.axes if axes.get_title()}
    assert titles["dog 60%"] == RED
    assert titles["dog 70%"] != RED
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "way")
    np.testing.assert_allclose(bar.get_ylim(), (0, 0.4), atol=1e-6)
    clouds = torch.stack([square, square]), torch.stack([moved, square])
    figure = plots.displaced_clouds(*clouds, said, ["dog 60%", "dog 70%"], [True, False], "title")
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "way")
    np.testing.assert_allclose(bar.get_ylim(), (0, 0.4), atol=1e-6)


def test_flips_are_told_apart() -> None:
    places = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    pairs = torch.tensor([[0, 1, 2], [1, 2, 3]])
    flips = torch.tensor([[0, 0], [1, 2]])  # one edge goes, one comes
    lost = torch.tensor([False, False, True, False])
    figure = plots.flipped_edges(
        places, pairs, flips, torch.tensor([0, 0, 1, 1]), lost, ["a", "b"], "title"
    )
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["taken away: 1", "added: 1", "a", "b", "lost: 1"]
    gone, added = figure.axes[0].collections[1:3]
    np.testing.assert_array_equal(gone.get_segments()[0], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(added.get_segments()[0], [[0, 0], [1, 1]])
