"""Normalisation by name: what each makes of its input, and where a bias would be lost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.networks import MLP
from zoo.networks.normalization import (
    BatchNorm1d,
    BatchOfOneError,
    groups_for,
    image_norm,
    removes_bias,
    vector_norm,
)

NAMES = ("batch", "layer", "instance", "group")


@pytest.mark.parametrize("name", NAMES)
def test_vectors_get_mean_zero_and_variance_one(name: str) -> None:
    (layer,) = vector_norm(name, 12)
    x = (torch.randn(50, 12) * 3 + 5).double()
    y = layer.double()(x).detach()
    if name == "batch":
        groups = y.T
    elif name == "group":
        groups = y.view(50 * groups_for(12), -1)
    else:
        groups = y
    torch.testing.assert_close(groups.mean(1), torch.zeros(len(groups)).double(), atol=1e-6, rtol=0)
    ones = torch.ones(len(groups)).double()
    # group normalisation of two units: their variance may be as small as the eps
    tolerance = 1e-3 if name != "group" else 1.0
    torch.testing.assert_close(groups.var(1, correction=0), ones, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image", [False, True])
def test_a_bias_is_dropped_exactly_where_it_makes_no_difference(name: str, image: bool) -> None:
    (layer,) = (image_norm if image else vector_norm)(name, 12)
    x = torch.randn(20, 12, *([4, 4] if image else [])).double()
    bias = torch.randn(12, *([1, 1] if image else [])).double()
    layer = layer.double()
    same = torch.allclose(layer(x + bias), layer(x), atol=1e-9)
    assert same == removes_bias(name, image)


def test_networks_leave_that_bias_out() -> None:
    for name, kept in (("none", True), ("batch", False), ("layer", True), ("instance", True)):
        first = next(m for m in MLP([4, 6, 2], normalization=name) if isinstance(m, nn.Linear))
        assert (first.bias is not None) is kept, name


def test_normalisation_comes_before_the_nonlinearity() -> None:
    kinds = [type(m).__name__ for m in MLP([4, 6, 2], normalization="layer", dropout=0.5)]
    assert kinds == ["Flatten", "Linear", "LayerNorm", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize(("width", "groups"), [(64, 32), (48, 24), (12, 6), (7, 1), (2, 1), (1, 1)])
def test_groups_hold_two_units_or_more(width: int, groups: int) -> None:
    assert groups_for(width) == groups


def test_a_batch_of_one_is_an_error_in_training_alone() -> None:
    layer = BatchNorm1d(3)
    with pytest.raises(BatchOfOneError, match=r"batch of one sample: choose a batch_size"):
        layer(torch.randn(1, 3))
    layer.eval()
    assert layer(torch.randn(1, 3)).isfinite().all()


def test_unknown_norms() -> None:
    with pytest.raises(ValueError, match="unknown normalization 'spectral'; choose from none"):
        vector_norm("spectral", 4)
