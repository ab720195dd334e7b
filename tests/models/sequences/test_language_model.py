"""LanguageModel: causality, loss and metrics, generation with and without a state, learning."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from datamodules import Text
from zoo import LanguageModel
from zoo.cli.commands.reproduce import last_value
from zoo.core.report import concatenate_batches
from zoo.functional.tokenization import UnknownTokenError, make_tokenizer
from zoo.metrics.text import BitsPerCharacter, Perplexity
from zoo.models.sequences.language_model import _IncrementalDecoder
from zoo.networks.position_encoding import POSITION_ENCODINGS
from zoo.networks.sequence_network import LAYER_TYPES

V, LENGTH = 11, 16
#: pairs of layer type and position encoding
NETWORKS = [("transformer", name) for name in POSITION_ENCODINGS] + [
    (name, "none") for name in LAYER_TYPES[1:]
]


def make(**options: Any) -> LanguageModel:
    settings: dict[str, Any] = {
        "vocab_size": V, "length": LENGTH, "dim": 16, "layers": 2, "heads": 2, "init_std": 0.3
    }  # fmt: skip
    return LanguageModel(**(settings | options)).double().eval()


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(V, shape)


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
def test_later_tokens_do_not_change_earlier_logits(layer_type: str, position: str) -> None:
    model = make(layer_type=layer_type, position=position)
    x = random_tokens(2, LENGTH)
    for t in range(1, LENGTH):
        changed = x.clone()
        changed[:, t:] = (changed[:, t:] + 1) % V
        assert torch.equal(model.logits(changed)[:, :t], model.logits(x)[:, :t])


@pytest.mark.parametrize("tie", [True, False])
def test_the_initial_loss_is_that_of_guessing(tie: bool) -> None:
    model = make(vocab_size=65, dim=128, init_std=0.02, tie_embeddings=tie)
    x = torch.randint(65, (64, LENGTH))
    y = torch.randint(65, (64, LENGTH))
    loss = float(model.step((x, y))["loss"].detach())
    assert loss == pytest.approx(math.log(65), abs=0.06)


def test_the_loss_is_a_mean_over_predicted_tokens() -> None:
    model = make()
    x, y = random_tokens(3, LENGTH), random_tokens(3, LENGTH)
    y[0, 3:] = -100
    y[2] = -100
    parts = model.step((x, y))
    predicted = [(0, t) for t in range(3)] + [(1, t) for t in range(LENGTH)]
    log_p = model.logits(x).log_softmax(-1)
    expected = torch.stack([-log_p[row, t, y[row, t]] for row, t in predicted]).mean()
    torch.testing.assert_close(parts["loss"], expected)
    assert parts["weight"] == len(predicted)
    nll, targets = parts["outputs"]
    perplexity, bits = Perplexity(), BitsPerCharacter([2] * V)
    for metric in (perplexity, bits):
        for i in range(3):  # batches with different numbers of predicted tokens
            metric.update(nll[i : i + 1], targets[i : i + 1])
    torch.testing.assert_close(perplexity.compute(), expected.exp())
    torch.testing.assert_close(bits.compute(), expected / math.log(2) / 2)


def test_the_accuracy_is_a_fraction_of_the_predicted_tokens() -> None:
    model, x = make(), random_tokens(2, LENGTH)
    y = model.logits(x).argmax(-1)
    y[0, :6] = (y[0, :6] + 1) % V  # six errors
    y[1, 4:] = -100
    assert float(model.step((x, y))["accuracy"]) == pytest.approx(1 - 6 / (LENGTH + 4))
    prediction = model.predict_step((x, y))
    assert prediction["tokens"].tolist() == [LENGTH, 4]
    log_p = model.logits(x).log_softmax(-1)
    for row, count in ((0, LENGTH), (1, 4)):
        nll = -log_p[row, range(count), y[row, :count]].mean()
        torch.testing.assert_close(prediction["nll"][row], nll)


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_bits_per_character_of_windows(kind: str) -> None:
    """Characters of unpredicted tokens do not count."""
    tokenizer = make_tokenizer(kind, ["one three four five sixteen"] * 3)
    model = make(vocab_size=len(tokenizer), tokenizer=tokenizer.to_json())
    y = torch.tensor([tokenizer.encode("one three four five sixteen")])
    y[0, 3:] = -100
    x = torch.randint(len(tokenizer), y.shape)
    prediction = model.predict_step((x, y))
    log_p = model.logits(x).log_softmax(-1)
    bits = -float(log_p[0, range(3), y[0, :3]].detach().sum()) / math.log(2)
    characters = sum(tokenizer.characters_per_token()[token] for token in y[0, :3])
    assert float(prediction["bits_per_char"]) == pytest.approx(bits / characters)


@pytest.mark.parametrize("tie", [True, False])
def test_the_gradient_is_that_of_the_loss(tie: bool) -> None:
    """The slope along a random direction of the embedding equals the difference quotient."""
    model, x, y = make(tie_embeddings=tie), random_tokens(3, LENGTH), random_tokens(3, LENGTH)
    weight = model.embedding.weight
    (gradient,) = torch.autograd.grad(model.step((x, y))["loss"], weight)
    direction, values = torch.randn_like(weight), []
    for step in (1e-5, -1e-5):
        weight.data.add_(direction, alpha=step)
        values.append(float(model.step((x, y))["loss"].detach()))
        weight.data.sub_(direction, alpha=step)
    slope = (values[0] - values[1]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_padding_changes_nothing() -> None:
    model = make()
    x = random_tokens(1, 5)
    expected = model.logits(x)[0]
    for positions in (list(range(5)), list(range(3, 8))):
        padded, mask = random_tokens(1, 8), torch.zeros(1, 8, dtype=torch.bool)
        padded[0, positions], mask[0, positions] = x[0], True
        torch.testing.assert_close(model.logits(padded, mask)[0, positions], expected)


def test_evaluation_is_a_mean_over_all_characters(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    """Every character counts once, although the last window is shorter than the others."""
    path = tmp_path / "t.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    data = Text(str(path), length=LENGTH, test_size=77)
    model = LanguageModel(
        data.vocab_size,
        LENGTH,
        tokenizer=data.tokenizer,
        dim=16,
        layers=1,
        heads=2,
        position="none",
    )
    (metrics,) = trainer().test(model, data, verbose=False)
    token_ids = torch.tensor(data.fitted_tokenizer.encode(data.split_texts["test"]))
    nll = []
    with torch.no_grad():
        for start in range(0, 76, LENGTH):
            window = token_ids[start : start + LENGTH + 1]
            logits = model.eval().logits(window[None, :-1])[0]
            nll.append(F.cross_entropy(logits, window[1:], reduction="none"))
    mean = float(torch.cat(nll).mean())
    assert len(torch.cat(nll)) == 76
    assert metrics["test/loss"] == pytest.approx(mean, rel=1e-5)
    assert metrics["test/perplexity"] == pytest.approx(math.exp(mean), rel=1e-5)
    assert metrics["test/bits_per_char"] == pytest.approx(mean / math.log(2), rel=1e-5)


# -- generation ----------------------------------------------------------------------------------


def generate_without_state(model: LanguageModel, prompt: Tensor, count: int) -> Tensor:
    """Generate the most likely tokens, with all tokens so far as input in every step."""
    tokens = prompt
    for _ in range(count):
        inputs = tokens
        if model.network.position.max_length is not None:
            inputs = tokens[:, -LENGTH:]
        logits = model.logits(inputs)[:, -1]
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    return tokens


def test_predictions_are_the_likelihoods_of_windows(trainer: Callable[..., L.Trainer]) -> None:
    """Their means are the metrics of the whole text."""
    data = Text(max_characters=3_000, length=LENGTH, tokenizer_type="bytes")
    model = make(vocab_size=data.vocab_size, tokenizer=data.tokenizer).float()
    [metrics] = trainer().test(model, data)
    outputs = concatenate_batches(trainer().predict(model, data))
    tokens = outputs["tokens"]
    assert int(tokens.sum()) == len(data.split_texts["test"].encode()) - 1
    nll = float((outputs["nll"] * tokens).sum() / tokens.sum())
    assert nll == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert float(outputs["bits_per_char"][0]) == pytest.approx(
        float(outputs["nll"][0]) / math.log(2), rel=1e-5
    )  # a window of ASCII text


@pytest.mark.parametrize(("layer_type", "position"), NETWORKS)
def test_the_state_does_not_change_generation(layer_type: str, position: str) -> None:
    model = make(layer_type=layer_type, position=position)
    prompt = random_tokens(3, 4)
    # learned positions end with the window; the others continue beyond it
    count = 12 if position == "learned" else 40
    expected = generate_without_state(model, prompt, count)
    assert torch.equal(model.generate(prompt, count, temperature=0), expected)
    assert torch.equal(model.generate(prompt, count, top_k=1), expected)


def test_learned_positions_start_again_from_half_the_window() -> None:
    model = make(position="learned")
    out = model.generate(random_tokens(2, 4), 30, temperature=0)
    # there are 16 positions, so the network starts again from the last 8 of 17 tokens
    logits = model.logits(out[:, 9:17])[:, -1]
    assert torch.equal(out[:, 17], logits.argmax(-1))
    next_logits = _IncrementalDecoder(model)
    next_logits(out[:, :16])
    torch.testing.assert_close(next_logits(out[:, 16:17]), logits)


def test_the_same_seed_gives_the_same_text() -> None:
    model, prompt = make(), random_tokens(2, 4)

    def generate(seed: int) -> Tensor:
        return model.generate(prompt, 30, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(generate(1), generate(1))
    assert not torch.equal(generate(1), generate(2))
    assert torch.equal(generate(1)[:, :4], prompt)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must be positive"),
    ],
)
def test_bad_sampling_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().generate(random_tokens(1, 2), 1, **options)


@pytest.mark.parametrize("length", [0, LENGTH + 1])
def test_a_prompt_must_fit_the_window(length: int) -> None:
    with pytest.raises(ValueError, match=f"a prompt must have 1 to 16 tokens, got {length}"):
        make().generate(random_tokens(1, length), 1)


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe"])
def test_text_is_streamed_in_pieces(kind: str) -> None:
    text = "Straße, naïve; 漢字. " * 5
    tokenizer = make_tokenizer(kind, [text], max_vocab_size=300, keep_whitespace=True)
    model = make(vocab_size=len(tokenizer), tokenizer=tokenizer.to_json(), length=64)
    pieces = list(model.stream_text("naïve", 30, generator=torch.Generator().manual_seed(0)))
    prompt = torch.tensor([tokenizer.encode("naïve")])
    generated = model.generate(prompt, 30, generator=torch.Generator().manual_seed(0))
    expected = tokenizer.decode(generated[0, prompt.shape[1] :].tolist())
    assert "".join(pieces) == expected
    assert len(pieces) > 1


def test_prompts_that_cannot_be_encoded() -> None:
    tokenizer = make_tokenizer("characters", ["abc\n"])
    model = make(vocab_size=4, tokenizer=tokenizer.to_json())
    message = "'z' is not in the tokenizer's vocabulary of 4 tokens"
    with pytest.raises(UnknownTokenError, match=message):
        list(model.stream_text("abz", 3))
    with pytest.raises(ValueError, match="LanguageModel was created without a tokenizer"):
        list(make().stream_text("abc", 3))


# -- training and checkpoints --------------------------------------------------------------------


def test_muon_trains_only_the_matrices_of_the_layers() -> None:
    model = make(optimizer="muon", weight_decay=0.1, tie_embeddings=False)
    groups = model.parameter_groups()
    matrices = {p for g in groups if g["muon"] for p in g["params"] if p.ndim >= 2}
    assert model.embedding.weight not in matrices
    assert model.head is not None
    assert model.head.weight not in matrices
    assert len(matrices) == 2 * 6
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_a_loaded_checkpoint_generates_the_same_text(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    data = Text(max_characters=20_000, length=LENGTH)
    settings: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2}
    model = LanguageModel(data.vocab_size, LENGTH, tokenizer=data.tokenizer, **settings)
    fit = trainer(max_steps=3)
    fit.fit(model, data)
    fit.save_checkpoint(tmp_path / "m.ckpt")
    loaded = zoo.load(tmp_path / "m.ckpt")
    texts = [
        "".join(m.eval().stream_text("import ", 20, generator=torch.Generator().manual_seed(0)))
        for m in (model, loaded)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 20


@pytest.mark.parametrize(("model", "limit"), [("language_model", 2.75), ("rnn", 3.3)])
def test_it_learns(model: str, limit: float, run: Callable[..., Path]) -> None:
    """After a few steps, a model is better than the frequencies of the characters."""
    folder = run(
        f"--model={model}", "--trainer.max_steps=120", "--data.max_characters=300000",
        "--model.schedule=constant",
    )  # fmt: skip
    data = Text(max_characters=300_000)
    counts = torch.tensor(data.fitted_tokenizer.encode(data.text)).bincount().double()
    p = counts[counts > 0] / counts.sum()
    entropy = float(-(p * p.log2()).sum())
    bits = last_value(folder / "metrics.csv", "test/bits_per_char")
    assert bits < limit < entropy - 1
