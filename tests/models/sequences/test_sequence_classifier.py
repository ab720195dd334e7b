"""Classifiers of sequences: pooling, padding, order; the vision transformer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules import LabeledText
from zoo import SequenceClassifier, VisionTransformer
from zoo.cli.commands.reproduce import last_value
from zoo.models.sequences.classification import POOLINGS, SequencePooling
from zoo.networks.sequence_network import LAYER_TYPES


def make(**options: Any) -> SequenceClassifier:
    settings: dict[str, Any] = {
        "vocab_size": 20, "length": 12, "num_classes": 3, "dim": 16, "layers": 2, "heads": 2,
        "init_std": 0.3,
    }  # fmt: skip
    return SequenceClassifier(**(settings | options)).double().eval()


def tokens(*shape: int) -> Tensor:
    return torch.randint(1, 20, shape)


@pytest.mark.parametrize("layer", LAYER_TYPES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(layer: str, pooling: str) -> None:
    model = make(layer_type=layer, pooling=pooling)
    x = tokens(2, 5)
    expected = model.logits(x)
    for padding in ((0, 4), (4, 0)):
        row = torch.nn.functional.pad(x, padding)
        torch.testing.assert_close(model.logits(row), expected)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_without_tokens_has_finite_scores(pooling: str) -> None:
    assert make(pooling=pooling).logits(torch.zeros(2, 4, dtype=torch.long)).isfinite().all()


def test_pooling_by_hand() -> None:
    h = torch.randn(2, 4, 3, dtype=torch.float64)
    valid = torch.tensor([[True, True, False, False], [True, True, True, True]])
    torch.testing.assert_close(SequencePooling("mean", 3)(h, valid)[0], h[0, :2].mean(0))
    torch.testing.assert_close(SequencePooling("max", 3)(h, valid)[0], h[0, :2].max(0).values)
    torch.testing.assert_close(SequencePooling("cls", 3)(h, valid), h[:, 0])
    pool = SequencePooling("attention", 3).double()
    assert pool.score is not None
    weights = (h[0, :2] @ pool.score.weight[0]).softmax(0)
    torch.testing.assert_close(pool(h, valid)[0], weights @ h[0, :2])
    garbage = h.clone()
    garbage[0, 2:] = torch.nan
    for kind in POOLINGS:
        pool = SequencePooling(kind, 3).double()
        torch.testing.assert_close(pool(garbage, valid), pool(h, valid))


def test_an_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="unknown pooling 'sum'; choose from mean, max"):
        make(pooling="sum")


def test_without_layers_it_is_a_bag_of_words() -> None:
    model = make(layers=0)
    x = tokens(4, 9)
    torch.testing.assert_close(model.logits(x), model.logits(x[:, torch.randperm(9)]))
    whole = make()
    assert (whole.logits(x) - whole.logits(x.flip(1))).abs().max() > 1e-3


def test_dropped_words_keep_the_mean() -> None:
    model = make(layers=0, input_dropout=0.5).train()
    embedded = torch.ones(1, 1, 16, dtype=torch.float64)
    seen: list[Tensor] = []
    model.network.register_forward_pre_hook(lambda _, args: seen.append(args[0].mean()))
    for _ in range(400):
        model.logits_of(embedded, torch.ones(1, 1, dtype=torch.bool))
    assert torch.stack(seen).mean() == pytest.approx(1, abs=0.15)
    assert {round(float(value), 3) for value in seen} == {0.0, 2.0}


def test_texts_are_classified_by_the_model_alone() -> None:
    data = LabeledText(samples=50)
    model = make(vocab_size=data.vocab_size, length=data.length, tokenizer=data.tokenizer)
    texts = [text for text, _ in data.pairs["train"]]
    together = model.classify(texts[:8])
    torch.testing.assert_close(together[3], model.classify(texts[3:4])[0])
    torch.testing.assert_close(together.sum(1), torch.ones(8, dtype=torch.float64))
    with pytest.raises(ValueError, match="made without a tokenizer"):
        make().classify(["text"])


def test_it_learns_what_a_bag_of_words_cannot(run: Callable[..., Path]) -> None:
    options = ["--model=sequence_classifier", "--trainer.max_epochs=6", "--model.lr=2e-3"]
    folder = run(*options)
    assert last_value(folder / "metrics.csv", "test/accuracy") >= 0.98
    bag = run(*options, "--model.layers=0")
    assert last_value(bag / "metrics.csv", "test/accuracy") <= 0.65


# -- images --------------------------------------------------------------------------------------


def make_vit(**options: Any) -> VisionTransformer:
    settings: dict[str, Any] = {
        "input_shape": (3, 8, 12), "num_classes": 5, "dim": 16, "layers": 1, "heads": 2,
        "init_std": 0.3,
    }  # fmt: skip
    return VisionTransformer(**(settings | options)).double().eval()


def test_patches_are_the_squares_of_the_image() -> None:
    x = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    patches = make_vit().patches(x)
    assert patches.shape == (2, 6, 48)
    for row in range(2):
        for column in range(3):
            square = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert torch.equal(patches[:, 3 * row + column], square.flatten(1))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_without_positions_the_order_of_patches_does_not_matter(pooling: str) -> None:
    x = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    swapped = torch.cat([x[..., 4:8], x[..., :4], x[..., 8:]], -1)
    blind = make_vit(position="none", pooling=pooling)
    torch.testing.assert_close(blind(x), blind(swapped))
    seeing = make_vit(pooling=pooling)
    assert (seeing(x) - seeing(swapped)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 5}, "patch_size must divide the sides of the image, got patch_size=5"),
        ({"input_shape": (7,)}, r"VisionTransformer needs images"),
    ],
)
def test_images_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_vit(**options)
