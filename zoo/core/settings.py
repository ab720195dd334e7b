"""Settings in YAML files, read so that no file can run code, hang or exhaust memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import InputError

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 100
MAX_VALUES = 200_000  # with every alias replaced by its value

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the contents of a YAML file of settings.

    Tags that create Python objects are refused, and so are aliases that expand to more values than
    any settings have: nine levels of ten aliases each describe a billion values in a few lines.

    Raises:
        InputError: the file does not exist, is not YAML, is too large or too deep, contains a tag
            or a repeated key, or is not a mapping.
    """
    path = Path(path)
    text = _read(path)
    try:
        _check_depth(text, path)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _count(node, {}, path)
            _check_keys(node, path, set())
        content = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {_describe(error)}") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not valid YAML: {error}") from None  # such as 2024-13-45
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        found = {type(None): "nothing", dict: "keys that are not words"}.get(
            type(content), f"a {type(content).__name__}"
        )
        raise InputError(f"{path} must contain settings such as 'seed: 0', but it contains {found}")
    return content


def _read(path: Path) -> str:
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is not a file of settings")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is too large for a file of settings (over 16 MiB)")
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _describe(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + str(getattr(error, "problem", None) or error)


# -- limits ----------------------------------------------------------------------------------------


def _check_depth(text: str, path: Path) -> None:
    """Refuse deep nesting, on which recursive readers would run out of stack."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InputError(f"{path} is nested more than {MAX_DEPTH} levels deep")


def _count(node: yaml.Node, counts: dict[yaml.Node, int | None], path: Path) -> int:
    """Return the number of values of a node, each alias counted as often as it occurs."""
    if node not in counts:
        counts[node] = None  # while it is being counted
        counts[node] = 1 + sum(_count(child, counts, path) for child in _children(node))
    count = counts[node]
    if count is None:
        raise InputError(f"{path}, line {node.start_mark.line + 1}: a value contains itself")
    if count > MAX_VALUES:
        raise InputError(f"{path} is too large: its aliases stand for over {MAX_VALUES:,} values")
    return count


def _check_keys(node: yaml.Node, path: Path, seen: set[yaml.Node]) -> None:
    """Refuse a key that occurs twice in a mapping, since YAML would drop the first."""
    if node in seen:
        return
    seen.add(node)
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in keys:
                    line = key.start_mark.line + 1
                    raise InputError(f"{path}, line {line}: the key {key.value!r} occurs twice")
                keys.add(key.value)
    for child in _children(node):
        _check_keys(child, path, seen)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
