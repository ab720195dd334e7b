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
import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

#: a number, or several by position or by name
Numbers = float | None | Sequence[float | None] | Mapping[str, float]

SHORT_LIST = 10  # an error lists all choices if there are at most this many


class InputError(ValueError):
    """A value given by the user does not work; the message says what, where and what to do."""


class DataError(InputError):
    """The user's data cannot be used; the message says where and what to do."""


class DivergedError(RuntimeError):
    """Training produced a loss or a weight that is not finite."""


# -- files ---------------------------------------------------------------------------------------

#: error number of the operating system → what the user can do
REMEDIES = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there",
    errno.EIO: "check the disk",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENOENT: "check that its folder still exists",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def writing(path: str | Path, hint: str = "") -> Iterator[None]:
    """Raise a one-line error if the operating system refuses to write a file.

    ``torch.save`` hides the system's error behind a RuntimeError, which is looked through.

    Args:
        path: file to write, for the message.
        hint: end of the message, after the remedy; default none.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = system_error(error)
        if cause is None:
            raise
        raise InputError(f"cannot write {path}: {describe_system_error(cause, hint)}") from error


def system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the operating system that caused an exception, or None."""
    while error is not None and not (isinstance(error, OSError) and error.errno):
        error = error.__cause__ or error.__context__
    return error


def describe_system_error(error: OSError, hint: str = "") -> str:
    """Return the reason of the operating system, its remedy and a hint; see :func:`writing`."""
    number = error.errno or 0
    return f"{os.strerror(number)}; {REMEDIES.get(number, 'check the path')}{hint and ', ' + hint}"


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
        kind: kind of thing that has the name, such as ``model``.
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


def check_folder_name(argument: str, name: str) -> None:
    """Raise :class:`InputError` unless ``name`` is the name of a folder, not a path to another."""
    if not name.strip(" .") or any(c in "/\\:" or not c.isprintable() for c in name):
        raise InputError(f"{argument} must be the name of a folder, without slashes, got {name!r}")


# -- ranges: arguments are passed by name, such as check_at_least(1, latent_dim=latent_dim) ------
# A list, tuple or dictionary is checked value by value; None passes.


def check_at_least(minimum: int, **arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is an integer of at least ``minimum``."""
    check_integer(**arguments)
    _check(lambda number: number >= minimum, f"at least {minimum}", arguments)


def check_integer(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is an integer."""
    for name, value in arguments.items():
        if not all(isinstance(item, Integral) for item in _items(value)):
            raise InputError(f"{name} must be an integer, got {value!r}")


def check_non_negative(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is 0 or more."""
    for name, value in arguments.items():
        if not all(number >= 0 for number in _numbers(name, value)):
            raise InputError(f"{name} must not be negative, got {value!r}")


def check_positive(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is above 0."""
    _check(lambda number: number > 0, "positive", arguments)


def check_fraction(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is in [0, 1]."""
    _check(lambda number: 0 <= number <= 1, "between 0 and 1", arguments)


def check_probability(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is in [0, 1)."""
    _check(lambda number: 0 <= number < 1, "at least 0 and below 1", arguments)


def check_count_or_fraction(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is in [0, 1), or an integer."""
    check_non_negative(**arguments)
    _check(
        lambda number: number < 1 or number == int(number),
        "a fraction below 1 or a whole number",
        arguments,
    )


def check_finite(**arguments: Numbers) -> None:
    """Raise :class:`InputError` unless every argument is a finite number."""
    _check(lambda number: not math.isnan(number), "a number", arguments)


def check_interval(**arguments: Sequence[float] | None) -> None:
    """Raise :class:`InputError` unless every argument is two ascending numbers, or None."""
    for name, value in arguments.items():
        if value is not None and not (len(_numbers(name, value)) == 2 and value[0] < value[1]):
            raise InputError(f"{name} must be two ascending numbers, got {value!r}")


def _check(
    holds: Callable[[float], bool], requirement: str, arguments: Mapping[str, Numbers]
) -> None:
    for name, value in arguments.items():
        if not all(holds(number) for number in _numbers(name, value)):
            raise InputError(f"{name} must be {requirement}, got {value!r}")


def _numbers(name: str, value: Numbers) -> list[float]:
    """Return the numbers in an argument, after checking that they are numbers."""
    items = _items(value)
    if not all(isinstance(item, Real) for item in items):
        raise InputError(f"{name} must be a number, got {value!r}")
    if any(math.isinf(item) for item in items):
        raise InputError(f"{name} must be finite, got {value!r}")
    return items


def _items(value: Numbers) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [value]
