"""Translator: decoder attention, padding, loss, beam search, translation of texts."""

from __future__ import annotations

import warnings
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
from zoo.core.report import concatenate_batches
from zoo.errors import InputError
from zoo.evaluation.translation import measure_translation
from zoo.functional.tokenization import KINDS, make_tokenizer

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


def test_the_decoder_does_not_look_ahead_and_attends_to_the_whole_source() -> None:
    model, (x, y) = make(), batch()
    logits = model(x, y)
    later_changed = y.clone()
    later_changed[:, 3:] = 4
    assert torch.equal(model(x, later_changed)[:, :3], logits[:, :3])
    source_changed = x.clone()
    source_changed[:, -1] = (source_changed[:, -1] - 3) % (V - 4) + 4
    assert bool(((model(source_changed, y) - logits).abs().amax(-1) > 1e-6).all())


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
    mean_log_p = log_p.gather(-1, y[:, 1:, None]).mean()
    torch.testing.assert_close(parts["nll"], -mean_log_p)
    torch.testing.assert_close(parts["loss"], -(0.9 * mean_log_p + 0.1 * log_p.mean()))


def test_padding_is_not_counted() -> None:
    model, (x, y) = make(label_smoothing=0.1), batch()
    y[0, 4:] = 0
    targets = y[:, 1:]
    is_token = targets != 0
    parts = model.step((x, y))
    logits = model(x, y[:, :-1])
    log_p = logits.log_softmax(-1)[is_token]  # (13, V)
    token_log_p = log_p[range(13), targets[is_token]]
    torch.testing.assert_close(parts["nll"], -token_log_p.mean())
    torch.testing.assert_close(parts["loss"], -(0.9 * token_log_p.mean() + 0.1 * log_p.mean()))
    assert parts["weight"] == 13
    nll, found = parts["outputs"]
    assert torch.equal(found, torch.where(is_token, targets, -100))
    torch.testing.assert_close(nll[is_token], -token_log_p)
    # the most likely tokens as targets, but for two errors; padding is never correct
    best = logits.argmax(-1)
    assert best[0, 0] != 0
    y = torch.cat([y[:, :1], torch.where(is_token, best, 0)], 1)
    correct = (model(x, y[:, :-1]).argmax(-1) == y[:, 1:]) & (y[:, 1:] != 0)
    expected = float(correct.sum() / (y[:, 1:] != 0).sum())
    assert float(model.step((x, y))["accuracy"]) == pytest.approx(expected)
    assert expected > 0


def decode_greedily(model: Translator, x: Tensor) -> list[list[int]]:
    """Return the greedy targets, computed one sentence at a time and without a state."""
    targets = []
    for row in x:
        y = [2]
        while len(y) < model.target_length and y[-1] != 3:
            logits = model(row[None], torch.tensor([y]))
            y.append(int(logits[0, -1].argmax()))
        targets.append(y[1:])
    return targets


@pytest.mark.parametrize("position", ["rotary", "learned", "t5"])
def test_one_beam_is_greedy_decoding(position: str) -> None:
    model, (x, _) = make(position=position), batch(8)
    x[2, 4:] = 0  # a shorter source
    for row, expected in zip(model.generate(x).tolist(), decode_greedily(model, x), strict=True):
        assert row[: len(expected)] == expected
        assert set(row[len(expected) :]) <= {3}


def mean_log_p(model: Translator, x: Tensor, y: Tensor) -> float:
    """Return the mean log-probability of the tokens of a target, the end token included."""
    token_ids = y.tolist()
    target = torch.tensor([[2, *token_ids[: token_ids.index(3) + 1]]])
    log_p = model(x[None], target[:, :-1]).log_softmax(-1)
    return float(log_p.gather(-1, target[:, 1:, None]).mean().detach())


def test_more_beams_find_more_likely_targets() -> None:
    gains = []
    for seed in range(12):
        torch.manual_seed(seed)
        model, (x, _) = make(target_length=20), batch(8)
        greedy, searched = model.generate(x), model.generate(x, num_beams=6)
        for i in (greedy == 3).any(1).nonzero()[:, 0]:
            gains.append(mean_log_p(model, x[i], searched[i]) - mean_log_p(model, x[i], greedy[i]))
    assert len(gains) >= 10
    # beam search may miss the greedy target, but rarely does
    assert sum(gain >= -1e-9 for gain in gains) >= 0.8 * len(gains)
    assert sum(gains) > 0


def test_sentences_of_a_batch_do_not_influence_each_other() -> None:
    model, (x, _) = make(), batch(5)
    together = model.generate(x, num_beams=3)
    for i in range(5):
        alone = model.generate(x[i : i + 1], num_beams=3)[0].tolist()
        assert together[i].tolist()[: len(alone)] == alone


def make_with_data() -> tuple[ParallelText, Translator]:
    data = ParallelText(num_samples=400, val_size=40, test_size=40)
    properties = ("vocab_size", "target_vocab_size", "length", "target_length")
    tokenizers = ("tokenizer", "target_tokenizer")
    settings = {name: getattr(data, name) for name in (*properties, *tokenizers)}
    return data, Translator(dim=32, layers=1, heads=2, **settings).eval()


def test_a_loaded_checkpoint_translates_the_same(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    data, model = make_with_data()
    fit = trainer(max_steps=2)
    fit.fit(model, data)
    fit.save_checkpoint(tmp_path / "m.ckpt")
    texts = [text for text, _ in data.sentence_pairs["test"]][:9]
    loaded = zoo.load(tmp_path / "m.ckpt")
    expected = model.eval().translate(texts, num_beams=2)
    assert loaded.translate(texts, num_beams=2) == expected
    assert [loaded.translate([text], num_beams=2)[0] for text in texts] == expected


def test_exact_leaves_out_whitespace_that_is_not_in_the_vocabulary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = make_tokenizer("words", ["a good film .", "so  bad"], lowercase=True)
    made = make(
        length=50, target_length=50, tokenizer=tokenizer.to_json(),
        target_tokenizer=tokenizer.to_json(),
    )  # fmt: skip
    references = ["A good\u2028film .", "a\tgood film .", "so  bad film .", "a good film ."]
    monkeypatch.setattr(made, "generate", lambda x, *_: torch.where(x == 0, 3, x))
    pairs = [(reference, reference) for reference in references]
    exact = {metric.name: metric for metric in measure_translation(made, pairs)}["exact"]
    assert exact.value == 1
    assert exact.meaning.endswith(
        "equal to the reference in lower case, without whitespace that is not in the vocabulary "
        "(2 references)"
    )
    assert made.translate(references) == [
        "a good film .", "a good film .", "so  bad film .", "a good film ."
    ]  # fmt: skip


def test_no_texts_have_no_translations() -> None:
    _, model = make_with_data()
    assert model.translate([]) == []
    assert model.translate([], num_beams=2) == []


def test_translation_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = make_with_data()
    pairs = [("a", "The cat sat on the mat ."), ("bb", "A dog ran far away today .")]
    answers = {"a": "the cat sat on the mat .", "bb": "A dog ran far away today ."}
    monkeypatch.setattr(model, "translate", lambda texts, *_, **__: [answers[t] for t in texts])
    metrics = {metric.name: metric for metric in measure_translation(model, pairs, 3)}
    assert metrics["bleu_lowercase"].value == pytest.approx(100)
    assert 80 < metrics["bleu"].value < 100
    assert metrics["exact"].value == 0.5
    assert "c:mixed" in metrics["bleu"].meaning
    assert "c:lc" in metrics["bleu_lowercase"].meaning
    assert "3 beams; " in metrics["bleu"].meaning


PERFECT = {
    "words": ["don't go , he said", 'it\'s 3.14 (about) "pi"!', "well-known e\u0301te\u0301 a b"],
    "indic": ["नमस्ते दुनिया, कैसे हो तुम?", "मैं ठीक हूँ और तुम ।"],
    "hebrew": ["שָׁלוֹם עולם מה שלומך", "ג׳ורג׳ הלך הביתה אתמול ."],
    "arabic": ["می‌خواهم به خانه بروم", "مرحبا، كيف حالك اليوم؟"],
    "thai": ["สวัสดีชาวโลก สบายดีไหม", "ขอบคุณ"],
    "chinese": ["你好，世界。", "我 爱 你 OK"],
    "japanese": ["これは本です。", "はい、そうです"],
    "emoji": ["👨‍👩‍👧 👍🏽🇩🇪🇫🇷 1️⃣ ok", "so 😀😀 good !"],
    "separators": ["a\u2028b c\x85d e", "one\x0btwo\x0cthree  four\xa0five"],
    "code": ["for (i=0; i<10; ++i) { a[i] *= 2; } // ok", "x = \"it's\\n\" + f'{y!r}'  # end"],
    "links": ["see https://example.com/a?b=c&d=e#f_g now", "mail me@x.co.uk or @you #tag_1 $5 5%"],
    "quotes": ["“double” ‘single’ «guillemets» ‚low‘", "rock 'n' roll, James' hat, '90s --- …"],
    "korean": ["한국어 문장입니다 참 좋다.", "안녕\u1112\u1161\u11ab  하세요 여러분"],
    "marks": ["abc \u202bעברית\u202c d e f", "zero\u200bwidth soft\u00adhyphen a b c"],
    "short": ["yes", "no no"],
}


@pytest.mark.parametrize("script", PERFECT)
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_perfect_translator_has_perfect_metrics(
    script: str, lowercase: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens are those of the references, in batches that are sorted by length."""
    references = PERFECT[script]
    tokenizer = make_tokenizer(
        kind, references, max_vocab_size=400, special_tokens=True, lowercase=lowercase
    ).to_json()
    model = make(length=200, target_length=200, tokenizer=tokenizer, target_tokenizer=tokenizer)

    def answer(x: Tensor, *_: Any) -> Tensor:  # the source, which is the reference
        return torch.where(x == 0, 3, x)

    monkeypatch.setattr(model, "generate", answer)
    pairs = [(reference, reference) for reference in references]
    metrics = {metric.name: metric for metric in measure_translation(model, pairs)}
    assert metrics["exact"].value == 1
    assert metrics["bleu_lowercase"].value == pytest.approx(100)
    if not lowercase:
        assert metrics["bleu"].value == pytest.approx(100)
    signs = {"chinese": "tok:zh", "thai": "tok:char", "japanese": "tok:char"}
    assert signs.get(script, "tok:13a") in metrics["bleu"].meaning
    is_short = "BLEU-2, as no reference has 3 tokens" in metrics["bleu"].meaning
    assert is_short == (script == "short")


def test_translations_that_do_not_end_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = make_with_data()
    answers = torch.tensor([[5, 6, 3], [5, 6, 7]])
    monkeypatch.setattr(model, "generate", lambda *_: answers)
    limit = model.target_length - 1
    message = f"1 of 2 translations are cut at {limit} tokens, one more than the longest target"
    with pytest.warns(UserWarning, match=message):
        translations = model.translate(["may", "june"])
    decode = model.tokenizers[1].decode
    assert translations == [decode([5, 6]), decode([5, 6, 7])]


def test_unknown_words_of_a_text_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = make_with_data()
    monkeypatch.setattr(model, "generate", lambda *_: torch.full((1, 1), 3))
    with pytest.warns(UserWarning, match="50.0% of the tokens of the texts are not in the voc"):
        model.translate(["may horse"])


def test_texts_are_cut_only_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = make_with_data()
    seen: list[int] = []
    monkeypatch.setattr(
        model, "generate", lambda x, *_: seen.append(x.shape[1]) or torch.full((1, 1), 3)
    )
    limit = data.length - 1
    with pytest.warns(UserWarning, match=f"1 of 1 texts are cut at {limit} tokens, the length of"):
        model.translate(["the " * (limit + 9)], cut=True)
    assert seen == [limit + 1]


def test_predictions_are_translations(trainer: Callable[..., L.Trainer]) -> None:
    data, model = make_with_data()
    sources = [source for source, _ in data.sentence_pairs["test"]]
    runner = trainer()
    outputs = concatenate_batches(runner.predict(model, data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an untrained model does not end its sentences
        columns = model.prediction_columns(outputs, data)
        assert columns == {"translation": model.translate(sources)}


def test_texts_that_cannot_be_translated() -> None:
    data, model = make_with_data()
    with pytest.raises(InputError, match=r"'' has 0 tokens, but a text must have 1 to \d+"):
        model.translate([""])
    with pytest.raises(
        InputError, match=f"has 150 tokens, but a text must have 1 to {data.length - 1}"
    ):
        model.translate(["the " * 150])
    with pytest.raises(InputError, match="num_beams must be at least 1, got 0"):
        model.translate(["the cat"], num_beams=0)
    with pytest.raises(InputError, match="Translator was created without tokenizers"):
        make().translate(["text"])


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="target_vocab_size must be at least 1, got 0"):
        make(target_vocab_size=0)
    with pytest.raises(InputError, match="layer_type='lstm' does not support cross-attention"):
        make(layer_type="lstm")
