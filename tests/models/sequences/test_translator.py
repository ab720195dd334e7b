"""The translator: what the decoder sees, beams, and dates that come out right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

import zoo
from datamodules import ParallelText
from zoo import Translator
from zoo.evaluation.translation import translate_all, translations

V = 12


def make(**options: Any) -> Translator:
    settings: dict[str, Any] = {
        "vocab_size": V, "target_vocab_size": V + 2, "length": 9, "target_length": 10, "dim": 16,
        "layers": 2, "heads": 2, "init_std": 0.3, "label_smoothing": 0.0,
    }  # fmt: skip
    return Translator(**(settings | options)).double().eval()


def batch(sources: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randint(4, V, (sources, 6))
    y = torch.cat([torch.full((sources, 1), 2), torch.randint(4, V + 2, (sources, 5))], 1)
    return x, y


def test_the_decoder_does_not_look_ahead_and_reads_all_of_the_source() -> None:
    model, (x, y) = make(), batch()
    before = model(x, y)
    changed = y.clone()
    changed[:, 3:] = 4
    assert torch.equal(model(x, changed)[:, :3], before[:, :3])
    other = x.clone()
    other[:, -1] = (other[:, -1] - 3) % (V - 4) + 4
    assert bool(((model(other, y) - before).abs().amax(-1) > 1e-6).all())


@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "t5", "alibi", "none"])
def test_padding_of_source_and_target_changes_nothing(position: str) -> None:
    model, (x, y) = make(position=position), batch()
    padded = torch.nn.functional.pad(x, (0, 3)), torch.nn.functional.pad(y, (0, 2))
    torch.testing.assert_close(model(*padded)[:, :6], model(x, y))
    losses = [model.step(b)["loss"] for b in ((x, y), padded)]
    torch.testing.assert_close(*losses)
    assert model.step(padded)["weight"] == 3 * 5


def test_the_loss_by_hand() -> None:
    model, (x, y) = make(label_smoothing=0.1).train(), batch()
    parts = model.step((x, y))
    log_p = model(x, y[:, :-1]).log_softmax(-1)
    right = log_p.gather(-1, y[:, 1:, None]).mean()
    torch.testing.assert_close(parts["nll"], -right)
    torch.testing.assert_close(parts["loss"], -(0.9 * right + 0.1 * log_p.mean()))


def greedily(model: Translator, x: Tensor) -> list[list[int]]:
    """Each sentence by itself, all of it read anew for each token."""
    found = []
    for row in x:
        y = [2]
        while len(y) < model.target_length and y[-1] != 3:
            logits = model(row[None], torch.tensor([y]))
            y.append(int(logits[0, -1].argmax()))
        found.append(y[1:])
    return found


@pytest.mark.parametrize("position", ["rotary", "learned", "t5"])
def test_one_beam_is_the_greedy_choice(position: str) -> None:
    model, (x, _) = make(position=position), batch(8)
    x[2, 4:] = 0  # a shorter source
    for row, expected in zip(model.decode(x).tolist(), greedily(model, x), strict=True):
        assert row[: len(expected)] == expected
        assert set(row[len(expected) :]) <= {3}


def log_p(model: Translator, x: Tensor, y: Tensor) -> float:
    """Mean log-probability of the tokens of one target, its end included."""
    tokens = y.tolist()
    full = torch.tensor([[2, *tokens[: tokens.index(3) + 1]]])
    scores = model(x[None], full[:, :-1]).log_softmax(-1)
    return float(scores.gather(-1, full[:, 1:, None]).mean())


def test_beams_find_likelier_translations() -> None:
    gains = []
    for seed in range(12):
        torch.manual_seed(seed)
        model, (x, _) = make(target_length=20), batch(8)
        greedy, wide = model.decode(x), model.decode(x, beams=6)
        for i in ((greedy == 3).any(1)).nonzero()[:, 0]:
            gains.append(log_p(model, x[i], wide[i]) - log_p(model, x[i], greedy[i]))
    assert len(gains) >= 10
    # a search of limited width may lose by chance, but not as a rule
    assert sum(gain >= -1e-9 for gain in gains) >= 0.8 * len(gains)
    assert sum(gains) > 0


def test_sentences_of_a_batch_do_not_meet() -> None:
    model, (x, _) = make(), batch(5)
    together = model.decode(x, beams=3)
    for i in range(5):
        alone = model.decode(x[i : i + 1], beams=3)[0].tolist()
        assert together[i].tolist()[: len(alone)] == alone


def small() -> tuple[ParallelText, Translator]:
    data = ParallelText(samples=400, val_size=40, test_size=40)
    properties = ("vocab_size", "target_vocab_size", "length", "target_length")
    more = ("tokenizer", "target_tokenizer")
    settings = {name: getattr(data, name) for name in (*properties, *more)}
    return data, Translator(dim=32, layers=1, heads=2, **settings).eval()


def test_texts_in_texts_out_from_a_checkpoint(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    data, model = small()
    fit = trainer(max_steps=2)
    fit.fit(model, data)
    fit.save_checkpoint(tmp_path / "m.ckpt")
    texts = [text for text, _ in data.pairs["test"]][:9]
    loaded = zoo.load(tmp_path / "m.ckpt")
    expected = model.eval().translate(texts, beams=2)
    assert loaded.translate(texts, beams=2) == expected
    assert translate_all(model, texts, 2) == expected


def test_figures_of_translations(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = small()
    pairs = [("a", "The cat sat on the mat ."), ("bb", "A dog ran far away today .")]
    answers = {"a": "the cat sat on the mat .", "bb": "A dog ran far away today ."}
    monkeypatch.setattr(model, "translate", lambda texts, beams: [answers[t] for t in texts])
    figures = {figure.name: figure for figure in translations(model, pairs, 3)}
    assert figures["bleu_lowercase"].value == pytest.approx(100)
    assert 80 < figures["bleu"].value < 100
    assert figures["exact"].value == 0.5
    assert "c:mixed" in figures["bleu"].meaning
    assert "c:lc" in figures["bleu_lowercase"].meaning
    assert "3 beam(s)" in figures["bleu"].meaning


def test_texts_that_cannot_be_translated() -> None:
    data, model = small()
    with pytest.raises(ValueError, match=r"'' has 0 tokens; 1 to \d+ are possible"):
        model.translate([""])
    with pytest.raises(ValueError, match=f"has 50 tokens; 1 to {data.length - 1} are possible"):
        model.translate(["the " * 50])
    with pytest.raises(ValueError, match="made without tokenizers"):
        make().translate(["text"])
