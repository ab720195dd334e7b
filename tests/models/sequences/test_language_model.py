"""The language model: what it predicts, how it goes on, and that states change nothing."""

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
from zoo.functional.tokenization import UnknownSymbolError, make_tokenizer
from zoo.metrics.text import BitsPerCharacter, Perplexity
from zoo.models.sequences.generation import beam_search, filter_logits, sample_next_token
from zoo.networks.position_encoding import POSITION_ENCODINGS
from zoo.networks.sequence_network import LAYER_TYPES

V, LENGTH = 11, 16
KINDS = [("transformer", name) for name in POSITION_ENCODINGS] + [
    (name, "none") for name in LAYER_TYPES[1:]
]


def make(**options: Any) -> LanguageModel:
    settings: dict[str, Any] = {
        "vocab_size": V, "length": LENGTH, "dim": 16, "layers": 2, "heads": 2, "init_std": 0.3
    }  # fmt: skip
    return LanguageModel(**(settings | options)).double().eval()


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(V, shape)


@pytest.mark.parametrize(("layer", "position"), KINDS)
def test_a_later_token_changes_no_earlier_logits(layer: str, position: str) -> None:
    model = make(layer_type=layer, position=position)
    x = random_tokens(2, LENGTH)
    for t in range(1, LENGTH):
        changed = x.clone()
        changed[:, t:] = (changed[:, t:] + 1) % V
        assert torch.equal(model.logits(changed)[:, :t], model.logits(x)[:, :t])


@pytest.mark.parametrize("tie", [True, False])
def test_the_first_loss_is_that_of_guessing(tie: bool) -> None:
    model = make(vocab_size=65, dim=128, init_std=0.02, tie_embeddings=tie)
    x = torch.randint(65, (64, LENGTH))
    y = torch.randint(65, (64, LENGTH))
    loss = float(model.step((x, y))["loss"].detach())
    assert loss == pytest.approx(math.log(65), abs=0.06)


def test_the_loss_is_a_mean_over_tokens_that_count() -> None:
    model = make()
    x, y = random_tokens(3, LENGTH), random_tokens(3, LENGTH)
    y[0, 3:] = -100
    y[2] = -100
    parts = model.step((x, y))
    counted = [(0, t) for t in range(3)] + [(1, t) for t in range(LENGTH)]
    log_p = model.logits(x).log_softmax(-1)
    by_hand = torch.stack([-log_p[row, t, y[row, t]] for row, t in counted])
    torch.testing.assert_close(parts["loss"], by_hand.mean())
    assert parts["weight"] == len(counted)
    nll, targets = parts["outputs"]
    perplexity, bits = Perplexity(), BitsPerCharacter([2] * V)
    for metric in (perplexity, bits):
        for i in range(3):  # batches of unequal counts
            metric.update(nll[i : i + 1], targets[i : i + 1])
    torch.testing.assert_close(perplexity.compute(), by_hand.mean().exp())
    torch.testing.assert_close(bits.compute(), by_hand.mean() / math.log(2) / 2)


def test_padding_changes_nothing() -> None:
    model = make()
    x = random_tokens(1, 5)
    expected = model.logits(x)[0]
    for places in (range(5), range(3, 8)):
        row, valid = random_tokens(1, 8), torch.zeros(1, 8, dtype=torch.bool)
        row[0, list(places)], valid[0, list(places)] = x[0], True
        torch.testing.assert_close(model.logits(row, valid)[0, list(places)], expected)


def test_a_batch_of_evaluation_windows_has_the_tokens_mean(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    """test/loss over windows, the last of them short, is the mean over all characters."""
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
    numbers = torch.tensor(data.codec.encode(data.parts["test"]))
    nll = []
    with torch.no_grad():
        for start in range(0, 76, LENGTH):
            window = numbers[start : start + LENGTH + 1]
            logits = model.eval().logits(window[None, :-1])[0]
            nll.append(F.cross_entropy(logits, window[1:], reduction="none"))
    mean = float(torch.cat(nll).mean())
    assert len(torch.cat(nll)) == 76
    assert metrics["test/loss"] == pytest.approx(mean, rel=1e-5)
    assert metrics["test/perplexity"] == pytest.approx(math.exp(mean), rel=1e-5)
    assert metrics["test/bits_per_char"] == pytest.approx(mean / math.log(2), rel=1e-5)


# -- generation ----------------------------------------------------------------------------------


def greedily(model: LanguageModel, prompt: Tensor, count: int) -> Tensor:
    """Without any state: the whole text is read for each token."""
    tokens = prompt
    for _ in range(count):
        seen = tokens
        if model.network.position.max_length is not None:
            seen = tokens[:, -LENGTH:]
        logits = model.logits(seen)[:, -1]
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    return tokens


@pytest.mark.parametrize(("layer", "position"), KINDS)
def test_greedy_going_on_equals_reading_everything_anew(layer: str, position: str) -> None:
    model = make(layer_type=layer, position=position)
    prompt = random_tokens(3, 4)
    # learned positions end with the window; the others go on past it
    count = 12 if position == "learned" else 40
    expected = greedily(model, prompt, count)
    assert torch.equal(model.generate(prompt, count, temperature=0), expected)
    assert torch.equal(model.generate(prompt, count, top_k=1), expected)


def test_learned_positions_are_read_anew_from_half_the_window() -> None:
    model = make(position="learned")
    out = model.generate(random_tokens(2, 4), 30, temperature=0)
    # position 16 would be the seventeenth token: the last 8 of 17 are read anew
    logits = model.logits(out[:, 9:17])[:, -1]
    assert torch.equal(out[:, 17], logits.argmax(-1))


def test_the_same_seed_gives_the_same_text() -> None:
    model, prompt = make(), random_tokens(2, 4)

    def drawn(seed: int) -> Tensor:
        return model.generate(prompt, 30, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(drawn(1)[:, :4], prompt)


def test_drawing_follows_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(40_000, 4)
    generator = torch.Generator().manual_seed(0)

    def shares(**options: Any) -> Tensor:
        return (
            sample_next_token(logits, generator=generator, **options).bincount(minlength=4) / 40_000
        )

    exact = logits[0].softmax(0)
    torch.testing.assert_close(shares(), exact, atol=0.01, rtol=0)
    torch.testing.assert_close(
        shares(temperature=2.0), (logits[0] / 2).softmax(0), atol=0.01, rtol=0
    )
    two = torch.tensor([0.0, 0.0, *exact[2:] / exact[2:].sum()])
    torch.testing.assert_close(shares(top_k=2), two, atol=0.01, rtol=0)
    # .644 is not yet .7, so that the second is kept too
    torch.testing.assert_close(shares(top_p=0.7), two, atol=0.01, rtol=0)
    assert shares(top_p=0.6).tolist() == [0, 0, 0, 1]


def test_truncation_never_takes_all() -> None:
    logits = torch.randn(5, V)
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"top_k": 3, "top_p": 0.5}):
        kept = filter_logits(logits, **options).isfinite()  # type: ignore[arg-type]
        assert bool(kept.any(-1).all())
        assert bool(kept.gather(1, logits.argmax(-1, keepdim=True)).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
    ],
)
def test_bad_choices(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().generate(random_tokens(1, 2), 1, **options)


@pytest.mark.parametrize("length", [0, LENGTH + 1])
def test_a_prompt_must_fit_the_window(length: int) -> None:
    with pytest.raises(ValueError, match=f"a prompt must have 1 to 16 tokens, got {length}"):
        make().generate(random_tokens(1, length), 1)


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe"])
def test_text_is_written_piece_by_piece(kind: str) -> None:
    text = "Straße, naïve; 漢字. " * 5
    tokenizer = make_tokenizer(kind, [text], vocab_size=300, spaces=True)
    model = make(vocab_size=len(tokenizer), tokenizer=tokenizer.describe(), length=64)
    pieces = list(model.write("naïve", 30, generator=torch.Generator().manual_seed(0)))
    numbers = torch.tensor([tokenizer.encode("naïve")])
    whole = model.generate(numbers, 30, generator=torch.Generator().manual_seed(0))
    expected = tokenizer.decode(whole[0, numbers.shape[1] :].tolist())
    assert expected.startswith("".join(pieces))
    assert len(pieces) > 1


def test_unknown_characters_of_a_prompt() -> None:
    tokenizer = make_tokenizer("characters", ["abc\n"])
    model = make(vocab_size=4, tokenizer=tokenizer.describe())
    with pytest.raises(UnknownSymbolError, match="'z' is not among the 4 symbols"):
        list(model.write("abz", 3))
    with pytest.raises(ValueError, match="made without a tokenizer"):
        list(make().write("abc", 3))


# -- beam search ---------------------------------------------------------------------------------


def table_step(scores: Tensor, order: int = 1) -> Callable[[Tensor, Tensor | None], Tensor]:
    """A language whose next token depends on the last one alone."""
    return lambda tokens, rows: scores[tokens]


def best_by_trying_all(scores: Tensor, start: int, end: int, length: int, penalty: float) -> Any:
    log_p, best = scores.log_softmax(-1), (-math.inf, [])
    stack: list[tuple[float, list[int]]] = [(0.0, [start])]
    while stack:
        total, sequence = stack.pop()
        for token in range(len(scores)):
            score, more = total + float(log_p[sequence[-1], token]), [*sequence, token]
            if token == end:
                best = max(best, (score / (len(more) - 1) ** penalty, more[1:]))
            elif len(more) <= length - 1 + 1 and len(more) - 1 < length:
                stack.append((score, more))
    return best[1]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(penalty: float) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        scores = 2 * torch.randn(4, 4, dtype=torch.float64)
        start = torch.tensor([1, 2])
        found = beam_search(table_step(scores), start, 0, 200, 4, penalty)
        for row, first in enumerate(start.tolist()):
            expected = best_by_trying_all(scores, first, 0, 4, penalty)
            assert found[row].tolist()[: len(expected)] == expected


def test_one_beam_is_greedy() -> None:
    torch.manual_seed(3)
    scores = torch.randn(7, 7, dtype=torch.float64)
    found = beam_search(table_step(scores), torch.tensor([1, 4]), 0, 1, 12)
    for row, token in enumerate((1, 4)):
        greedy = []
        while len(greedy) < 12 and (not greedy or greedy[-1] != 0):
            token = int(scores[token].argmax())
            greedy.append(token)
        assert found[row].tolist()[: len(greedy)] == greedy
        assert set(found[row].tolist()[len(greedy) :]) <= {0}


# -- as a model of the zoo -----------------------------------------------------------------------


def test_muon_takes_the_matrices_of_the_layers_alone() -> None:
    model = make(optimizer="muon", weight_decay=0.1, tie_embeddings=False)
    groups = model.parameter_groups()
    matrices = {p for g in groups if g["muon"] for p in g["params"] if p.ndim >= 2}
    assert model.embedding.weight not in matrices
    assert model.head is not None
    assert model.head.weight not in matrices
    assert len(matrices) == 2 * 6
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_a_checkpoint_alone_writes_text(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data = Text(max_characters=20_000, length=LENGTH)
    settings: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2}
    model = LanguageModel(data.vocab_size, LENGTH, tokenizer=data.tokenizer, **settings)
    fit = trainer(max_steps=3)
    fit.fit(model, data)
    fit.save_checkpoint(tmp_path / "m.ckpt")
    loaded = zoo.load(tmp_path / "m.ckpt")
    texts = [
        "".join(m.eval().write("import ", 20, generator=torch.Generator().manual_seed(0)))
        for m in (model, loaded)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 20


@pytest.mark.parametrize(("model", "floor"), [("language_model", 2.75), ("rnn", 3.3)])
def test_it_learns(model: str, floor: float, run: Callable[..., Path]) -> None:
    """Bits per character after a few steps lie below what the frequencies of characters give."""
    from zoo.cli.commands.reproduce import last_value

    folder = run(
        f"--model={model}", "--trainer.max_steps=120", "--data.max_characters=300000",
        "--model.schedule=constant",
    )  # fmt: skip
    data = Text(max_characters=300_000)
    counts = torch.tensor(data.codec.encode(data.text)).bincount().double()
    p = counts[counts > 0] / counts.sum()
    entropy = float(-(p * p.log2()).sum())
    bits = last_value(folder / "metrics.csv", "test/bits_per_char")
    assert bits < floor < entropy - 1
