"""Tokenizers: what they read they write again, from their own description alone."""

from __future__ import annotations

import json

import pytest

from zoo.functional.tokenization import (
    KINDS,
    UnknownSymbolError,
    load_tokenizer,
    make_tokenizer,
)

TEXT = "def naïve(x):\n    return 'straße' + x  # 漢字 and 🙂, twice: naïve naïve\n"
EXACT = {"characters": {}, "bytes": {}, "words": {"spaces": True}, "bpe": {"vocab_size": 300}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("specials", [False, True])
def test_decoding_gives_the_very_text(kind: str, specials: bool) -> None:
    made = make_tokenizer(kind, [TEXT], specials=specials, **EXACT[kind])  # type: ignore[arg-type]
    loaded = load_tokenizer(made.describe())
    numbers = made.encode(TEXT)
    assert numbers == loaded.encode(TEXT)
    assert loaded.decode(numbers) == TEXT
    assert max(numbers) < len(loaded) == len(made)
    json.loads(made.describe())


@pytest.mark.parametrize("kind", KINDS)
def test_characters_of_the_pieces_add_up(kind: str) -> None:
    made = make_tokenizer(kind, [TEXT], specials=True, **EXACT[kind])  # type: ignore[arg-type]
    lengths = made.characters()
    assert len(lengths) == len(made)
    assert sum(lengths[number] for number in made.encode(TEXT)) == len(TEXT)
    assert sum(lengths[:4]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_specials_are_no_text(kind: str) -> None:
    made = make_tokenizer(kind, ["ab ab"], specials=True)
    assert made.specials == 4
    numbers = made.encode("ab")
    assert min(numbers) >= 4
    assert made.decode([2, *numbers, 3, 0]) == "ab"


def test_unknown_characters_are_named() -> None:
    made = make_tokenizer("characters", ["abc"])
    with pytest.raises(UnknownSymbolError, match=r"'x', 'ß' are not among the 3 symbols"):
        made.encode("axßx")
    assert make_tokenizer("characters", ["abc"], specials=True).encode("ax") == [4, 1]


def test_words_and_punctuation() -> None:
    made = make_tokenizer("words", ["It's good, it is."], lowercase=True)
    assert made.split("It's good.") == ["It", "'", "s", "good", "."]
    assert made.decode(made.encode("IT is bad.")) == "it is <unk> ."


def test_rare_words_are_left_out() -> None:
    made = make_tokenizer("words", ["a a a b b c"], min_count=2)
    assert made.symbols[4:] == ["a", "b"]
    assert make_tokenizer("words", ["a a a b b c"], vocab_size=5).symbols[4:] == ["a"]


def test_frequent_pairs_become_one_piece() -> None:
    made = make_tokenizer("bpe", ["low lower lowest " * 50], vocab_size=270)
    assert len(made.encode("lower")) < 5
    assert made.decode(made.encode("höher")) == "höher"  # bytes it has never seen together


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("letters", {}, "unknown tokenizer 'letters'; choose from characters, bytes, words, bpe"),
        ("bpe", {"vocab_size": 100}, "vocab_size of bpe must be at least 256, got 100"),
    ],
)
def test_bad_settings(kind: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_tokenizer(kind, ["text"], **options)  # type: ignore[arg-type]
