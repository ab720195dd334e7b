"""Figures and text samples of sequence models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from PIL import Image

from callbacks import AttentionMaps, Forecasts, PositionSimilarity, TextSamples
from callbacks.sequences import layer_title
from datamodules import Brownian, Digits, LabeledText, ParallelText, Series, Text
from zoo import Forecaster, LanguageModel, SequenceClassifier, Translator, VisionTransformer, plots
from zoo.errors import InputError
from zoo.networks.attention import record_attention_weights

SMALL: dict[str, Any] = {"dim": 16, "layers": 2, "heads": 2}


def language(**options: Any) -> tuple[Any, Any]:
    data = Text(max_characters=5_000, length=16)
    return LanguageModel(data.vocab_size, 16, tokenizer=data.tokenizer, **SMALL, **options), data


def classifier(**options: Any) -> tuple[Any, Any]:
    data = LabeledText(num_samples=100)
    sizes = data.vocab_size, data.length, data.num_classes
    return SequenceClassifier(*sizes, tokenizer=data.tokenizer, **SMALL, **options), data


def translator() -> tuple[Any, Any]:
    data = ParallelText(num_samples=100)
    sizes = data.vocab_size, data.target_vocab_size, data.length, data.target_length
    return Translator(*sizes, data.tokenizer, data.target_tokenizer, **SMALL), data


def vision() -> tuple[Any, Any]:
    return VisionTransformer((1, 8, 8), 10, patch_size=2, **SMALL), Digits()


def draw(callback: Any, made: tuple[Any, Any], trainer: Callable[..., L.Trainer]) -> Path:
    model, data = made
    test = trainer(callbacks=[callback], limit_test_batches=1)
    test.test(model, data, verbose=False)
    return Path(test.default_root_dir) / "figures" / f"{callback.name}.png"


@pytest.mark.parametrize("make", [language, classifier, translator, vision])
def test_attention_is_drawn_for_every_layer(
    make: Callable[[], Any], trainer: Callable[..., L.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[plots.AttentionMap] = []
    original = plots.attention_maps
    monkeypatch.setattr(
        plots, "attention_maps", lambda maps, title: drawn.extend(maps) or original(maps, title)
    )
    model, data = make()
    path = draw(AttentionMaps(), (model, data), trainer)
    assert min(Image.open(path).size) > 200
    with record_attention_weights(model) as records:
        assert len(drawn) == len(records)
    for layer in drawn:
        weights = layer.weights
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
        for labels, count in zip((layer.queries, layer.keys), weights.shape[1:], strict=True):
            assert labels is None or len(labels) == count
            assert (labels is None) == (make is vision)


def test_attention_labels_are_the_tokens() -> None:
    model, _ = translator()
    x, y = (torch.tensor(c.encode(t)) for c, t in zip(model.tokenizers, ("may", "1"), strict=True))
    assert model.attention_labels("encoder.layers.0.attention", x, y) == (["may"], ["may"])
    assert model.attention_labels("decoder.layers.0.attention", x, y) == (["1"], ["1"])
    assert model.attention_labels("decoder.layers.0.cross_attention", x, y) == (["1"], ["may"])
    model, data = classifier(pooling="cls")
    x = torch.tensor(data.fitted_tokenizer.encode("the plot"))
    assert model.attention_labels("network.layers.0.attention", x, x)[0] == ["[cls]", "the", "plot"]
    model, data = language()
    x = torch.tensor(data.fitted_tokenizer.encode("a \n"))
    assert model.attention_labels("network.layers.0.attention", x, x)[0] == ["a", "␣", "⏎"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("network.layers.0.attention", "Layer 1"),
        ("encoder.layers.2.attention", "Encoder layer 3"),
        ("decoder.layers.1.cross_attention", "Decoder layer 2, cross"),
        ("my.attention", "my.attention"),
    ],
)
def test_titles_of_attention_layers(name: str, title: str) -> None:
    assert layer_title(name) == title


def test_a_model_without_attention_draws_nothing(trainer: Callable[..., L.Trainer]) -> None:
    with pytest.warns(UserWarning, match="this LanguageModel has no attention to show"):
        path = draw(AttentionMaps(), language(layer_type="gru"), trainer)
    assert not path.exists()


def test_position_similarity(trainer: Callable[..., L.Trainer]) -> None:
    for position in ("learned", "sinusoidal"):
        path = draw(PositionSimilarity(), language(position=position), trainer)
        assert min(Image.open(path).size) > 200
        path.unlink()
    with pytest.warns(UserWarning, match="this position encoding adds nothing"):
        path = draw(PositionSimilarity(), language(position="rotary"), trainer)
    assert not path.exists()


@pytest.mark.parametrize("variance", [True, False])
@pytest.mark.parametrize(
    "data", [Series(lookback=32, horizon=8, num_steps=600), Brownian(num_paths=100)]
)
def test_forecasts_are_drawn(data: Any, variance: bool, trainer: Callable[..., L.Trainer]) -> None:
    sizes = data.num_series, data.lookback, data.horizon
    model = Forecaster(*sizes, **SMALL, predict_variance=variance)
    path = draw(Forecasts(), (model, data), trainer)
    assert min(Image.open(path).size) > 200


def test_the_forecast_interval_contains_its_probability() -> None:
    """± Z90 standard deviations contain 90% of a normal distribution."""
    from callbacks.sequences import Z90

    inside = (torch.randn(200_000, generator=torch.Generator().manual_seed(0)).abs() < Z90).float()
    assert float(inside.mean()) == pytest.approx(0.9, abs=0.003)


def test_text_is_written_during_training(trainer: Callable[..., L.Trainer]) -> None:
    model, data = language()
    callback = TextSamples(prompt="import", num_tokens=12, every_n_steps=2)
    fit = trainer(callbacks=[callback], max_steps=5)
    fit.fit(model, data)
    written = (Path(fit.default_root_dir) / "samples.txt").read_text()
    headings = [line for line in written.splitlines() if line.startswith("── step")]
    assert headings == ["── step 2 ──", "── step 4 ──", "── step 5 ──"]
    assert written.count("import") >= 3
    with pytest.raises(
        InputError, match="TextSamples, prompt: '☃' is not in the tokenizer's vocabulary"
    ):
        trainer(callbacks=[TextSamples(prompt="☃")], max_steps=5).fit(*language())
    with pytest.raises(InputError, match="TextSamples, prompt: must have 1 to 16 tokens, got 17"):
        trainer(callbacks=[TextSamples(prompt="e" * 17)], max_steps=5).fit(*language())
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        TextSamples(every_n_steps=0)


def test_samples_do_not_change_the_training(trainer: Callable[..., L.Trainer]) -> None:
    weights = []
    for callbacks in ([], [TextSamples(num_tokens=5, every_n_steps=1)]):
        L.seed_everything(0, verbose=False)
        model, data = language(dropout=0.1)
        trainer(callbacks=callbacks, max_steps=4).fit(model, data)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
