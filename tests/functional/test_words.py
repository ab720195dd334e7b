"""Words of any script: what is one token, and that tokens are joined to the same text again."""

from __future__ import annotations

import random

import pytest

from zoo.functional.tokenization import UNKNOWN_ID, load_tokenizer, make_tokenizer
from zoo.functional.words import (
    GLUE,
    join_words,
    split_characterwise,
    split_words,
    unspaced_script,
)

#: text → its tokens, with + for GLUE
TOKENS = {
    "don't stop": ["don't", "stop"],
    "rock’n’roll, James' hat": ["rock’n’roll", "+,", "James", "+'", "hat"],
    "pi is 3.14, not 1,000.": ["pi", "is", "3.14", "+,", "not", "1,000", "+."],
    "the twenty-third , dull": ["the", "twenty", "+-+", "third", ",", "dull"],
    "नमस्ते दुनिया!": ["नमस्ते", "दुनिया", "+!"],
    "שָׁלוֹם עולם ג׳": ["שָׁלוֹם", "עולם", "ג׳"],
    "می‌خواهم، مرحبا": ["می‌خواهم", "+،", "مرحبا"],
    "สวัสดี ชาว": ["ส", "วั", "ส", "ดี", " ", "ช", "า", "ว"],
    "ខ្មែរ": ["ខ្មែ", "រ"],
    "你好，世界 ok": ["你", "好", "+，+", "世", "界", "ok"],
    "한국어 문장": ["한국어", "문장"],
    "e\u0301te\u0301 naïve": ["e\u0301te\u0301", "naïve"],
    "👨‍👩‍👧 👍🏽 🇩🇪🇫🇷 1️⃣": ["👨‍👩‍👧", "👍🏽", "🇩🇪", "+🇫🇷", "1️⃣"],
    '"I saw (it)..."': ['"+', "I", "saw", "(+", "it", "+)", "+.", "+.", "+.", '+"'],
    "a\u2028b  c\x85d": ["a", "\u2028", "b", "  ", "c", "\x85", "d"],
    "": [],
}


@pytest.mark.parametrize("text", TOKENS)
def test_words_are_kept_whole(text: str) -> None:
    assert [token.replace(GLUE, "+") for token in split_words(text)] == TOKENS[text]


@pytest.mark.parametrize(
    "text", [*TOKENS, " a ", " ", GLUE, f"{GLUE}a{GLUE} {GLUE}", "U.S. 10\xa0€"]
)
def test_joining_restores_the_text(text: str) -> None:
    assert join_words(split_words(text)) == text
    assert "".join(split_characterwise(text)) == text


def test_joining_restores_any_text() -> None:
    rng = random.Random(0)
    characters = [
        *map(chr, range(32, 127)),
        *" \t\x85\u2028\u200d\u0301\ufe0f你ก\u0e31្ក👨🇩א׳٠٫",
        GLUE,
    ]
    for _ in range(5_000):
        text = "".join(rng.choices(characters, k=rng.randrange(12)))
        other = "".join(chr(rng.randrange(0xD800)) for _ in range(6))
        for example in (text, other, f"{other} {text}"):
            assert join_words(split_words(example)) == example
            assert "".join(split_characterwise(example)) == example


@pytest.mark.parametrize("text", [text for text in TOKENS if text])
def test_the_tokenizer_restores_text_of_every_script(text: str) -> None:
    made = load_tokenizer(make_tokenizer("words", [text]).to_json())
    token_ids = made.encode(text)
    assert UNKNOWN_ID not in token_ids
    assert made.decode(token_ids) == text


def test_whitespace_that_is_not_in_the_vocabulary_is_left_out() -> None:
    made = make_tokenizer("words", ["a good film"])
    assert made.encode(" a \t good\u2028film\n") == made.encode("a good film")
    assert made.token_text(made.encode("a")[0]) == "a"


def test_displayed_tokens_have_no_marks() -> None:
    made = make_tokenizer("words", ["well-known."])
    assert [made.token_text(i) for i in made.encode("well-known.")] == ["well", "-", "known", "."]


def test_scripts_without_spaces() -> None:
    assert unspaced_script("你好 world") is None
    assert unspaced_script("你好，世界 ok") == "chinese"
    assert unspaced_script("これは本です") == unspaced_script("สวัสดี") == "other"
    assert unspaced_script("") is None
