"""Words of any script: a text as tokens that can be joined to the same text again.

A token is a word, a symbol, or whitespace:

* A word is a run of letters, digits and combining marks. Apostrophes and similar marks inside it
  belong to it (*don't*, *l’homme*), and so do points and commas between digits (*3.14*, *1,000*).
* In scripts that put no spaces between words (Chinese characters, Hiragana, Thai, Lao, Khmer,
  Burmese), each character with its marks is a word.
* Any other character with its marks is a symbol, such as a punctuation mark, an emoji of several
  code points, or a flag.
* Single spaces are not stored. A symbol that touches its neighbor contains the mark ``GLUE`` on
  that side. Other whitespace is a token.

The rules approximate the word boundaries of Unicode Standard Annex #29; hyphens separate words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

GLUE = "\u2060"  # WORD JOINER: there is no space on this side of a token

#: blocks of scripts that put no spaces between words
UNSPACED_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x3FFFF),  # Chinese characters
    (0x3041, 0x309F),  # Hiragana
)  # fmt: skip
MARK_BLOCKS = ((0x0300, 0x1FFFF), (0xE0100, 0xE01EF))  # all blocks that contain combining marks
PIECE = re.compile(rf"[\s{GLUE}]+|[^\s{GLUE}]+")
WHITESPACE = re.compile(rf"[\s{GLUE}]*")
CACHED_LENGTH = 32  # longest piece of text whose tokens are kept in memory


def split_words(text: str) -> list[str]:
    """Split a text into tokens from which :func:`join_words` restores it exactly."""
    tokens: list[str] = []
    pieces = PIECE.findall(text)
    for i, piece in enumerate(pieces):
        if piece == " " and 0 < i < len(pieces) - 1:
            # between words of scripts without spaces, a space is a token
            if _ends_unspaced(pieces[i - 1]) and _starts_unspaced(pieces[i + 1]):
                tokens.append(piece)
        elif piece[0] == GLUE or piece[0].isspace():
            tokens.append(piece)
        elif len(piece) <= CACHED_LENGTH:
            tokens.extend(_split_cached(piece))
        else:
            tokens.extend(_split_piece(piece))
    return tokens


def join_words(tokens: Iterable[str]) -> str:
    """Join tokens, the inverse of :func:`split_words`."""
    parts: list[str] = []
    previous: str | None = None
    for token in tokens:
        if previous is not None and _has_space_between(previous, token):
            parts.append(" ")
        parts.append(token if _is_whitespace(token) else token.strip(GLUE))
        previous = token
    return "".join(parts)


def split_characterwise(text: str) -> list[str]:
    """Split a text into words, symbols, and single characters of whitespace.

    The tokens are substrings of the text, which ``"".join`` restores.
    """
    return [match[0] for match in _pattern().finditer(text)]


def unspaced_script(text: str) -> str | None:
    """Return the script of a text that puts no spaces between words: ``chinese`` or ``other``.

    None if most letters are of other scripts.
    """
    letters = [character for character in text if character.isalpha()]
    unspaced = re.findall(_unspaced(), text)
    if 2 * len(unspaced) <= len(letters):
        return None
    num_chinese = sum(character >= "\u2e80" and not "\u3041" <= character <= "\u309f"
                      for character in unspaced)  # fmt: skip
    return "chinese" if 10 * num_chinese > 9 * len(unspaced) else "other"


def _has_space_between(first: str, second: str) -> bool:
    if first.endswith(GLUE) or second.startswith(GLUE):
        return False
    if _is_whitespace(first) or _is_whitespace(second):
        return False
    return not (_starts_unspaced(first.strip(GLUE)) and _starts_unspaced(second))


def _is_whitespace(token: str) -> bool:
    return WHITESPACE.fullmatch(token) is not None


def _starts_unspaced(text: str) -> bool:
    return not text.isascii() and re.match(_unspaced(), text) is not None


def _ends_unspaced(text: str) -> bool:
    if text.isascii():
        return False
    *_, last = _pattern().finditer(text)
    return last.lastgroup == "unspaced"


@lru_cache(maxsize=1 << 16)
def _split_cached(piece: str) -> tuple[str, ...]:
    return _split_piece(piece)


def _split_piece(piece: str) -> tuple[str, ...]:
    """Split a text without whitespace, and mark where tokens touch."""
    if piece.isascii() and piece.isalnum():  # the common case
        return (piece,)
    matches = list(_pattern().finditer(piece))
    tokens = [match[0] for match in matches]
    kinds = [match.lastgroup for match in matches]
    for i in range(1, len(tokens)):
        if kinds[i - 1] == kinds[i] == "unspaced":
            continue
        if kinds[i - 1] == "symbol" != kinds[i]:
            tokens[i - 1] += GLUE
        else:
            tokens[i] = GLUE + tokens[i]
    return tuple(tokens)


# -- the pattern of tokens -----------------------------------------------------------------------


@cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of a token; the group that matches is its kind."""
    marks, unspaced = _marks(), _unspaced()
    letter = rf"[^\W{unspaced[1:-1]}]"  # letters and digits of scripts with spaces
    word = rf"""
        {letter}
        (?: {letter} | {marks}
          | ['’＇·‧\u05F4\u00AD\u200C\u200D](?={letter})   # apostrophes, middle dots, joiners
          | \u05F3                                         # Hebrew geresh, also at the end
          | (?<=\d)[.,\u066B\u066C](?=\d)                  # decimal and thousands separators
        )*
    """
    # Khmer and Burmese write a consonant below the one before it
    unspaced_word = rf"{unspaced}{marks}*(?:(?<=[\u17D2\u1039]){unspaced}{marks}*)*"
    symbol = rf"""
        (?: [\U0001F1E6-\U0001F1FF]{{2}}                   # a flag is two letters
          | [^\s{GLUE}]
            (?: {marks} | [\U0001F3FB-\U0001F3FF\U000E0020-\U000E007F]   # colors, tags of emoji
              | \u200D[^\w\s{GLUE}]                        # emoji of several emoji
            )*
        )
    """
    return re.compile(
        rf"(?P<word>{word})|(?P<unspaced>{unspaced_word})|(?P<symbol>{symbol})|[\s{GLUE}]",
        re.VERBOSE,
    )


@cache
def _marks() -> str:
    """Return the character class of combining marks."""
    return _character_class(MARK_BLOCKS, lambda c: unicodedata.category(c).startswith("M"))


@cache
def _unspaced() -> str:
    """Return the character class of letters of scripts that put no spaces between words."""
    return _character_class(
        UNSPACED_BLOCKS, lambda c: c.isalpha() or unicodedata.category(c) in ("Nl", "So")
    )


def _character_class(blocks: Sequence[tuple[int, int]], belongs: Callable[[str], bool]) -> str:
    """Return the character class of a regular expression for some characters of blocks.

    Args:
        blocks: first and last code points of the blocks.
        belongs: function that returns whether a character is in the class.
    """
    ranges: list[list[int]] = []
    for first, last in blocks:
        for code in range(first, last + 1):
            if not belongs(chr(code)):
                continue
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges) + "]"
