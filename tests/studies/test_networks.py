"""The claims of universality, convolution, early-stopping, double-descent, normalization and
dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules import Digits
from zoo.networks.normalization import image_norm
from zoo.studies import (
    convolution,
    double_descent,
    dropout,
    early_stopping,
    normalization,
    universality,
)
from zoo.studies.masks import all_masks
from zoo.studies.surfaces import descend
from zoo.studies.widths import Widths

# -- universality ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 16, 128])
def test_built_networks_keep_within_the_bound(width: int) -> None:
    network = universality.interpolant(width)
    knots = torch.linspace(-1, 1, width + 1, dtype=torch.float64)[:, None]
    with torch.no_grad():
        torch.testing.assert_close(network(knots), universality.target(knots), atol=1e-12, rtol=0)
        x = torch.linspace(-1, 1, 5001, dtype=torch.float64)[:, None]
        error = float((network(x) - universality.target(x)).abs().max())
    bound = universality.CURVATURE * (2 / width) ** 2 / 8
    assert 0.6 * bound < error <= bound


def test_lines_cut_the_plane_into_as_many_regions_as_theory_says() -> None:
    result = universality.run(widths=(8,), steps=1500, units=(2, 3, 5, 9))
    for n, count in result.counts.items():
        assert count == 1 + n + n * (n - 1) // 2
    assert int(result.shallow.max()) + 1 <= result.counts[9]
    assert int(result.deep.max()) > int(result.shallow.max())
    assert float(result.trained[0]) < 0.15
    assert result.pieces[0] <= 9


def test_a_network_is_linear_between_kinks() -> None:
    network = universality.train(6, 200, seed=0)
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        bent = network(x)[:, 0].diff().diff().abs() > 1e-9
    layer: Any = network[1]
    kinks = (-layer.bias / layer.weight[:, 0]).detach()
    places = x[1:-1, 0][bent]
    assert 0 < len(places) <= 2 * 6  # a kink shows in the differences on both sides of it
    assert float((places[:, None] - kinks).abs().min(1).values.max()) <= 1e-3
    assert universality.linear_pieces(network) == 1 + int((kinks.abs() < 1).sum())


# -- convolution -----------------------------------------------------------------------------------


def test_laws_of_convolution_hold_where_they_should() -> None:
    gaps = convolution.laws(torch.Generator().manual_seed(1))
    broken = {name for name, gap in gaps.items() if gap > 1e-10}
    assert broken == {
        "shift before and after, zeros, at the border", "stride 2, shift by 1 and none after",
    }  # fmt: skip


def test_full_convolution_is_that_of_numpy() -> None:
    import numpy as np

    f, g = torch.randn(7).double(), torch.randn(4).double()
    expected = torch.from_numpy(np.convolve(f.numpy(), g.numpy()))
    torch.testing.assert_close(convolution.full(f, g), expected)


def test_shuffling_pixels_is_only_another_order_of_weights_to_an_mlp() -> None:
    plain, shuffled = Digits(), convolution.ShuffledDigits()
    x, _ = plain.evaluation_samples("test")
    mixed, _ = shuffled.evaluation_samples("test")
    assert not torch.equal(x, mixed)
    torch.testing.assert_close(x.flatten(1).sort(1).values, mixed.flatten(1).sort(1).values)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 64)
    torch.testing.assert_close(x.flatten(1) @ weight.mT, mixed.flatten(1) @ weight[:, order].mT)


def test_shuffled_pixels_hurt_convolutions_alone() -> None:
    result = convolution.run(epochs=8, seeds=2)
    means = {
        model: {name: float(values.mean()) for name, values in by.items()}
        for model, by in result.accuracies.items()
    }
    assert means["CNN"]["as they are"] > means["CNN"]["shuffled"] + 0.01
    assert abs(means["MLP"]["as they are"] - means["MLP"]["shuffled"]) < 0.03
    assert means["CNN"]["as they are"] > means["MLP"]["as they are"]
    for counted, formula in result.parameters.values():
        assert counted == formula
    assert result.pooled[32] < 1e-12 < result.pooled[8] < result.pooled[1]


# -- early stopping --------------------------------------------------------------------------------


def test_descent_is_its_formula_and_near_to_ridge() -> None:
    result = early_stopping.run(hidden=(4,), epochs=2, rate=0.02)
    torch.testing.assert_close(result.descent, result.formula, atol=1e-10, rtol=0)
    measured, most = result.gap
    assert 0.19 < measured <= most
    assert early_stopping.largest_gap(1e-4) == pytest.approx(0.2036, abs=1e-4)
    small = result.steps[:, None] * result.descent[:1] < 0.05  # u ≪ 1: equal to first order
    off = (result.descent - result.ridge).abs()[small]
    assert float(off.max()) < 0.003


def test_large_networks_have_an_early_best_epoch() -> None:
    result = early_stopping.run(hidden=(8, 256), epochs=12)
    best = {hidden: val.index(min(val)) for hidden, (_, val) in result.curves.items()}
    assert best[256] < 8 < best[8]
    training, val = result.curves[256]
    assert training[-1] < training[best[256]]
    assert val[-1] > min(val)


def test_noise_is_where_it_is_said_to_be() -> None:
    noisy, clean = early_stopping.NoisyDigits(0.3), Digits()
    for split, share in (("train", 0.3), ("val", 0.3), ("test", 0.0)):
        wrong = noisy.evaluation_samples(split)[1] != clean.evaluation_samples(split)[1]
        assert float(wrong.double().mean()) == pytest.approx(share, abs=0.08)


# -- double descent --------------------------------------------------------------------------------


def test_random_features_peak_where_they_just_fit() -> None:
    random = torch.Generator().manual_seed(0)
    draws = [
        double_descent.random_features(double_descent.digits(200, 0.2, random), random)
        for _ in range(4)
    ]
    minimum_norm, ridge = torch.tensor(draws).permute(1, 2, 0)
    top, before, after = double_descent.peak(minimum_norm)
    assert double_descent.FEATURES[top] in (200, 230)
    assert before > 3
    assert after > 3
    smooth = ridge.mean(1)
    assert float(smooth[top]) < float(minimum_norm.mean(1)[top]) - 0.2
    assert float(smooth[-1]) <= float(smooth.min()) + 0.03  # no second valley to climb out of


def test_networks_of_all_widths_are_trained_as_if_alone() -> None:
    torch.manual_seed(0)
    together = Widths(5, 3, (2, 4), seeds=2)
    x = torch.randn(6, 5)
    scores = together(x)
    assert scores.shape == (2, 2, 6, 3)
    first = together.seeds * 2  # the networks of width 4 come after those of width 2
    rows = slice(first + 4, first + 8)  # the second of them
    hidden = torch.relu(x @ together.weight[rows].mT + together.bias[rows])
    alone = hidden @ together.outputs[1][1] + together.offsets[1, 1]
    torch.testing.assert_close(scores[1, 1], alone)
    scores[1, 1].square().sum().backward()
    touched = together.weight.grad.abs().sum(1).nonzero()[:, 0]  # type: ignore[union-attr]
    assert set(touched.tolist()) <= set(range(first + 4, first + 8))


def test_risk_by_time_is_that_of_theory() -> None:
    times, risk, error, theory = double_descent.over_time(torch.Generator().manual_seed(3))
    assert float(((risk - theory).abs() / error).max()) < 5
    valley, peak, end = double_descent.turning(theory)
    assert float(theory[peak]) > float(theory[valley]) + 0.5
    assert float(theory[peak]) > float(theory[end]) + 1
    assert times[valley] < times[peak] < times[end]


@pytest.mark.slow
def test_networks_peak_where_they_just_fit() -> None:
    """The defaults; about half a minute on two cores."""
    result = double_descent.run()
    top, before, after = double_descent.peak(result.test)
    assert before > 3
    assert after > 3
    assert 15 <= result.widths[top] <= 50
    assert float(result.stopped.mean(1)[top]) < float(result.test.mean(1)[top]) - 0.2


def test_a_peak_is_told_in_standard_errors() -> None:
    base = torch.tensor([[0.5], [0.2], [0.8], [0.3]]).expand(4, 2) + torch.tensor([[-0.01, 0.01]])
    top, before, after = double_descent.peak(base)
    assert top == 2
    assert before == pytest.approx(0.6 / (0.01 * 2**0.5), rel=1e-4)
    assert after == pytest.approx(0.5 / (0.01 * 2**0.5), rel=1e-4)


# -- normalisation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(normalization.OVER))
def test_layers_normalise_what_they_are_said_to(name: str) -> None:
    x = torch.randn(5, 8, 6, 6).double() * 3 + 1
    layer = image_norm(name, 8)[0].double()
    mean, variance = normalization.moments(layer(x), normalization.OVER[name])
    assert mean < 1e-12
    assert variance < 1e-4
    for other, over in normalization.OVER.items():
        if {name, other} == {"layer", "group"} or name == other:
            continue  # one may hold by chance of the axes
        if name == "instance":
            continue  # what has mean 0 in every part has it in the whole
        assert max(normalization.moments(layer(x), over)) > 1e-3
    change = normalization.influence(layer, x)
    assert change > 0.1 if name == "batch" else change < 1e-12


def test_parts_of_a_batch_change_batch_normalisation_alone() -> None:
    whole, parts = (normalization.train("group", 2, 4, part, 0, 1) for part in (64, 16))
    assert whole == parts
    runs = {}
    for part in (64, 4):
        curves = normalization.Curves()
        normalization.train("batch", 2, 4, part, 0, 1, [curves])
        runs[part] = curves.history[0][1]
    assert abs(runs[64] - runs[4]) > 1e-3


def test_gradients_vanish_without_normalisation() -> None:
    ratios = {}
    for name in ("none", "batch"):
        spy = normalization.Gradients()
        normalization.train(name, 8, 8, 64, 0, 1, [spy])
        ratios[name] = float(spy.means()[0] / spy.means()[-1])
    assert ratios["none"] < 0.01
    assert ratios["batch"] > 0.1


# -- dropout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_scaled_weights_are_the_mean_over_all_masks(keep: float) -> None:
    gaps, predictions = dropout.gaps(8, keep, seed=0)
    assert gaps["one layer: mean score and scaled network"] < 1e-12
    assert gaps["one layer: geometric mean of predictions and scaled network"] < 1e-12
    assert gaps["one layer: arithmetic mean of predictions and scaled network"] > 1e-3
    assert gaps["two layers: mean score and scaled network"] > 1e-3
    torch.testing.assert_close(*predictions["one layer"])
    masks, weight = all_masks(8, keep)
    assert masks.shape == (256, 8)
    assert float(weight.sum()) == pytest.approx(1)
    torch.testing.assert_close(weight @ masks, torch.full((8,), keep).double())


def test_sampled_masks_err_by_the_root_of_their_number() -> None:
    measured, expected = dropout.sampling(8, 0.5, seed=0)
    torch.testing.assert_close(measured, expected, rtol=0.15, atol=0)
    torch.testing.assert_close(expected[0] / expected[1], torch.tensor(2.0).double())


def test_dropout_makes_codes_sparser() -> None:
    plain, dropped = (dropout.code(rate, 25, seed=0) for rate in (0.0, 0.5))
    assert (dropped[0] > 0).double().mean() < (plain[0] > 0).double().mean() - 0.05
    assert min(plain[1], dropped[1]) > 0.85


def test_an_ensemble_is_unsure_where_it_has_seen_nothing() -> None:
    data = dropout.GapCurve("sine", num_samples=120, noise=0.1)
    data.setup()
    x, _ = data.split("train")
    assert not bool(((x > -0.1) & (x < 0.5)).any())
    grid = torch.linspace(-1.6, 1.6, 100)[:, None]
    _, deviation = dropout.band("deep ensemble", data, grid, 5, seed=0)
    outside, seen = grid[:, 0].abs() > 1.2, (grid[:, 0] > -0.9) & (grid[:, 0] < -0.2)
    assert float(deviation[outside].mean()) > 2 * float(deviation[seen].mean())


def test_descend_keeps_every_place() -> None:
    w = torch.tensor([1.0, 1.0], requires_grad=True)
    places = descend(w, torch.optim.SGD([w], lr=0.5), [lambda v: v.square().sum() / 2] * 3)
    assert places[:, 0].tolist() == [1.0, 0.5, 0.25, 0.125]
