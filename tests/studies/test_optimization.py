"""Claims of the studies descent, landscape and autodiff."""

from __future__ import annotations

import pytest
import torch

from zoo.studies import autodiff, descent, landscape
from zoo.studies.loss_surface import filter_normalized
from zoo.studies.objectives import line_search, rosenbrock

# -- descent ---------------------------------------------------------------------------------------


def test_rates_steps_and_level_sets_agree_with_theory() -> None:
    result = descent.run(kappa=15.0)
    for measured, theory in result.rates.values():
        assert measured == pytest.approx(theory, rel=6e-3)
    assert result.rates["gradient descent"][0] > result.rates["Nesterov"][0]
    assert result.rates["Nesterov"][0] > result.rates["momentum"][0]
    assert max(result.cosines.values()) < 1e-5
    assert result.terminal_step[0] == pytest.approx(result.terminal_step[1], rel=1e-9)
    assert result.plateau[0] == pytest.approx(result.plateau[1], rel=0.02)
    for name in ("linear", "inverse", "exponential"):
        assert float(result.noisy[name][-1]) < 0.2 * result.plateau[1]


def test_every_method_descends_on_every_problem() -> None:
    result = descent.run(trials=10)
    for by_method in result.losses.values():
        for losses in by_method.values():
            assert float(losses[-1]) < float(losses[0])
    ends = {name: path[-1] for name, path in result.paths["saddle"].items()}
    for end in ends.values():  # every method leaves the saddle, although gradients are tiny there
        assert abs(float(end[1])) > 0.5


def test_line_search_decreases_the_loss_in_every_step() -> None:
    path = line_search(rosenbrock, torch.tensor([-1.2, 1.0]).double(), 100)
    assert bool((rosenbrock(path).diff() < 0).all())


# -- landscape -------------------------------------------------------------------------------------


def test_filter_normalized_surfaces_are_invariant_to_scale() -> None:
    result = landscape.run(grid_size=7, epochs=3, hidden_dim=16, scale=10.0)
    assert result.output_difference < 1e-10
    assert result.surface_difference["filter-normalized"] < 1e-10
    assert result.surface_difference["random"] > 1
    for surface in result.surfaces.values():
        assert float(surface[3, 3]) == pytest.approx(result.loss, abs=1e-12)


def test_filters_of_a_normalized_direction_have_the_norms_of_the_weights() -> None:
    weights = {"w": torch.randn(4, 3).double(), "b": torch.randn(4).double()}
    direction = {name: torch.randn_like(w) for name, w in weights.items()}
    normalized = filter_normalized(direction, weights)
    torch.testing.assert_close(normalized["w"].norm(dim=1), weights["w"].norm(dim=1))
    assert not normalized["b"].any()


def test_training_path_ends_at_the_origin_of_its_plane() -> None:
    result = landscape.run(grid_size=5, epochs=2, hidden_dim=8)
    torch.testing.assert_close(result.path[-1], torch.zeros(2).double(), atol=1e-6, rtol=0)
    assert 0.5 < result.explained <= 1


# -- autodiff --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "at"),
    [
        ("x * y + sin(x) * exp(y / 2)", (2.0, 1.0)),
        ("x ** 3 - 2 / x", (1.5,)),
        ("log(x) * tanh(y) / sqrt(z)", (2.0, -1.0, 3.0)),
        ("-x ** y + cos(x * x)", (1.2, 2.5)),
        ("x * sin(2) + (0 - y) ** 3", (1.2, 2.5)),
        ("2", (1.0,)),
    ],
)
def test_all_methods_give_equal_derivatives(expression: str, at: tuple[float, ...]) -> None:
    result = autodiff.run(expression, at, sizes=(2,), repeats=1)
    exact = result.gradients["torch.func.jacrev"]
    for values in result.gradients.values():
        assert values == pytest.approx(exact, abs=1e-12)
    assert float(result.errors.min()) < 1e-6


def test_value_used_twice_accumulates_both_derivatives() -> None:
    result = autodiff.run("x * x", (3.0,), sizes=(1,), repeats=1)
    assert result.gradients["tape, reverse"] == [6.0]


@pytest.mark.parametrize(("n", "m"), [(5, 1), (1, 4), (3, 3)])
def test_forward_mode_takes_a_pass_per_input_and_reverse_mode_per_output(n: int, m: int) -> None:
    f, x = autodiff.random_function(n, m, seed=0)
    exact = torch.func.jacrev(f)(x)
    for method, passes in zip(autodiff.METHODS, (n, m, n + 1), strict=True):
        jacobian, count = autodiff.jacobian(f, x, m, method)
        assert count == passes
        torch.testing.assert_close(jacobian, exact, atol=1e-6, rtol=1e-6)
