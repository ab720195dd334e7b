"""Claims of the studies universality, convolution, early-stopping, double-descent, normalization
and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from datamodules import Digits
from zoo.networks.normalization import make_image_norm
from zoo.studies import (
    convolution,
    double_descent,
    dropout,
    early_stopping,
    normalization,
    universality,
)
from zoo.studies.dropout_masks import all_masks, sampling_errors, scaling_differences
from zoo.studies.objectives import descend
from zoo.studies.parallel_mlps import ParallelMLPs

# -- universality ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 16, 128])
def test_error_of_constructed_networks_is_within_the_bound(width: int) -> None:
    network = universality.construct(width)
    knots = torch.linspace(-1, 1, width + 1, dtype=torch.float64)[:, None]
    with torch.no_grad():
        torch.testing.assert_close(network(knots), universality.target(knots), atol=1e-12, rtol=0)
        x = torch.linspace(-1, 1, 5001, dtype=torch.float64)[:, None]
        error = float((network(x) - universality.target(x)).abs().max())
    bound = universality.MAX_CURVATURE * (2 / width) ** 2 / 8
    assert 0.6 * bound < error <= bound


def test_number_of_linear_regions_agrees_with_theory() -> None:
    result = universality.run(widths=(8,), steps=1500, units=(2, 3, 5, 9))
    for n, count in result.region_counts.items():
        assert count == 1 + n + n * (n - 1) // 2
    assert int(result.shallow.max()) + 1 <= result.region_counts[9]
    assert int(result.deep.max()) > int(result.shallow.max())
    assert float(result.trained[0]) < 0.15
    assert result.pieces[0] <= 9


def test_network_is_linear_between_kinks() -> None:
    network = universality.train(6, 200, seed=0)
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        is_bent = network(x)[:, 0].diff().diff().abs() > 1e-9
    layer: Any = network[1]
    kinks = (-layer.bias / layer.weight[:, 0]).detach()
    bends = x[1:-1, 0][is_bent]
    assert 0 < len(bends) <= 2 * 6  # each kink shows in the differences on both sides of it
    assert float((bends[:, None] - kinks).abs().min(1).values.max()) <= 1e-3
    assert universality.linear_pieces(network) == 1 + int((kinks.abs() < 1).sum())


# -- convolution -----------------------------------------------------------------------------------


def test_identities_of_convolution_hold_except_where_expected() -> None:
    errors = convolution.identity_errors(torch.Generator().manual_seed(1))
    violated = {name for name, error in errors.items() if error > 1e-10}
    assert violated == {
        "shift equivariance, zero padding, at the border", "stride 2, shift by 1 vs. none",
    }  # fmt: skip
    assert violated == set(convolution.VIOLATED)


def test_full_convolution_agrees_with_numpy() -> None:
    f, g = torch.randn(7).double(), torch.randn(4).double()
    expected = torch.from_numpy(np.convolve(f.numpy(), g.numpy()))
    torch.testing.assert_close(convolution.full_convolution(f, g), expected)


def test_shuffled_pixels_are_equivalent_to_shuffled_weights_of_an_mlp() -> None:
    x, _ = Digits().evaluation_samples("test")
    shuffled, _ = convolution.ShuffledDigits().evaluation_samples("test")
    assert not torch.equal(x, shuffled)
    torch.testing.assert_close(x.flatten(1).sort(1).values, shuffled.flatten(1).sort(1).values)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 64)
    torch.testing.assert_close(x.flatten(1) @ weight.mT, shuffled.flatten(1) @ weight[:, order].mT)


def test_shuffled_pixels_hurt_only_the_cnn() -> None:
    result = convolution.run(epochs=8, num_seeds=2)
    means = {
        model: {name: float(values.mean()) for name, values in by_data.items()}
        for model, by_data in result.accuracies.items()
    }
    assert means["CNN"]["original pixels"] > means["CNN"]["shuffled pixels"] + 0.01
    assert abs(means["MLP"]["original pixels"] - means["MLP"]["shuffled pixels"]) < 0.03
    assert means["CNN"]["original pixels"] > means["MLP"]["original pixels"]
    for counted, formula in result.parameters.values():
        assert counted == formula
    assert result.pooled[32] < 1e-12 < result.pooled[8] < result.pooled[1]


# -- early-stopping --------------------------------------------------------------------------------


def test_gradient_descent_agrees_with_its_formula_and_is_close_to_ridge() -> None:
    result = early_stopping.run(widths=(4,), epochs=2, lr=0.02)
    torch.testing.assert_close(result.descent, result.formula, atol=1e-10, rtol=0)
    measured, bound = result.gap
    assert 0.19 < measured <= bound
    assert early_stopping.largest_gap(1e-4) == pytest.approx(0.2036, abs=1e-4)
    is_small = result.steps[:, None] * result.descent[:1] < 0.05  # u ≪ 1: equal to first order
    difference = (result.descent - result.ridge).abs()[is_small]
    assert float(difference.max()) < 0.003


def test_large_networks_have_an_early_best_epoch() -> None:
    result = early_stopping.run(widths=(8, 256), epochs=12)
    best = {width: val.index(min(val)) for width, (_, val) in result.curves.items()}
    assert best[256] < 8 < best[8]
    training, val = result.curves[256]
    assert training[-1] < training[best[256]]
    assert val[-1] > min(val)


def test_labels_are_noisy_in_training_and_validation_only() -> None:
    noisy, clean = early_stopping.NoisyDigits(0.3), Digits()
    for split, fraction in (("train", 0.3), ("val", 0.3), ("test", 0.0)):
        wrong = noisy.evaluation_samples(split)[1] != clean.evaluation_samples(split)[1]
        assert float(wrong.double().mean()) == pytest.approx(fraction, abs=0.08)


# -- double-descent --------------------------------------------------------------------------------


def test_random_features_peak_where_they_can_just_fit() -> None:
    rng = torch.Generator().manual_seed(0)
    errors = [
        double_descent.fit_random_features(double_descent.load_digits(200, 0.2, rng), rng)
        for _ in range(4)
    ]
    minimum_norm, ridge = torch.tensor(errors).permute(1, 2, 0)
    top, before, after = double_descent.find_peak(minimum_norm)
    assert double_descent.FEATURES[top] in (200, 230)
    assert before > 3
    assert after > 3
    smooth = ridge.mean(1)
    assert float(smooth[top]) < float(minimum_norm.mean(1)[top]) - 0.2
    assert float(smooth[-1]) <= float(smooth.min()) + 0.03  # ridge has no second descent


def test_parallel_networks_are_independent() -> None:
    torch.manual_seed(0)
    networks = ParallelMLPs(5, 3, (2, 4), num_seeds=2)
    x = torch.randn(6, 5)
    outputs = networks(x)
    assert outputs.shape == (2, 2, 6, 3)
    start = networks.num_seeds * 2  # the networks of width 4 come after those of width 2
    rows = slice(start + 4, start + 8)  # hidden units of the second network of width 4
    hidden = torch.relu(x @ networks.hidden_weight[rows].mT + networks.hidden_bias[rows])
    alone = hidden @ networks.output_weights[1][1] + networks.output_bias[1, 1]
    torch.testing.assert_close(outputs[1, 1], alone)
    outputs[1, 1].square().sum().backward()
    touched = networks.hidden_weight.grad.abs().sum(1).nonzero()[:, 0]  # type: ignore[union-attr]
    assert set(touched.tolist()) <= set(range(start + 4, start + 8))


def test_risk_over_time_agrees_with_theory() -> None:
    rng = torch.Generator().manual_seed(3)
    times, risk, risk_error, theory = double_descent.risk_over_time(rng)
    assert float(((risk - theory).abs() / risk_error).max()) < 5
    minimum, peak, end = double_descent.turning_points(theory)
    assert float(theory[peak]) > float(theory[minimum]) + 0.5
    assert float(theory[peak]) > float(theory[end]) + 1
    assert times[minimum] < times[peak] < times[end]


@pytest.mark.slow
def test_networks_peak_where_they_can_just_fit() -> None:
    """Runs at the default settings: about half a minute on two cores."""
    result = double_descent.run()
    top, before, after = double_descent.find_peak(result.test)
    assert before > 3
    assert after > 3
    assert 15 <= result.widths[top] <= 50
    assert float(result.stopped.mean(1)[top]) < float(result.test.mean(1)[top]) - 0.2


def test_height_of_a_peak_is_in_standard_errors() -> None:
    errors = torch.tensor([[0.5], [0.2], [0.8], [0.3]]).expand(4, 2) + torch.tensor([[-0.01, 0.01]])
    top, before, after = double_descent.find_peak(errors)
    assert top == 2
    assert before == pytest.approx(0.6 / (0.01 * 2**0.5), rel=1e-4)
    assert after == pytest.approx(0.5 / (0.01 * 2**0.5), rel=1e-4)


# -- normalization ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(normalization.AXES))
def test_layers_normalize_over_their_axes_only(name: str) -> None:
    x = torch.randn(5, 8, 6, 6).double() * 3 + 1
    layer = make_image_norm(name, 8)[0].double()
    mean, variance = normalization.largest_moments(layer(x), normalization.AXES[name])
    assert mean < 1e-12
    assert variance < 1e-4
    for other, axes in normalization.AXES.items():
        if {name, other} == {"layer", "group"} or name == other:
            continue  # one can hold by chance where the other does
        if name == "instance":
            continue  # zero mean in every part implies zero mean in the whole
        assert max(normalization.largest_moments(layer(x), axes)) > 1e-3
    change = normalization.batch_influence(layer, x)
    assert change > 0.1 if name == "batch" else change < 1e-12


def test_micro_batch_size_affects_only_batch_normalization() -> None:
    whole, split = (normalization.train("group", 2, 4, size, 0, 1) for size in (64, 16))
    assert whole == split
    losses = {}
    for size in (64, 4):
        curves = normalization.Losses()
        normalization.train("batch", 2, 4, size, 0, 1, [curves])
        losses[size] = curves.history[0][1]
    assert abs(losses[64] - losses[4]) > 1e-3


def test_gradients_vanish_without_normalization() -> None:
    ratios = {}
    for name in ("none", "batch"):
        norms = normalization.GradientNorms()
        normalization.train(name, 8, 8, 64, 0, 1, [norms])
        ratios[name] = float(norms.means()[0] / norms.means()[-1])
    assert ratios["none"] < 0.01
    assert ratios["batch"] > 0.1


# -- dropout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_probability", [0.5, 0.8])
def test_scaled_network_equals_the_mean_over_all_masks(keep_probability: float) -> None:
    differences, predictions = scaling_differences(8, keep_probability, seed=0)
    assert differences["one layer: mean logits vs. scaled network"] < 1e-12
    assert differences["one layer: geometric mean of predictions vs. scaled network"] < 1e-12
    assert differences["one layer: arithmetic mean of predictions vs. scaled network"] > 1e-3
    assert differences["two layers: mean logits vs. scaled network"] > 1e-3
    torch.testing.assert_close(*predictions["one layer"])
    masks, weights = all_masks(8, keep_probability)
    assert masks.shape == (256, 8)
    assert float(weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(weights @ masks, torch.full((8,), keep_probability).double())


def test_error_of_sampled_masks_falls_with_the_root_of_their_number() -> None:
    measured, expected = sampling_errors(8, 0.5, seed=0)
    torch.testing.assert_close(measured, expected, rtol=0.15, atol=0)
    torch.testing.assert_close(expected[0] / expected[1], torch.tensor(2.0).double())


def test_dropout_makes_activations_sparser() -> None:
    without, with_dropout = (dropout.train_classifier(rate, 25, seed=0) for rate in (0.0, 0.5))
    assert (with_dropout[0] > 0).double().mean() < (without[0] > 0).double().mean() - 0.05
    assert min(without[1], with_dropout[1]) > 0.85


def test_ensemble_is_uncertain_outside_the_data() -> None:
    data = dropout.GapCurve("sine", num_samples=120, noise=0.1)
    data.setup()
    x, _ = data.split("train")
    assert not bool(((x > -0.1) & (x < 0.5)).any())
    grid = torch.linspace(-1.6, 1.6, 100)[:, None]
    _, sd = dropout.prediction_band("deep ensemble", data, grid, 5, seed=0)
    outside, near_data = grid[:, 0].abs() > 1.2, (grid[:, 0] > -0.9) & (grid[:, 0] < -0.2)
    assert float(sd[outside].mean()) > 2 * float(sd[near_data].mean())


# -- objectives ------------------------------------------------------------------------------------


def test_descend_returns_the_whole_path() -> None:
    w = torch.tensor([1.0, 1.0], requires_grad=True)
    path = descend(w, torch.optim.SGD([w], lr=0.5), [lambda v: v.square().sum() / 2] * 3)
    assert path[:, 0].tolist() == [1.0, 0.5, 0.25, 0.125]
