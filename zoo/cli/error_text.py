"""One-line messages for errors of jsonargparse, which are several paragraphs about types."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from zoo.errors import suggest

KEY = re.compile(r'Parser key "([^"]+)"')
OPTION = re.compile(r"Option '([^']+)' is not accepted")
UNRECOGNIZED = re.compile(r"unrecognized arguments: (--[^\s=]+)", re.IGNORECASE)
EXPECTED = re.compile(r"Expected an? <class '([^']+)'>")
GOT = re.compile(r"(?:Got value|Given value): (.+)")
LINK = re.compile(r"^Call to compute_fn of link .* failed: ", re.DOTALL)
CHOICES = re.compile(r"Expected a typing\.Literal\[([^\]]+)\]")
LEAF = re.compile(
    r"^\s*- (?!Expected an? <class 'NoneType'>)(?!Does not validate)(?!Parser key)(.+)"
)


def one_line(message: str, options: Collection[str], arguments: Mapping[str, set[str]]) -> str:
    """Return an error of jsonargparse as one line that names the option and suggests similar ones.

    Args:
        message: text of the error.
        options: all options of the parser, such as ``--trainer.max_epochs``.
        arguments: names of the constructor arguments of the chosen classes, under the keys
            ``model`` and ``data``.
    """
    message = LINK.sub("", message)
    if found := UNRECOGNIZED.search(message):
        return f"unknown option {found[1]}{suggest(found[1], options)}"
    keys = [key for key in KEY.findall(message) if key != "config"]
    if found := OPTION.search(message):
        key = ".".join([*keys, found[1]])
        known = [f"--{keys[0]}.{name}" for name in arguments.get(keys[0], ())] if keys else []
        return f"unknown option --{key}{suggest('--' + key, known)}"
    values = [value for value in GOT.findall(message) if not value.startswith("NestedArg")]
    if keys and values and (choices := CHOICES.search(message)):
        return f"--{'.'.join(keys)} must be one of {choices[1]}, got {values[0]!r}"
    types = [t for t in EXPECTED.findall(message) if t != "NoneType"]
    if types and values and keys:
        names = " or ".join(dict.fromkeys(t.rpartition(".")[2] for t in types))
        return f"--{'.'.join(keys)} must be of type {names}, got {values[0]!r}"
    leaves = [found[1] for line in message.splitlines() if (found := LEAF.match(line))]
    if leaves:
        return _leaf(leaves[0], message, keys)
    return " ".join(message.split())


def _leaf(leaf: str, message: str, keys: list[str]) -> str:
    """Return an error raised inside a class, joined with the next line if it ends in a colon."""
    text = leaf.rstrip()
    if text.endswith(":"):
        following = message.split(leaf, 1)[1].strip().splitlines()
        reason = following[0].strip() if following else ""
        text = f"{text} {reason}"
    text = text.replace("Problem with given class_path", "cannot use")
    return f"--{'.'.join(keys)}: {text}" if keys else text
