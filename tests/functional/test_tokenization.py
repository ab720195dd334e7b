"""Tokenizers: exact round trips of text, and of the tokenizer through its JSON string."""

from __future__ import annotations

import json

import pytest

from zoo.errors import InputError
from zoo.functional.tokenization import (
    KINDS,
    UNKNOWN_ID,
    UnknownTokenError,
    load_tokenizer,
    make_tokenizer,
)

TEXT = "def naïve(x):\n    return 'straße' + x  # 漢字 and 🙂, twice: naïve naïve\n"
#: options with which decoding restores the text exactly
EXACT = {
    "characters": {}, "bytes": {}, "words": {"keep_whitespace": True},
    "bpe": {"max_vocab_size": 300},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special_tokens", [False, True])
def test_decoding_restores_the_text(kind: str, special_tokens: bool) -> None:
    made = make_tokenizer(kind, [TEXT], special_tokens=special_tokens, **EXACT[kind])  # type: ignore[arg-type]
    loaded = load_tokenizer(made.to_json())
    token_ids = made.encode(TEXT)
    assert token_ids == loaded.encode(TEXT)
    assert loaded.decode(token_ids) == TEXT
    assert max(token_ids) < len(loaded) == len(made)
    assert loaded.to_json() == made.to_json()


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "characters", "symbols": ["a", "b", " "], "specials": 0, "lowercase": False},
        {"kind": "bytes", "specials": 4, "lowercase": False},
        {
            "kind": "words", "symbols": ["<pad>", "<unk>", "<bos>", "<eos>", "a", "b", " "],
            "specials": 4, "lowercase": True, "spaces": True,
        },
    ],
)  # fmt: skip
def test_tokenizers_in_checkpoints_stay_readable(stored: dict[str, object]) -> None:
    """The keys of the JSON string do not follow the names of the constructor's arguments."""
    text = json.dumps(stored)
    tokenizer = load_tokenizer(text)
    assert tokenizer.decode(tokenizer.encode("a b")) == "a b"
    assert tokenizer.to_json() == text


def test_bpe_in_checkpoints_stays_readable() -> None:
    stored = json.loads(make_tokenizer("bpe", ["a b"], max_vocab_size=260).to_json())
    assert list(stored) == ["kind", "model", "specials", "lowercase"]


@pytest.mark.parametrize("kind", KINDS)
def test_characters_per_token_add_up_to_the_text(kind: str) -> None:
    made = make_tokenizer(kind, [TEXT], special_tokens=True, **EXACT[kind])  # type: ignore[arg-type]
    lengths = made.characters_per_token()
    assert len(lengths) == len(made)
    assert sum(lengths[i] for i in made.encode(TEXT)) == len(TEXT)
    assert sum(lengths[:4]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_have_no_text(kind: str) -> None:
    made = make_tokenizer(kind, ["ab ab"], special_tokens=True)
    assert made.num_special_tokens == 4
    token_ids = made.encode("ab")
    assert min(token_ids) >= 4
    assert made.decode([2, *token_ids, 3, 0]) == "ab"


def test_unknown_characters_are_named() -> None:
    made = make_tokenizer("characters", ["abc"])
    message = r"'x', 'ß' are not in the tokenizer's vocabulary of 3 tokens: leave them out"
    with pytest.raises(UnknownTokenError, match=message):
        made.encode("axßx")
    with_specials = make_tokenizer("characters", ["abc"], special_tokens=True)
    assert with_specials.encode("ax") == [4, UNKNOWN_ID]


def test_words_and_punctuation() -> None:
    made = make_tokenizer("words", ["It's good, it is."], lowercase=True)
    assert made.tokenize("It's good .") == ["It's", "good", "."]
    assert made.decode(made.encode("IT is bad.")) == "it is <unk>."


def test_vocabularies_of_earlier_versions_split_as_they_did() -> None:
    """They contain single punctuation marks, and decoding joins tokens with spaces."""
    symbols = ["<pad>", "<unk>", "<bos>", "<eos>", "don", "'", "t", "."]
    stored = {"kind": "words", "symbols": symbols, "specials": 4, "lowercase": False}
    text = json.dumps({**stored, "spaces": False})
    tokenizer = load_tokenizer(text)
    assert tokenizer.encode("don't.") == [4, 5, 6, 7]
    assert tokenizer.decode([4, 5, 6, 7]) == "don ' t ."
    assert tokenizer.to_json() == text


def test_names_of_special_tokens_in_a_text_are_text() -> None:
    text = "<pad> and <eos>"
    for kind in KINDS:
        made = make_tokenizer(kind, [text], max_vocab_size=300, special_tokens=True)
        token_ids = made.encode(text)
        assert min(token_ids) >= 4
        assert made.decode(token_ids) == text


def test_normal_text_is_what_decoding_returns() -> None:
    """Only whitespace outside the vocabulary and the case are changed, and unknown words kept."""
    made = make_tokenizer("words", ["a  b", "c"], lowercase=True)
    assert made.normalize(" A  b\tzebra\u2028C ") == "a  b zebra c"
    assert made.decode(made.encode("A  b\tC")) == made.normalize("A  b\tC") == "a  b c"
    whole = make_tokenizer("words", ["a  b"], keep_whitespace=True)
    assert whole.normalize(" A  b\t") == " A  b\t"
    assert make_tokenizer("bpe", ["a"], 300).normalize(" A  b\t") == " A  b\t"


def test_rare_words_are_not_in_the_vocabulary() -> None:
    made = make_tokenizer("words", ["a a a b b c"], min_count=2)
    assert made.tokens[4:] == ["a", "b"]
    assert make_tokenizer("words", ["a a a b b c"], max_vocab_size=5).tokens[4:] == ["a"]


def test_frequent_pairs_become_one_token() -> None:
    made = make_tokenizer("bpe", ["low lower lowest " * 50], max_vocab_size=270)
    assert len(made.encode("lower")) < 5
    assert made.decode(made.encode("höher")) == "höher"  # bytes that are not in the training text


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("letters", {}, r"unknown tokenizer 'letters'.*choose from characters, bytes, words, bpe"),
        ("bpe", {"max_vocab_size": 100}, "max_vocab_size must be at least 256, got 100"),
        # 3 − 4 special tokens would have kept all words but the last
        ("words", {"max_vocab_size": 3}, "max_vocab_size must be at least 4, got 3"),
    ],
)
def test_bad_settings(kind: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_tokenizer(kind, ["text"], **options)  # type: ignore[arg-type]
