"""Stacks of sequence layers: causality, padding, states, numbers of parameters; mostly float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.networks.position_encoding import POSITION_ENCODINGS
from zoo.networks.sequence_network import LAYER_TYPES, SequenceConfig, SequenceNetwork

B, T, DIM = 3, 12, 16
NETWORKS = [("transformer", name) for name in POSITION_ENCODINGS] + [
    (name, "none") for name in LAYER_TYPES[1:]
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(
    layer_type: str,
    position: str,
    causal: bool,
    window: int | None = None,
    max_length: int = 64,
    **options: Any,
) -> SequenceNetwork:
    settings: dict[str, Any] = {"layers": 2, "heads": 4, "init_std": 0.2, **options}
    config = SequenceConfig(layer_type=layer_type, dim=DIM, position=position, **settings)
    network = SequenceNetwork(config, max_length, causal, window)
    if position == "sinusoidal":  # as large as the tokens in these tests
        network.position.scale.data.fill_(1.0)
    return network.double().eval()


def tokens(*shape: int) -> Tensor:
    return torch.randn(*(shape or (B, T)), DIM, dtype=torch.float64)


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_causal_network_does_not_see_later_tokens(
    layer_type: str, position: str, dtype: torch.dtype
) -> None:
    network = make(layer_type, position, causal=True).to(dtype)
    x = tokens().to(dtype)
    before = network(x)
    for t in (0, 5, T - 1):
        changed = x.clone()
        changed[:, t:] = 100 * torch.randn_like(changed[:, t:])
        after = network(changed)
        assert torch.equal(after[:, :t], before[:, :t])  # bit for bit
        assert not torch.equal(after[:, t], before[:, t])


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
def test_a_network_that_is_not_causal_sees_later_tokens(layer_type: str, position: str) -> None:
    """Except for the MLP, which does not mix tokens."""
    network = make(layer_type, position, causal=False)
    x = tokens()
    changed = x.clone()
    changed[:, 1] = torch.randn_like(changed[:, 1])
    same = torch.equal(network(changed)[:, 0], network(x)[:, 0])
    assert same == (layer_type == "mlp")


@pytest.mark.parametrize("position", POSITION_ENCODINGS)
def test_an_encoder_is_permutation_equivariant_only_without_positions(position: str) -> None:
    network = make("transformer", position, causal=False)
    x, order = tokens(), torch.randperm(T)
    permuted, expected = network(x[:, order]), network(x)[:, order]
    if position == "none":
        torch.testing.assert_close(permuted, expected)
    else:
        assert (permuted - expected).abs().max() > 1e-3


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("content", [0.0, 1e6, float("inf"), float("nan")])
def test_padding_changes_nothing(
    layer_type: str, position: str, causal: bool, content: float
) -> None:
    network = make(layer_type, position, causal)
    x = tokens(1, 5)
    alone = network(x)[0]
    for positions in (range(5), range(4, 9), (0, 2, 3, 7, 8)):  # padding right, left, between
        kept = list(positions)
        row = torch.full((1, 9, DIM), content, dtype=torch.float64)
        mask = torch.zeros(1, 9, dtype=torch.bool)
        row[0, kept], mask[0, kept] = x[0], True
        batch = torch.cat([row, tokens(1, 9)])
        out = network(batch, torch.cat([mask, torch.ones_like(mask)]))
        torch.testing.assert_close(out[0, kept], alone, rtol=1e-10, atol=1e-10)
        assert bool((out[0][~mask[0]] == 0).all())
        torch.testing.assert_close(out[1:], network(batch[1:]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
@pytest.mark.parametrize("causal", [True, False])
def test_a_row_of_only_padding_gives_zeros(layer_type: str, position: str, causal: bool) -> None:
    network = make(layer_type, position, causal)
    x = tokens().requires_grad_()
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[1] = False
    out = network(x, mask)
    assert bool((out[1] == 0).all())
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert gradient.isfinite().all()
    assert all(p.isfinite().all() for p in network.parameters())


def run_in_chunks(network: SequenceNetwork, x: Tensor, size: int) -> Tensor:
    state = network.new_state()
    return torch.cat([network(chunk, state=state) for chunk in x.split(size, dim=1)], 1)


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
@pytest.mark.parametrize("window", [None, 4, 1])
@pytest.mark.parametrize("size", [1, 3, T])
def test_passes_in_chunks_with_a_state_equal_one_pass(
    layer_type: str, position: str, window: int | None, size: int
) -> None:
    network = make(layer_type, position, causal=True, window=window, kv_heads=2, qk_norm=True)
    x = tokens()
    torch.testing.assert_close(run_in_chunks(network, x, size), network(x), rtol=1e-9, atol=1e-10)


def test_a_window_of_4_tokens_sees_the_token_and_3_before_it() -> None:
    network = make("transformer", "rotary", causal=True, layers=1, window=4)
    x = tokens()
    for distance, is_seen in ((3, True), (4, False)):
        changed = x.clone()
        changed[:, T - 1 - distance] = torch.randn(DIM, dtype=torch.float64)
        assert torch.equal(network(changed)[:, -1], network(x)[:, -1]) != is_seen


def test_a_state_keeps_only_the_tokens_in_its_window() -> None:
    network = make("transformer", "rotary", causal=True, window=4)
    state = network.new_state()
    network(tokens(), state=state)
    assert state.length == T
    assert len(state.layers[0].self_attention) == 3  # the next token sees itself and these


@pytest.mark.parametrize("layer_type", LAYER_TYPES)
def test_rows_of_a_state_can_be_selected(layer_type: str) -> None:
    network = make(layer_type, "rotary", causal=True)
    x, rows = tokens(), torch.tensor([2, 0, 0])
    state = network.new_state()
    network(x[:, :7], state=state)
    state.select(rows)
    torch.testing.assert_close(network(x[rows, 7:], state=state), network(x[rows])[:, 7:])


@pytest.mark.parametrize("causal", [True, False])
def test_an_attention_mask_restricts_which_tokens_attend_to_which(causal: bool) -> None:
    network = make("transformer", "rotary", causal)
    x = tokens()
    attention_mask = torch.eye(T, dtype=torch.bool)
    attention_mask[6, 3] = True
    y = network(x, attention_mask=attention_mask)
    changed = x.clone()
    changed[:, 3] = torch.randn_like(changed[:, 3])
    difference = (network(changed, attention_mask=attention_mask) - y).abs().amax((0, 2))
    assert (difference > 1e-9).nonzero()[:, 0].tolist() == [3, 6]
    # with padding in front, rows and columns of the mask are shifted like the tokens
    padded = torch.cat([torch.full((B, 2, DIM), 9.0).double(), x], 1)
    token_mask = torch.cat([torch.zeros(B, 2).bool(), torch.ones(B, T).bool()], 1)
    padded_mask = torch.zeros(T + 2, T + 2, dtype=torch.bool)
    padded_mask[2:, 2:] = attention_mask
    torch.testing.assert_close(network(padded, token_mask, padded_mask)[:, 2:], y)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("layer_type", LAYER_TYPES[1:])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_all_layer_types_have_the_same_number_of_parameters(
    layer_type: str, causal: bool, activation: str
) -> None:
    def num_parameters(name: str) -> int:
        config = SequenceConfig(
            layer_type=name, dim=64, layers=3, heads=4, activation=activation, position="rotary"
        )
        network = SequenceNetwork(config, 32, causal)
        return sum(p.numel() for p in network.parameters())

    expected = num_parameters("transformer")
    assert num_parameters(layer_type) == pytest.approx(expected, rel=0.01)


def test_zero_init_makes_every_layer_the_identity() -> None:
    network = make("transformer", "rotary", causal=True, zero_init=True)
    x = tokens()
    torch.testing.assert_close(network(x), network.norm(x))


@pytest.mark.parametrize("layer_type", LAYER_TYPES)
def test_without_layers_only_the_final_norm_is_left(layer_type: str) -> None:
    network = make(layer_type, "rotary", causal=False, layers=0)
    x = tokens()
    torch.testing.assert_close(network(x), network.norm(x))


@pytest.mark.parametrize("layer_type", LAYER_TYPES)
def test_dropout_acts_only_in_training(layer_type: str) -> None:
    network, plain = (make(layer_type, "rotary", causal=True, dropout=rate) for rate in (0.5, 0.0))
    plain.load_state_dict(network.state_dict())
    x = tokens()
    assert torch.equal(network(x), plain(x))
    network.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_type": "convolution"}, "unknown layer_type 'convolution'; .*transformer, mlp"),
        (
            {"layer_type": "gru", "cross_attention": True},
            "layer_type='gru' does not support cross-attention: choose 'transformer'",
        ),
        ({"position": "rope"}, "unknown position 'rope'; .*none, learned"),
        ({"normalization": "group"}, "unknown normalization 'group'; choose from layer, rms, b"),
        ({"normalization": "batch"}, "a causal network must not see later tokens"),
        ({"activation": "tanh"}, "unknown activation 'tanh'; choose from relu, gelu"),
        ({"layers": -1}, "layers must be at least 0, got -1"),
        ({"mlp_dim": 0}, "mlp_dim must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"window": 0}, "window must be at least 1, got 0"),
    ],
)
def test_invalid_settings(options: dict[str, Any], message: str) -> None:
    names = ("window", "cross_attention")
    arguments = {name: options[name] for name in names if name in options}
    settings = {name: value for name, value in options.items() if name not in names}
    with pytest.raises(InputError, match=message):
        SequenceNetwork(
            SequenceConfig(**{"dim": 16, "layers": 1, "heads": 4} | settings), 8, True, **arguments
        )


def test_batch_normalization_of_tokens() -> None:
    """Features have mean 0 and variance 1 over all tokens; evaluation uses running statistics."""
    network = make("transformer", "none", causal=False, normalization="batch").train()
    x = 3 + 2 * tokens(64, T)
    out = network(x)
    assert out.mean((0, 1)).abs().max() < 1e-12
    assert (out.var((0, 1), correction=0) - 1).abs().max() < 1e-3
    network.eval()
    torch.testing.assert_close(network(x)[:1], network(x[:1]))
    mask = torch.ones(3, T).bool()
    mask[0, -2:] = False
    network(x[:3], mask)  # allowed in evaluation, which does not compute statistics
    with pytest.raises(ValueError, match="would include padding in its statistics"):
        network.train()(x[:3], mask)


def test_invalid_calls_are_refused() -> None:
    network = make("transformer", "learned", causal=True, max_length=8)
    with pytest.raises(ValueError, match="got 12 tokens, learned positions end at 8"):
        network(tokens())
    with pytest.raises(ValueError, match="cannot be combined with token_mask or attention_mask"):
        network(tokens(1, 3), torch.ones(1, 3).bool(), state=network.new_state())
    with pytest.raises(ValueError, match="only a causal network can process tokens one at a time"):
        make("transformer", "rotary", causal=False).new_state()
