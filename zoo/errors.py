"""Errors that the user can fix, and the checks that raise them.

Three kinds of error have three meanings:

* :class:`InputError`: a value that the user chose does not work, such as an argument, an option, a
  file or a checkpoint. The command line prints its message as one line and exits with code 2.
* :class:`DataError`: an :class:`InputError` about the contents of the user's data. The message
  names the file and, where there is one, the row or column.
* ``ValueError`` itself: code called a function with tensors that break its contract, such as
  shapes that do not match. It is a programming error and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHORT_LIST = 10  # an error lists all choices if there are at most this many


class InputError(ValueError):
    """A value given by the user does not work; the message says what, where and what to do."""


class DataError(InputError):
    """The user's data cannot be used; the message says where and what to do."""


class DivergedError(RuntimeError):
    """Training produced a loss or a weight that is not finite."""


# -- names ---------------------------------------------------------------------------------------


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x' or 'y'?`` for the known names nearest to ``name``, or ``""``."""
    # by lower case; the rejected name itself is never suggested
    others = {other.lower(): other for other in known if other != name}
    near = [others[n] for n in difflib.get_close_matches(name.lower(), others, n=3, cutoff=0.5)]
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the nearest known names or the whole list.

    Args:
        kind: what the name stands for, such as ``model``.
        name: the unknown name.
        known: all known names.
    """
    known = list(known)
    hint, choices = suggest(str(name), known), f"choose from {', '.join(known)}"
    if not hint:
        hint = f"; {choices}"
    elif len(known) <= SHORT_LIST:
        hint = f"{hint} ({choices})"
    return InputError(f"unknown {kind} {name!r}{hint}")


def check_choice(argument: str, value: object, choices: Iterable[str]) -> None:
    """Raise :class:`InputError` unless ``value`` is one of ``choices``."""
    choices = list(choices)
    if value not in choices:
        raise unknown(argument, value, choices)


# -- ranges: arguments are passed by name, such as check_at_least(1, latent_dim=latent_dim) ------


def check_at_least(minimum: float, **arguments: float | None) -> None:
    """Raise :class:`InputError` unless every argument is at least ``minimum``; None passes."""
    for name, value in arguments.items():
        if value is not None and not value >= minimum:
            raise InputError(f"{name} must be at least {minimum}, got {value}")


def check_non_negative(**arguments: float | None) -> None:
    """Raise :class:`InputError` unless every argument is 0 or more; None passes."""
    for name, value in arguments.items():
        if value is not None and not value >= 0:
            raise InputError(f"{name} must not be negative, got {value}")


def check_positive(**arguments: float | None) -> None:
    """Raise :class:`InputError` unless every argument is above 0; None passes."""
    for name, value in arguments.items():
        if value is not None and not value > 0:
            raise InputError(f"{name} must be positive, got {value}")


def check_fraction(**arguments: float | None) -> None:
    """Raise :class:`InputError` unless every argument is in [0, 1]; None passes."""
    for name, value in arguments.items():
        if value is not None and not 0 <= value <= 1:
            raise InputError(f"{name} must be between 0 and 1, got {value}")


def check_probability(**arguments: float | None) -> None:
    """Raise :class:`InputError` unless every argument is in [0, 1); None passes."""
    for name, value in arguments.items():
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{name} must be at least 0 and below 1, got {value}")
