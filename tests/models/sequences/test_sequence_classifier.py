"""SequenceClassifier: padding, token order, dropout of words, classification of texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules import LabeledText
from zoo import SequenceClassifier
from zoo.cli.commands.reproduce import last_value
from zoo.networks.sequence_network import LAYER_TYPES
from zoo.networks.sequence_pooling import POOLINGS


def make(**options: Any) -> SequenceClassifier:
    settings: dict[str, Any] = {
        "vocab_size": 20, "length": 12, "num_classes": 3, "dim": 16, "layers": 2, "heads": 2,
        "init_std": 0.3,
    }  # fmt: skip
    return SequenceClassifier(**(settings | options)).double().eval()


def tokens(*shape: int) -> Tensor:
    return torch.randint(1, 20, shape)


@pytest.mark.parametrize("layer_type", LAYER_TYPES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(layer_type: str, pooling: str) -> None:
    model = make(layer_type=layer_type, pooling=pooling)
    x = tokens(2, 5)
    expected = model.logits(x)
    for padding in ((0, 4), (4, 0)):
        padded = torch.nn.functional.pad(x, padding)
        torch.testing.assert_close(model.logits(padded), expected)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_without_tokens_has_finite_logits(pooling: str) -> None:
    assert make(pooling=pooling).logits(torch.zeros(2, 4, dtype=torch.long)).isfinite().all()


def test_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="unknown pooling 'sum'; choose from mean, max"):
        make(pooling="sum")


def test_without_layers_it_is_a_bag_of_words() -> None:
    bag_of_words = make(layers=0)
    x = tokens(4, 9)
    torch.testing.assert_close(bag_of_words.logits(x), bag_of_words.logits(x[:, torch.randperm(9)]))
    transformer = make()
    assert (transformer.logits(x) - transformer.logits(x.flip(1))).abs().max() > 1e-3


def test_input_dropout_keeps_the_mean() -> None:
    """Whole tokens are 0 with the given probability, and the others divided by the rest of it."""
    model = make(layers=0, input_dropout=0.2).train()
    inputs: list[Tensor] = []
    model.network.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    embedded = torch.ones(2000, 3, 16, dtype=torch.float64)
    token_mask = torch.ones(2000, 3, dtype=torch.bool)
    model.logits_from_embeddings(embedded, token_mask)
    assert torch.equal(inputs[0], inputs[0][..., :1].expand(-1, -1, 16))
    values, counts = inputs[0][..., 0].unique(return_counts=True)
    assert values.tolist() == [0.0, 1.25]
    assert float(counts[0]) / 6000 == pytest.approx(0.2, abs=0.02)
    model.eval().logits_from_embeddings(embedded, token_mask)
    assert torch.equal(inputs[1], embedded)


def test_classify_needs_only_texts() -> None:
    data = LabeledText(num_samples=50)
    model = make(vocab_size=data.vocab_size, length=data.length, tokenizer=data.tokenizer)
    texts = [text for text, _ in data.examples["train"]]
    probabilities = model.classify(texts[:8])
    torch.testing.assert_close(probabilities[3], model.classify(texts[3:4])[0])
    torch.testing.assert_close(probabilities.sum(1), torch.ones(8, dtype=torch.float64))
    assert model.classify([""]).isfinite().all()
    assert model.classify([]).shape == (0, 3)
    with pytest.raises(ValueError, match="SequenceClassifier was created without a tokenizer"):
        make().classify(["text"])


def test_texts_to_classify_are_cut_with_a_warning() -> None:
    data = LabeledText(num_samples=50, max_length=6)
    model = make(vocab_size=data.vocab_size, length=data.length, tokenizer=data.tokenizer)
    words = "the plot was not very dull and the cast was good"
    message = "1 of 2 texts are cut at 6 tokens, the length of the model, which keeps 64.3% of all"
    with pytest.warns(UserWarning, match=message):
        probabilities = model.classify([words, "the cast was"])
    torch.testing.assert_close(probabilities[:1], model.classify(["the plot was not very dull"]))


def test_it_learns_what_a_bag_of_words_cannot(run: Callable[..., Path]) -> None:
    options = ["--model=sequence_classifier", "--trainer.max_epochs=6", "--model.lr=2e-3"]
    folder = run(*options)
    assert last_value(folder / "metrics.csv", "test/accuracy") >= 0.98
    bag_of_words = run(*options, "--model.layers=0")
    assert last_value(bag_of_words / "metrics.csv", "test/accuracy") <= 0.65
