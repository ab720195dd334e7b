"""Multi-layer perceptrons and activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.errors import InputError
from zoo.networks import MLP, make_activation


def test_outputs_equal_the_formula() -> None:
    network = MLP([6, 4, 3], "tanh").double()
    first, last = [layer for layer in network if isinstance(layer, nn.Linear)]
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = (x.reshape(5, 6) @ first.weight.T + first.bias).tanh() @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)


def test_dropout_acts_on_input_and_hidden_layers_in_training_only() -> None:
    network = MLP([100, 50, 50, 10], dropout=0.5, input_dropout=0.2)
    rates = [layer.p for layer in network if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, 0.5, 0.5]
    x = torch.randn(3, 100)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_the_last_layer_is_linear() -> None:
    assert isinstance(MLP([4, 3, 2])[-1], nn.Linear)


def test_an_unknown_activation_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="unknown activation 'rleu'; did you mean 'relu'"):
        make_activation("rleu")


def test_the_slope_of_a_scaled_sigmoid_is_learned() -> None:
    layer = make_activation("scaled_sigmoid").double()
    x = torch.randn(9, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.sigmoid(x))
    with torch.no_grad():
        layer.log_slope.fill_(torch.tensor(3.0).log())
    torch.testing.assert_close(layer(x), torch.sigmoid(3 * x))
    layer(x).sum().backward()
    assert layer.log_slope.grad is not None
    assert layer.log_slope.grad.abs() > 0


def test_an_mlp_needs_two_widths() -> None:
    with pytest.raises(InputError, match=r"needs an input and an output width, got sizes=\(4,\)"):
        MLP([4])


def test_each_hidden_layer_can_have_its_own_dropout() -> None:
    network = MLP([10, 8, 6, 4, 2], dropout=(0.1, 0.0, 0.5))
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.1, 0.5]
    with pytest.raises(InputError, match="dropout has 2 values for 3 hidden layers"):
        MLP([10, 8, 6, 4, 2], dropout=(0.1, 0.5))
