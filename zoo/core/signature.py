"""Signatures of constructors that pass arguments on to their parents through ``**``."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from zoo.errors import suggest

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_arguments(cls: type, arguments: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for an argument that no constructor in the chain takes.

    The message names the nearest known arguments.

    Args:
        cls: class whose constructor is called.
        arguments: keyword arguments of the call.
    """
    known = full_signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for name in arguments:
        if name not in known:
            raise TypeError(
                f"{cls.__name__}() got an unexpected argument {name!r}"
                f"{suggest(name, known) or '; it takes ' + ', '.join(known)}"
            )


def arguments_by_name(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of a constructor by name."""
    names = [p.name for p in full_signature(cls).parameters.values() if p.kind in POSITIONAL]
    return {**dict(zip(names, args, strict=False)), **kwargs}


@cache
def full_signature(cls: type) -> inspect.Signature:
    """Return the signature of a constructor with all arguments of the chain of constructors.

    Arguments that reach a parent class through ``**`` are keyword-only, and through ``*``
    positional. An argument that a subclass sets itself, as in ``super().__init__(latent_dim=8,
    **vae)``, is not part of its signature.
    """
    found: dict[str, inspect.Parameter] = {}
    fixed: set[str] = set()
    by_position, rest = True, []
    for init, following in pairwise([*_chain(cls), None]):
        for p in _parameters(init):
            if (
                p.kind is p.VAR_POSITIONAL
                or p.kind is p.VAR_KEYWORD
                or p.name in fixed | set(found)
            ):
                continue
            found[p.name] = (
                p if by_position and p.kind in POSITIONAL else p.replace(kind=p.KEYWORD_ONLY)
            )
        rest = [p for p in _parameters(init) if p.kind is p.VAR_KEYWORD]
        by_position = by_position and _passes_positional_on(init)
        fixed |= _set_by(init, following) - set(found)
    # the last constructor takes arguments of any name
    return _signature([*found.values(), *rest])


def _signature(parameters: list[inspect.Parameter]) -> inspect.Signature:
    """Return a signature in which, as Python requires, defaults come last among positions."""
    has_default = False
    for i, p in enumerate(parameters):
        if p.kind not in POSITIONAL:
            continue
        if has_default and p.default is p.empty:
            parameters[i] = p.replace(kind=p.KEYWORD_ONLY)
        has_default = has_default or p.default is not p.empty
    return inspect.Signature(sorted(parameters, key=lambda p: p.kind))


def arguments_of(cls: type) -> set[str]:
    """Return the names of all constructor arguments, those passed on to parents included.

    Works for any class, such as a data module.
    """
    return {p.name for p in full_signature(cls).parameters.values() if p.kind is not p.VAR_KEYWORD}


def defaults_of(cls: type) -> dict[str, Any]:
    """Return the default values of the constructor arguments that have one."""
    parameters = full_signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


# -- the chain of constructors -------------------------------------------------------------------


def _chain(cls: type) -> Iterator[Any]:
    """Yield the constructors that arguments reach: each passes its ``**`` on to the next."""
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if init is None:
            continue
        yield init
        rest = next((p for p in _parameters(init) if p.kind is p.VAR_KEYWORD), None)
        calls = _parent_calls(init)
        # without source code, assume that a constructor passes its ** on
        if rest is None or (calls and not any(_passes_on(call, rest.name) for call in calls)):
            return


@cache
def _parameters(init: Any) -> tuple[inspect.Parameter, ...]:
    """Return a constructor's parameters without ``self``, annotations evaluated if possible."""
    try:
        signature = inspect.signature(init, eval_str=True)
    except (NameError, AttributeError, TypeError):  # a name imported only for type checkers
        signature = inspect.signature(init)
    return tuple(signature.parameters.values())[1:]


class _ParentCall(NamedTuple):
    """Arguments of ``super().__init__(...)``, or of ``Parent.__init__(self, ...)``."""

    args: list[ast.expr]
    keywords: list[ast.keyword]


@cache
def _parent_calls(init: Any) -> list[_ParentCall]:
    """Return the calls of a parent's constructor in a constructor; empty without source code."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return []
    calls = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "__init__":
            is_super = isinstance(node.func.value, ast.Call)
            calls.append(_ParentCall(node.args[0 if is_super else 1 :], node.keywords))
    return calls


def _passes_on(call: _ParentCall, name: str) -> bool:
    """Return whether a call contains ``**name``, or ``**`` of an expression with that name."""
    return any(k.arg is None and name in _names(k.value) for k in call.keywords)


def _passes_positional_on(init: Any) -> bool:
    """Return whether a constructor passes its ``*args`` on as the first positional arguments."""
    rest = next((p.name for p in _parameters(init) if p.kind is p.VAR_POSITIONAL), None)
    calls = _parent_calls(init)
    return rest is not None and all(
        bool(call.args) and isinstance(call.args[0], ast.Starred) and rest in _names(call.args[0])
        for call in calls
    )


def _names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _set_by(init: Any, parent: Any) -> set[str]:
    """Return the arguments of the parent that a constructor sets itself, in each of its calls."""
    if parent is None:
        return set()
    names = [p.name for p in _parameters(parent)]
    rest = [p.name for p in _parameters(init) if p.kind is p.VAR_KEYWORD]
    calls = [call for call in _parent_calls(init) if rest and _passes_on(call, rest[0])]
    settings = [
        {k.arg for k in call.keywords if k.arg}
        | {
            name
            for name, a in zip(names, call.args, strict=False)
            if not isinstance(a, ast.Starred)
        }
        for call in calls
    ]
    return set.intersection(*settings) if settings else set()
