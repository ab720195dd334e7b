"""Dates in English words and in ISO 8601."""

from __future__ import annotations

import datetime
import random

UNITS = [
    "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth", "twenty": "twentieth", "thirty": "thirtieth",
}  # fmt: skip
FIRST_DATE, LAST_DATE = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


def generate_dates(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Generate dates of two centuries in words, with their translation to ISO 8601.

    *the twenty-third of may nineteen eighty-six* is 1986-05-23, and so are *may the twenty-third
    nineteen eighty-six* and *friday the twenty-third of may nineteen eighty-six*: the order varies,
    and the weekday does not occur in the translation.

    Args:
        count: number of dates.
        seed: random seed of the dates, default 0.
    """
    rng = random.Random(seed)
    days = (LAST_DATE - FIRST_DATE).days + 1
    pairs: list[tuple[str, str]] = []
    for _ in range(count):
        date = FIRST_DATE + datetime.timedelta(days=rng.randrange(days))
        month, weekday = date.strftime("%B").lower(), date.strftime("%A").lower()
        day, year = ordinal_in_words(date.day), year_in_words(date.year)
        pattern = rng.choice(["the {d} of {m} {y}", "{m} the {d} {y}", "{w} the {d} of {m} {y}"])
        pairs.append((pattern.format(d=day, m=month, y=year, w=weekday), date.isoformat()))
    return pairs


def number_in_words(value: int) -> str:
    """Return a number below 100 in words, such as *twenty-three*; *""* for 0."""
    if value < len(UNITS):
        return UNITS[value]
    return f"{TENS[value // 10]}-{UNITS[value % 10]}".rstrip("-")


def ordinal_in_words(value: int) -> str:
    """Return an ordinal number below 100 in words, such as *first* or *twenty-third*."""
    tens, dash, last = number_in_words(value).rpartition("-")
    return tens + dash + ORDINALS.get(last, f"{last}th")


def year_in_words(year: int) -> str:
    """Return a year in words.

    Examples: *nineteen eighty-six*, *nineteen hundred*, *nineteen oh five*, *two thousand five*,
    *twenty twelve*.
    """
    century, rest = divmod(year, 100)
    if 2000 <= year < 2010:
        return f"two thousand {number_in_words(rest)}".strip()
    return f"{number_in_words(century)} {number_in_words(rest) if rest > 9 else _early_year(rest)}"


def _early_year(rest: int) -> str:
    return f"oh {UNITS[rest]}" if rest else "hundred"
