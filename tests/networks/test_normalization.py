"""Normalization layers by name: moments of their outputs, and biases that they cancel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.errors import InputError
from zoo.networks import MLP
from zoo.networks.normalization import (
    BatchOfOneError,
    VectorBatchNorm,
    cancels_bias,
    choose_num_groups,
    make_image_norm,
    make_vector_norm,
)

NAMES = ("batch", "layer", "instance", "group")


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_mean_zero_and_variance_one(name: str) -> None:
    (layer,) = make_vector_norm(name, 12)
    x = (torch.randn(50, 12) * 3 + 5).double()
    y = layer.double()(x).detach()
    if name == "batch":
        groups = y.T
    elif name == "group":
        groups = y.view(50 * choose_num_groups(12), -1)
    else:
        groups = y
    torch.testing.assert_close(groups.mean(1), torch.zeros(len(groups)).double(), atol=1e-6, rtol=0)
    ones = torch.ones(len(groups)).double()
    # groups of two features may have a variance as small as eps
    tolerance = 1e-3 if name != "group" else 1.0
    torch.testing.assert_close(groups.var(1, correction=0), ones, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image", [False, True])
def test_cancels_bias_exactly_if_a_bias_makes_no_difference(name: str, image: bool) -> None:
    (layer,) = (make_image_norm if image else make_vector_norm)(name, 12)
    x = torch.randn(20, 12, *([4, 4] if image else [])).double()
    bias = torch.randn(12, *([1, 1] if image else [])).double()
    layer = layer.double()
    same = torch.allclose(layer(x + bias), layer(x), atol=1e-9)
    assert same == cancels_bias(name, image)


def test_an_mlp_omits_biases_that_are_canceled() -> None:
    for name, has_bias in (("none", True), ("batch", False), ("layer", True), ("instance", True)):
        first = next(m for m in MLP([4, 6, 2], normalization=name) if isinstance(m, nn.Linear))
        assert (first.bias is not None) is has_bias, name


def test_normalization_comes_before_the_nonlinearity() -> None:
    types = [type(m).__name__ for m in MLP([4, 6, 2], normalization="layer", dropout=0.5)]
    assert types == ["Flatten", "Linear", "LayerNorm", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize(("width", "groups"), [(64, 32), (48, 24), (12, 6), (7, 1), (2, 1), (1, 1)])
def test_groups_have_two_features_or_more(width: int, groups: int) -> None:
    assert choose_num_groups(width) == groups


def test_a_batch_of_one_is_refused_only_in_training() -> None:
    layer = VectorBatchNorm(3)
    with pytest.raises(BatchOfOneError, match=r"batch of one sample: choose a batch_size"):
        layer(torch.randn(1, 3))
    layer.eval()
    assert layer(torch.randn(1, 3)).isfinite().all()


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(InputError, match="unknown normalization 'spectral'; choose from none"):
        make_vector_norm("spectral", 4)
