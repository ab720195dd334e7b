"""A stack of any layer: causality, padding, states, equal weights; float64 where numeric."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.networks.position_encoding import POSITIONS
from zoo.networks.sequence_network import LAYER_TYPES, SequenceConfig, SequenceNetwork

B, T, DIM = 3, 12, 16
KINDS = [("transformer", name) for name in POSITIONS] + [(name, "none") for name in LAYER_TYPES[1:]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(layer: str, position: str, causal: bool, **options: Any) -> SequenceNetwork:
    of_network = {k: options.pop(k) for k in ("window", "cross") if k in options}
    length = options.pop("length", 64)
    settings: dict[str, Any] = {"layers": 2, "heads": 4, "init_std": 0.2, **options}
    config = SequenceConfig(layer_type=layer, dim=DIM, position=position, **settings)
    network = SequenceNetwork(config, length, causal, **of_network)
    if position == "sinusoidal":  # as large as these tokens
        network.position.scale.data.fill_(1.0)
    return network.double().eval()


def tokens(*shape: int) -> Tensor:
    return torch.randn(*(shape or (B, T)), DIM, dtype=torch.float64)


@pytest.mark.parametrize(("layer", "position"), KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_later_token_changes_nothing_before_it(
    layer: str, position: str, dtype: torch.dtype
) -> None:
    network = make(layer, position, causal=True).to(dtype)
    x = tokens().to(dtype)
    before = network(x)
    for t in (0, 5, T - 1):
        changed = x.clone()
        changed[:, t:] = 100 * torch.randn_like(changed[:, t:])
        after = network(changed)
        assert torch.equal(after[:, :t], before[:, :t])  # bit for bit
        assert not torch.equal(after[:, t], before[:, t])


@pytest.mark.parametrize(("layer", "position"), KINDS)
def test_looking_ahead(layer: str, position: str) -> None:
    """Without causality a later token matters, except to a layer that mixes none."""
    network = make(layer, position, causal=False)
    x = tokens()
    changed = x.clone()
    changed[:, 1] = torch.randn_like(changed[:, 1])
    same = torch.equal(network(changed)[:, 0], network(x)[:, 0])
    assert same == (layer == "mlp")


@pytest.mark.parametrize("position", POSITIONS)
def test_without_positions_an_encoder_is_permutation_equivariant(position: str) -> None:
    network = make("transformer", position, causal=False)
    x, order = tokens(), torch.randperm(T)
    permuted, expected = network(x[:, order]), network(x)[:, order]
    if position == "none":
        torch.testing.assert_close(permuted, expected)
    else:
        assert (permuted - expected).abs().max() > 1e-3


@pytest.mark.parametrize(("layer", "position"), KINDS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("garbage", [0.0, 1e6, float("inf"), float("nan")])
def test_padding_changes_nothing(layer: str, position: str, causal: bool, garbage: float) -> None:
    network = make(layer, position, causal)
    x = tokens(1, 5)
    alone = network(x)[0]
    for places in (range(5), range(4, 9), (0, 2, 3, 7, 8)):  # at the right, at the left, between
        row = torch.full((1, 9, DIM), garbage, dtype=torch.float64)
        valid = torch.zeros(1, 9, dtype=torch.bool)
        row[0, list(places)], valid[0, list(places)] = x[0], True
        batch = torch.cat([row, tokens(1, 9)]), torch.cat([valid, torch.ones_like(valid)])
        out = network(*batch)
        torch.testing.assert_close(out[0, list(places)], alone, rtol=1e-10, atol=1e-10)
        assert bool((out[0][~valid[0]] == 0).all())
        torch.testing.assert_close(out[1:], network(batch[0][1:]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("layer", "position"), KINDS)
@pytest.mark.parametrize("causal", [True, False])
def test_a_row_of_padding_alone_is_zero(layer: str, position: str, causal: bool) -> None:
    network = make(layer, position, causal)
    x = tokens().requires_grad_()
    valid = torch.ones(B, T, dtype=torch.bool)
    valid[1] = False
    out = network(x, valid)
    assert bool((out[1] == 0).all())
    (slope,) = torch.autograd.grad(out.square().sum(), x)
    assert slope.isfinite().all()
    assert all(p.isfinite().all() for p in network.parameters())


def in_chunks(network: SequenceNetwork, x: Tensor, size: int) -> Tensor:
    state = network.new_state()
    return torch.cat([network(chunk, state=state) for chunk in x.split(size, dim=1)], 1)


@pytest.mark.parametrize(("layer", "position"), KINDS)
@pytest.mark.parametrize("window", [None, 4, 1])
@pytest.mark.parametrize("size", [1, 3, T])
def test_a_state_gives_what_the_whole_pass_gives(
    layer: str, position: str, window: int | None, size: int
) -> None:
    network = make(layer, position, causal=True, window=window, kv_heads=2, qk_norm=True)
    x = tokens()
    torch.testing.assert_close(in_chunks(network, x, size), network(x), rtol=1e-9, atol=1e-10)


def test_a_window_is_as_wide_as_it_says() -> None:
    """One layer that sees 4 tokens: the fifth before makes no difference, the fourth does."""
    network = make("transformer", "rotary", causal=True, layers=1, window=4)
    x = tokens()
    for back, matters in ((3, True), (4, False)):
        changed = x.clone()
        changed[:, T - 1 - back] = torch.randn(DIM, dtype=torch.float64)
        assert torch.equal(network(changed)[:, -1], network(x)[:, -1]) != matters


def test_a_state_keeps_no_more_than_its_window() -> None:
    network = make("transformer", "rotary", causal=True, window=4)
    state = network.new_state()
    network(tokens(), state=state)
    assert state.length == T
    assert len(state.layers[0].own) == 3  # the next token sees itself and three before it


@pytest.mark.parametrize("layer", LAYER_TYPES)
def test_rows_of_a_state_can_be_chosen(layer: str) -> None:
    network = make(layer, "rotary", causal=True)
    x, rows = tokens(), torch.tensor([2, 0, 0])
    state = network.new_state()
    network(x[:, :7], state=state)
    state.select(rows)
    torch.testing.assert_close(network(x[rows, 7:], state=state), network(x[rows])[:, 7:])


@pytest.mark.parametrize("causal", [True, False])
def test_a_prior_says_who_may_attend_to_whom(causal: bool) -> None:
    network = make("transformer", "rotary", causal, window=None)
    x = tokens()
    prior = torch.eye(T, dtype=torch.bool)
    prior[6, 3] = True
    y = network(x, prior=prior)
    changed = x.clone()
    changed[:, 3] = torch.randn_like(changed[:, 3])
    moved = (network(changed, prior=prior) - y).abs().amax((0, 2)) > 1e-9
    assert moved.nonzero()[:, 0].tolist() == [3, 6]
    # with padding in front the structure moves along with the tokens
    padded = torch.cat([torch.full((B, 2, DIM), 9.0).double(), x], 1)
    valid = torch.cat([torch.zeros(B, 2).bool(), torch.ones(B, T).bool()], 1)
    wide = torch.zeros(T + 2, T + 2, dtype=torch.bool)
    wide[2:, 2:] = prior
    torch.testing.assert_close(network(padded, valid, wide)[:, 2:], y)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("layer", LAYER_TYPES[1:])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_layers_have_equally_many_weights(layer: str, causal: bool, activation: str) -> None:
    def weights(name: str) -> int:
        config = SequenceConfig(
            layer_type=name, dim=64, layers=3, heads=4, activation=activation, position="rotary"
        )
        network = SequenceNetwork(config, 32, causal)
        return sum(p.numel() for p in network.parameters())

    assert weights(layer) == pytest.approx(weights("transformer"), rel=0.01)


def test_zero_init_makes_every_layer_the_identity() -> None:
    network = make("transformer", "rotary", causal=True, zero_init=True)
    x = tokens()
    torch.testing.assert_close(network(x), network.norm(x))


@pytest.mark.parametrize("layer", LAYER_TYPES)
def test_dropout_is_for_training_alone(layer: str) -> None:
    network, plain = (make(layer, "rotary", causal=True, dropout=rate) for rate in (0.5, 0.0))
    plain.load_state_dict(network.state_dict())
    x = tokens()
    assert torch.equal(network(x), plain(x))
    network.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_type": "convolution"}, "unknown layer_type 'convolution'; .*transformer, mlp"),
        ({"layer_type": "gru", "cross": True}, "layer_type='gru' has no cross-attention"),
        ({"position": "rope"}, "unknown position 'rope'; .*none, learned"),
        ({"normalization": "group"}, "unknown normalization 'group'; choose from layer, rms, b"),
        ({"normalization": "batch"}, "lets a token see later ones"),
        ({"activation": "tanh"}, "unknown activation 'tanh'; choose from relu, gelu"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    cross = options.pop("cross", False)
    with pytest.raises(InputError, match=message):
        SequenceNetwork(SequenceConfig(dim=16, layers=1, heads=4, **options), 8, True, cross=cross)


def test_batch_norm_of_tokens() -> None:
    """Features have mean 0 and variance 1 over all tokens; what is kept serves alone later."""
    network = make("transformer", "none", causal=False, norm="batch").train()
    x = 3 + 2 * tokens(64, T)
    out = network(x)
    assert out.mean((0, 1)).abs().max() < 1e-12
    assert (out.var((0, 1), correction=0) - 1).abs().max() < 1e-3
    network.eval()
    torch.testing.assert_close(network(x)[:1], network(x[:1]))
    padded = torch.ones(3, T).bool()
    padded[0, -2:] = False
    network(x[:3], padded)  # in evaluation no statistics are taken
    with pytest.raises(ValueError, match="would count padding as tokens"):
        network.train()(x[:3], padded)


def test_bad_passes() -> None:
    network = make("transformer", "learned", causal=True, length=8)
    with pytest.raises(ValueError, match="12 tokens, but positions are learned for 8"):
        network(tokens())
    with pytest.raises(ValueError, match="no padding, no prior"):
        network(tokens(1, 3), torch.ones(1, 3).bool(), state=network.new_state())
    with pytest.raises(ValueError, match="cannot go token by token"):
        make("transformer", "rotary", causal=False).new_state()
