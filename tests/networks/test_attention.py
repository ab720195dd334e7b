"""Attention and position encodings: equality with torch.nn and formulas, symmetries; float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.functional.attention import (
    alibi_slopes,
    apply_rotary_embedding,
    attention,
    attention_weights,
    causal_mask,
    relative_position_buckets,
    rotary_embedding,
    self_attention,
    sinusoidal_encoding,
)
from zoo.networks.attention import (
    AttentionContext,
    MultiHeadAttention,
    SimpleSelfAttention,
    record_attention_weights,
)
from zoo.networks.position_encoding import make_position_encoding
from zoo.networks.transformer import TransformerConfig, TransformerLayer

B, HEADS, T, DIM = 2, 4, 7, 16


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def attention_options(queries: int, keys: int) -> dict[str, dict[str, object]]:
    structure = torch.rand(B, 1, queries, keys) < 0.6
    structure[0, 0, 2] = False
    return {
        "none": {},
        "causal": {"causal": True},
        "padding": {"mask": torch.arange(keys) < torch.tensor([keys, 3])[:, None, None, None]},
        "structure, one query sees nothing": {"mask": structure},
        "structure and causal": {"mask": structure, "causal": True},
        "bias": {"bias": random(HEADS, queries, keys)},
        "bias and causal": {"bias": random(HEADS, queries, keys), "causal": True},
        "window": {"mask": causal_mask(queries, keys, window=2)},
    }


@pytest.mark.parametrize("name", attention_options(T, T))
@pytest.mark.parametrize("keys", [T, T + 3])
def test_explicit_and_fused_attention_agree_in_value_and_gradient(name: str, keys: int) -> None:
    q, k, v = random(B, HEADS, T, 8), random(B, HEADS, keys, 8), random(B, HEADS, keys, 5)
    options = attention_options(T, keys)[name]
    fused = attention(q, k, v, **options)  # type: ignore[arg-type]
    explicit = attention_weights(q, k, **options) @ v  # type: ignore[arg-type]
    assert fused.isfinite().all()
    torch.testing.assert_close(fused, explicit, rtol=1e-12, atol=1e-12)
    inputs = [q, k, v, *([options["bias"]] if "bias" in options else [])]
    weight = torch.randn_like(fused)
    for fused_grad, explicit_grad in zip(
        torch.autograd.grad(fused, inputs, weight),  # type: ignore[arg-type]
        torch.autograd.grad(explicit, inputs, weight),  # type: ignore[arg-type]
        strict=True,
    ):
        assert fused_grad.isfinite().all()
        torch.testing.assert_close(fused_grad, explicit_grad, rtol=1e-10, atol=1e-12)


def test_a_fully_masked_query_gets_zeros() -> None:
    q, k, v = random(1, 1, 2, 4), random(1, 1, 3, 4), random(1, 1, 3, 4)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    out = attention(q, k, v, mask)
    assert torch.equal(out[0, 0, 1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(attention_weights(q, k, mask)[0, 0, :, 1], torch.zeros(2).double())


def test_simple_self_attention_equals_its_formula() -> None:
    x = random(2, 3, 4)
    expected = torch.stack([(row @ row.T / 2).softmax(1) @ row for row in x])
    torch.testing.assert_close(SimpleSelfAttention()(x), expected)
    assert list(SimpleSelfAttention().parameters()) == []
    causal = self_attention(x, causal=True)
    torch.testing.assert_close(causal[:, 0], x[:, 0])  # the first token sees only itself


def test_in_a_causal_mask_the_last_query_sees_the_last_key() -> None:
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(2, 4, window=2).int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]


def copy_weights(theirs: nn.MultiheadAttention, ours: MultiHeadAttention) -> None:
    parts = zip(
        (ours.query, ours.key, ours.value),
        theirs.in_proj_weight.chunk(3),
        theirs.in_proj_bias.chunk(3),
        strict=True,
    )
    for layer, weight, bias in parts:
        layer.load_state_dict({"weight": weight, "bias": bias})
    ours.output.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_equals_torch(causal: bool) -> None:
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double().eval()
    nn.init.normal_(theirs.in_proj_bias)
    ours = MultiHeadAttention(DIM, HEADS).double().eval()
    copy_weights(theirs, ours)
    x = random(B, T, DIM)
    padding = torch.arange(T) >= torch.tensor([T, 4])[:, None]  # torch: True is padding
    masked = ~causal_mask(T, T) if causal else None
    expected, weights = theirs(
        x, x, x, key_padding_mask=padding, attn_mask=masked, average_attn_weights=False
    )
    mask = ~padding[:, None, None, :] & (causal_mask(T, T) if causal else True)
    torch.testing.assert_close(ours(x, AttentionContext(mask=mask)), expected)
    with record_attention_weights(ours) as records:
        torch.testing.assert_close(ours(x, AttentionContext(mask=mask)), expected)
    torch.testing.assert_close(records[""][0], weights)
    assert ours.recorded is None


def config(**settings: Any) -> TransformerConfig:
    return TransformerConfig(dim=DIM, heads=HEADS, mlp_dim=40, **settings)


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer_equals_torch(pre_norm: bool, activation: str) -> None:
    theirs = nn.TransformerEncoderLayer(
        DIM, HEADS, 40, 0.0, activation, batch_first=True, norm_first=pre_norm
    ).double()
    ours = TransformerLayer(config(pre_norm=pre_norm, activation=activation)).double()
    copy_weights(theirs.self_attn, ours.attention)
    ours.feed_forward.inner.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.output.load_state_dict(theirs.linear2.state_dict())
    for norm in (theirs.norm1, theirs.norm2):
        nn.init.normal_(norm.weight)
    ours.attention_norm.load_state_dict(theirs.norm1.state_dict())
    ours.feed_forward_norm.load_state_dict(theirs.norm2.state_dict())
    x = random(B, T, DIM)
    padding = torch.arange(T) >= torch.tensor([T, 4])[:, None]
    causal = causal_mask(T, T)
    expected = theirs(x, src_mask=~causal, src_key_padding_mask=padding)
    context = AttentionContext(mask=causal & ~padding[:, None, None, :])
    torch.testing.assert_close(ours(x, context), expected)


def test_a_decoder_layer_equals_torch() -> None:
    theirs = nn.TransformerDecoderLayer(DIM, HEADS, 40, 0.0, batch_first=True).double()
    ours = TransformerLayer(
        config(pre_norm=False, activation="relu"), cross_attention=True
    ).double()
    copy_weights(theirs.self_attn, ours.attention)
    assert ours.cross_attention is not None
    copy_weights(theirs.multihead_attn, ours.cross_attention)
    ours.feed_forward.inner.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.output.load_state_dict(theirs.linear2.state_dict())
    x, memory = random(B, T, DIM), random(B, 5, DIM)
    padding = torch.arange(5) >= torch.tensor([5, 2])[:, None]
    expected = theirs(x, memory, tgt_mask=~causal_mask(T, T), memory_key_padding_mask=padding)
    context = AttentionContext(causal=True, memory=memory, memory_mask=~padding[:, None, None, :])
    torch.testing.assert_close(ours(x, context), expected)


def test_grouped_query_attention_repeats_keys_and_values() -> None:
    grouped = MultiHeadAttention(DIM, HEADS, kv_heads=2).double()
    full = MultiHeadAttention(DIM, HEADS).double()
    full.query.load_state_dict(grouped.query.state_dict())
    full.output.load_state_dict(grouped.output.state_dict())
    for name in ("key", "value"):
        for part in ("weight", "bias"):
            small = getattr(getattr(grouped, name), part)
            rows = small.unflatten(0, (2, DIM // HEADS)).repeat_interleave(2, 0).flatten(0, 1)
            getattr(getattr(full, name), part).data.copy_(rows)
    x = random(B, T, DIM)
    torch.testing.assert_close(grouped(x, AttentionContext()), full(x, AttentionContext()))


def test_qk_norm_removes_the_norm_of_queries_from_the_scores() -> None:
    layer = MultiHeadAttention(DIM, HEADS, qk_norm=True, bias=False).double()
    x = random(B, T, DIM)
    with record_attention_weights(layer) as records:
        layer(x, AttentionContext())
        layer.query.weight.data *= 100.0
        layer(x, AttentionContext())
    torch.testing.assert_close(*records[""], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4, "kv_heads": 0}, "kv_heads must be at least 1, got 0"),
        ({"heads": 3}, "heads must divide dim, got heads=3 and dim=16"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads must divide heads, got kv_heads=3 and heads=4"),
    ],
)
def test_invalid_heads(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiHeadAttention(DIM, **options)


def test_cross_attention_needs_a_memory() -> None:
    layer = TransformerLayer(config(), cross_attention=True).double()
    with pytest.raises(ValueError, match="cross-attention needs an encoder output"):
        layer(random(B, T, DIM), AttentionContext())


# -- position encodings --------------------------------------------------------------------------


def test_rotary_scores_depend_only_on_the_distance() -> None:
    q, k = random(8), random(8)

    def rotated(x: Tensor, position: int) -> Tensor:
        embedding = rotary_embedding(torch.tensor([float(position)]).double(), 8)
        return apply_rotary_embedding(x[None], embedding)

    def score(i: int, j: int) -> Tensor:
        return (rotated(q, i) * rotated(k, j)).sum()

    torch.testing.assert_close(score(3, 1), score(1003, 1001), rtol=1e-9, atol=1e-9)
    assert abs(score(3, 1) - score(3, 2)) > 1e-3
    torch.testing.assert_close(rotated(q, 5).norm(), q.norm())


def test_alibi_is_minus_slope_times_distance() -> None:
    position = make_position_encoding("alibi", DIM, 8, T, causal=True)
    bias = position.bias(torch.arange(3, 6), torch.arange(6))
    assert bias is not None
    for h in range(8):
        for row, i in enumerate(range(3, 6)):
            for j in range(6):
                assert bias[h, row, j] == -(2.0 ** -(h + 1)) * abs(i - j)
    assert alibi_slopes(2).tolist() == [2**-4, 2**-8]
    # the paper's rule for 6 heads: the slopes of 4 heads, then every other slope of 8 heads
    assert alibi_slopes(6).tolist() == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


def test_sinusoids_equal_their_formula() -> None:
    table = sinusoidal_encoding(torch.arange(5).double(), 6)
    for position in range(5):
        for i in range(3):
            angle = torch.tensor(position / 10_000 ** (2 * i / 6), dtype=torch.float64)
            torch.testing.assert_close(table[position, 2 * i], angle.sin())
            torch.testing.assert_close(table[position, 2 * i + 1], angle.cos())


def test_sinusoids_initially_have_the_size_of_embeddings() -> None:
    position = make_position_encoding("sinusoidal", 128, HEADS, T, causal=True)
    added = position.embed(torch.zeros(1, 500, 128), torch.arange(500))[0]
    assert float(added.detach().square().mean().sqrt()) == pytest.approx(0.02, rel=0.02)


def test_distance_buckets() -> None:
    causal = relative_position_buckets(-torch.arange(200), causal=True)
    assert causal[:16].tolist() == list(range(16))  # small distances have a bucket each
    assert causal.max() == 31
    assert bool((causal.diff() >= 0).all())
    assert causal[128:].unique().tolist() == [31]
    both = relative_position_buckets(torch.arange(-200, 201))
    assert both[:200].max() < 16 <= both[201:].min()
    assert both[200] == 0


def test_t5_bias_depends_only_on_the_distance() -> None:
    position = make_position_encoding("t5", DIM, HEADS, T, causal=False)
    near = position.bias(torch.arange(5), torch.arange(5))
    far = position.bias(torch.arange(100, 105), torch.arange(100, 105))
    assert near is not None
    assert far is not None
    assert torch.equal(near, far)
    assert not torch.equal(near[:, 0, 1], near[:, 1, 0])  # directions are distinguished


def test_rotary_positions_need_heads_of_even_width() -> None:
    with pytest.raises(
        InputError, match="rotate pairs of features: dim / heads must be even, got 12 / 4"
    ):
        make_position_encoding("rotary", 12, 4, 8, causal=True)
