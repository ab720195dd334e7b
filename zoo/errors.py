"""What goes wrong in a way that a user can mend, and how names are suggested."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input does not work; the message says what, where and what to do."""


class DivergedError(RuntimeError):
    """Training met a loss or a weight that is not finite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x' or 'y'?`` for the known names nearest to ``name``, or nothing."""
    others = [other for other in known if other != name]  # a name that is refused is no advice
    near = difflib.get_close_matches(name, others, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no list: nearest names first, else all of them."""
    known = list(known)
    hint = suggest(name, known) or f"; known: {', '.join(known)}"
    return InputError(f"unknown {kind} {name!r}{hint}")
