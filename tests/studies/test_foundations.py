"""Claims of the studies look-at-the-data, dimensionality, polynomial-fit and penalties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zoo.studies import dimensionality, look_at_the_data, penalties, polynomial_fit


def test_anscombes_statistics_agree_with_his_paper() -> None:
    result = look_at_the_data.run()
    for values in result.statistics["Anscombe"].values():
        mean_x, mean_y, sd_x, sd_y, correlation, slope, intercept = values
        assert mean_x == 9
        assert sd_x**2 == pytest.approx(11)
        np.testing.assert_allclose(
            [mean_y, sd_y**2, correlation, slope, intercept], [7.5, 4.125, 0.816, 0.5, 3.0],
            atol=4e-3,
        )  # fmt: skip
    data_sets = [p.round(2).tolist() for p in result.points["Datasaurus"].values()]
    assert all(a != b for a, b in zip(data_sets, data_sets[1:], strict=False))
    assert max(result.ranges("Datasaurus")[:6]) < 0.015


def test_cosines_and_distances_agree_with_theory() -> None:
    result = dimensionality.run(dims=(2, 10, 400), points=4000)
    for d, cosines, distances in zip(result.dims, result.cosines, result.distances, strict=True):
        assert float(cosines.std()) == pytest.approx(d**-0.5, rel=0.05)
        standard_error = math.sqrt(7 * d / 180 / 4000)
        assert abs(float(distances.square().mean()) - d / 6) < 4 * standard_error
    assert float(result.ratios[0]) < 0.05
    assert float(result.ratios[2]) > 0.75


def test_volumes_of_balls_and_numbers_that_cover_the_torus() -> None:
    assert dimensionality.ball_volume(1, 0.3) == pytest.approx(0.6)
    assert dimensionality.ball_volume(2, 0.3) == pytest.approx(math.pi * 0.09)
    assert dimensionality.ball_volume(3, 0.3) == pytest.approx(4 / 3 * math.pi * 0.027)
    counts = [
        dimensionality.measured_cover(3, 0.3, torch.Generator().manual_seed(s)) for s in range(20)
    ]
    assert np.mean(counts) == pytest.approx(dimensionality.expected_cover(3, 0.3), rel=0.12)


def test_errors_of_fits_agree_with_theory() -> None:
    result = polynomial_fit.run(trials=400)
    assert len(result.by_degree_with_ridge) == 3
    for errors in (result.by_degree, result.by_lambda, *result.by_degree_with_ridge.values()):
        deviation = (errors.measured - errors.theory).abs() / errors.standard_error
        assert float(deviation.max()) < 5
        assert float(deviation.mean()) < 2
    training, validation = result.by_degree.theory.T
    assert bool((training.diff() <= 1e-9).all())  # a higher degree never fits worse
    assert 3 <= int(validation.argmin()) <= 8
    assert float(result.by_lambda.theory[:, 1].min()) < float(validation[15]) / 3


def test_largest_error_of_bernsteins_polynomials_is_exact() -> None:
    for n in (2, 8, 32):
        error = polynomial_fit.largest_error(polynomial_fit.bernstein, n)
        assert error == pytest.approx(math.comb(n, n // 2) / 2**n, abs=1e-12)
        assert polynomial_fit.largest_error(polynomial_fit.least_squares, n) < error


def test_ridge_and_lasso_agree_with_their_closed_forms() -> None:
    result = penalties.run(num_lambdas=40, epochs=1, hidden_dim=8)
    for solution, closed_form in (result.orthonormal_ridge, result.orthonormal_lasso):
        torch.testing.assert_close(solution, closed_form, atol=1e-10, rtol=0)
    assert penalties.count_zeros(result.orthonormal_lasso[0]) > 0
    assert result.lambda_max[0] == pytest.approx(result.lambda_max[1], rel=1e-6)
    beyond = result.lambdas > result.lambda_max[1] * (1 + 1e-9)
    assert bool((result.lasso[beyond] == 0).all())
    assert bool((result.lasso[~beyond] != 0).any(1).all())
    assert penalties.count_zeros(result.ridge) == 0


def test_l1_gives_the_most_weights_near_zero() -> None:
    result = penalties.run(num_lambdas=2, epochs=15, hidden_dim=64)
    near = {name: float((w.abs() < 1e-3).double().mean()) for name, w in result.weights.items()}
    assert near["L1"] > near["L2"] > near["no penalty"]
    assert min(result.accuracies.values()) > 0.85
