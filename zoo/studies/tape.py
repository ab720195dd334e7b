"""A tape of elementary steps: forward and reverse mode, as small as they can be.

Source: Griewank and Walther, Evaluating derivatives, 2008, chapters 2 and 3.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from torch import Tensor

from zoo.errors import InputError

#: name → value and the derivatives by each argument
STEPS: dict[str, tuple[Callable[..., float], Callable[..., tuple[float, ...]]]] = {
    "+": (lambda a, b: a + b, lambda a, b: (1.0, 1.0)),
    "-": (lambda a, b: a - b, lambda a, b: (1.0, -1.0)),
    "*": (lambda a, b: a * b, lambda a, b: (b, a)),
    "/": (lambda a, b: a / b, lambda a, b: (1 / b, -a / b**2)),
    "**": (lambda a, b: a**b, lambda a, b: (b * a ** (b - 1), a**b * math.log(a) if a > 0 else 0)),
    "neg": (lambda a: -a, lambda a: (-1.0,)),
    "sin": (math.sin, lambda a: (math.cos(a),)),
    "cos": (math.cos, lambda a: (-math.sin(a),)),
    "exp": (math.exp, lambda a: (math.exp(a),)),
    "log": (math.log, lambda a: (1 / a,)),
    "sqrt": (math.sqrt, lambda a: (0.5 / math.sqrt(a),)),
    "tanh": (math.tanh, lambda a: (1 - math.tanh(a) ** 2,)),
}
TENSORS: dict[str, Callable[..., Tensor]] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "**": torch.pow,
}  # fmt: skip
BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


@dataclass
class Node:
    """A step of the program: its name, value, and the nodes it reads with ∂value/∂each."""

    name: str
    value: float
    parents: list[tuple[int, float]] = field(default_factory=list)


class Tape:
    """Steps in the order in which they ran, inputs first."""

    def __init__(self, inputs: dict[str, float]) -> None:
        self.nodes = [Node(name, value) for name, value in inputs.items()]
        self.inputs = {name: place for place, name in enumerate(inputs)}

    def run(self, tree: ast.expr) -> int:
        """Evaluates an expression; the place of its node."""
        if isinstance(tree, ast.Name) and tree.id in self.inputs:
            return self.inputs[tree.id]
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float):
            self.nodes.append(Node(f"{tree.value:g}", float(tree.value)))
            return len(self.nodes) - 1
        if isinstance(tree, ast.BinOp) and type(tree.op) in BINARY:
            places = self.run(tree.left), self.run(tree.right)
            if isinstance(tree.op, ast.Pow) and self.nodes[places[0]].value <= 0:
                self._check_power(tree)
            return self.step(BINARY[type(tree.op)], *places)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self.step("neg", self.run(tree.operand))
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and len(tree.args) == 1:
            name = tree.func.id
            return self.step(name, self.run(tree.args[0])) if name in STEPS else self._refuse(tree)
        return self._refuse(tree)

    def _check_power(self, tree: ast.BinOp) -> None:
        """A base that is not positive has no derivative by an exponent that varies."""
        if any(isinstance(part, ast.Name) for part in ast.walk(tree.right)):
            raise InputError(
                f"expression: {ast.unparse(tree)} needs a positive base, as its exponent varies"
            )

    def _refuse(self, tree: ast.expr) -> NoReturn:
        known = ", ".join([*self.inputs, *BINARY.values(), *(n for n in STEPS if n.isalpha())])
        raise InputError(f"expression: cannot read {ast.unparse(tree)!r}; known: {known}")

    def step(self, name: str, *places: int) -> int:
        values = [self.nodes[p].value for p in places]
        apply, derive = STEPS[name]
        try:
            node = Node(name, apply(*values), list(zip(places, derive(*values), strict=True)))
        except (ArithmeticError, ValueError) as error:
            raise InputError(f"expression: {name} of {values} has no value: {error}") from error
        if isinstance(node.value, complex):
            raise InputError(f"expression: {name} of {values} is no real number")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def forward(self, by: int) -> list[float]:
        """∂v/∂x of every node, x being the input at place ``by``: one pass."""
        tangents = [float(place == by) for place in range(len(self.nodes))]
        for place, node in enumerate(self.nodes):
            if node.parents:
                tangents[place] = sum(d * tangents[p] for p, d in node.parents)
        return tangents

    def reverse(self, of: int) -> list[float]:
        """∂y/∂v for every node, y being the one at place ``of``: one pass back."""
        adjoints = [float(place == of) for place in range(len(self.nodes))]
        for place in range(len(self.nodes) - 1, -1, -1):
            for parent, derivative in self.nodes[place].parents:
                adjoints[parent] += derivative * adjoints[place]
        return adjoints


def parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise InputError(f"expression {expression!r}: {error.msg}") from error


def evaluate(tree: ast.expr, values: dict[str, Tensor]) -> Tensor:
    """The same expression on tensors, by torch's own functions; one that a tape has read."""
    if isinstance(tree, ast.Name):
        return values[tree.id]
    if isinstance(tree, ast.BinOp):
        sides = (evaluate(side, values) for side in (tree.left, tree.right))
        return TENSORS[BINARY[type(tree.op)]](*sides)
    if isinstance(tree, ast.UnaryOp):
        return -evaluate(tree.operand, values)
    if isinstance(tree, ast.Call):
        return getattr(torch, ast.unparse(tree.func))(evaluate(tree.args[0], values))
    return torch.tensor(float(ast.unparse(tree)), dtype=torch.float64)
