"""Signatures of constructors that pass arguments on to their parents through ``**``."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

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


@cache
def full_signature(cls: type) -> inspect.Signature:
    """Return the signature of a constructor with all arguments of the chain of constructors.

    Arguments that reach a parent class through ``**`` are keyword-only. An argument that a subclass
    sets itself, as in ``super().__init__(latent_dim=8, **vae)``, is not part of its signature.
    """
    chain = list(_chain(cls))
    found: dict[str, inspect.Parameter] = {}
    fixed: set[str] = set()
    for depth, init in enumerate(chain):
        for p in _parameters(init):
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in fixed or p.name in found:
                continue
            positional = depth == 0 and p.kind in POSITIONAL
            found[p.name] = p if positional else p.replace(kind=p.KEYWORD_ONLY)
        following = chain[depth + 1] if depth + 1 < len(chain) else None
        fixed |= _set_by(init, following) - set(found)
    parameters = list(found.values())
    last = chain[-1] if chain else None
    if last is not None and (rest := _var_keyword(last)) is not None:
        parameters.append(rest)  # the last constructor takes arguments of any name
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
        rest = _var_keyword(init)
        if rest is None or not _passes_on(init, rest.name):
            return


@cache
def _parameters(init: Any) -> tuple[inspect.Parameter, ...]:
    """Return a constructor's parameters without ``self``, annotations evaluated if possible."""
    try:
        signature = inspect.signature(init, eval_str=True)
    except (NameError, AttributeError, TypeError):  # a name imported only for type checkers
        signature = inspect.signature(init)
    return tuple(signature.parameters.values())[1:]


def _var_keyword(init: Any) -> inspect.Parameter | None:
    return next((p for p in _parameters(init) if p.kind is p.VAR_KEYWORD), None)


@cache
def _parent_call(init: Any) -> ast.Call | None:
    """Return the call of ``super().__init__`` in a constructor; None where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "__init__"
            and isinstance(node.func.value, ast.Call)
            and ast.unparse(node.func.value.func) == "super"
        ):
            return node
    return None


def _passes_on(init: Any, name: str) -> bool:
    call = _parent_call(init)
    if call is None:
        return True  # without source code, assume that a constructor passes its ** on
    return any(k.arg is None and ast.unparse(k.value) == name for k in call.keywords)


def _set_by(init: Any, parent: Any) -> set[str]:
    """Return the arguments of the parent that a constructor sets itself."""
    call = _parent_call(init)
    if call is None or parent is None:
        return set()
    names = [p.name for p in _parameters(parent)]
    return {k.arg for k in call.keywords if k.arg} | set(names[: len(call.args)])
