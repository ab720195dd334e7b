"""A minimal autodiff tape that records elementary operations and differentiates in both modes.

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

#: name → the operation, and its partial derivatives with respect to each operand
OPERATIONS: dict[str, tuple[Callable[..., float], Callable[..., tuple[float, ...]]]] = {
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
TORCH_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "**": torch.pow,
}  # fmt: skip
BINARY_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


@dataclass
class Node:
    """A recorded value.

    Args:
        name: name of the input or operation, or the constant itself.
        value: the value.
        parents: index of each operand, with the partial derivative with respect to it.
    """

    name: str
    value: float
    parents: list[tuple[int, float]] = field(default_factory=list)


class Tape:
    """Nodes of a program in the order of their evaluation, inputs first.

    Args:
        inputs: values of the input variables by name.
    """

    def __init__(self, inputs: dict[str, float]) -> None:
        self.nodes = [Node(name, value) for name, value in inputs.items()]
        self.inputs = {name: index for index, name in enumerate(inputs)}

    def record(self, tree: ast.expr) -> int:
        """Evaluate an expression, recording every operation; return the index of its node.

        Raises:
            InputError: an expression that uses anything but the inputs, numbers and the known
                operations, or that is undefined or not differentiable at the inputs.
        """
        if isinstance(tree, ast.Name) and tree.id in self.inputs:
            return self.inputs[tree.id]
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float):
            self.nodes.append(Node(f"{tree.value:g}", float(tree.value)))
            return len(self.nodes) - 1
        if isinstance(tree, ast.BinOp) and type(tree.op) in BINARY_OPERATORS:
            operands = self.record(tree.left), self.record(tree.right)
            if isinstance(tree.op, ast.Pow) and self.nodes[operands[0]].value <= 0:
                self._check_exponent(tree)
            return self._apply(BINARY_OPERATORS[type(tree.op)], *operands)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self._apply("neg", self.record(tree.operand))
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and len(tree.args) == 1:
            name = tree.func.id
            if name in OPERATIONS:
                return self._apply(name, self.record(tree.args[0]))
        return self._reject(tree)

    def _check_exponent(self, power: ast.BinOp) -> None:
        """Reject a variable exponent: its derivative contains the logarithm of the base."""
        if any(isinstance(part, ast.Name) for part in ast.walk(power.right)):
            raise InputError(
                f"expression: {ast.unparse(power)} needs a positive base, as its exponent is "
                "variable"
            )

    def _reject(self, tree: ast.expr) -> NoReturn:
        functions = [name for name in OPERATIONS if name.isalpha() and name != "neg"]
        known = ", ".join([*self.inputs, *BINARY_OPERATORS.values(), *functions])
        raise InputError(f"expression: cannot read {ast.unparse(tree)!r}; choose from {known}")

    def _apply(self, name: str, *operands: int) -> int:
        values = [self.nodes[index].value for index in operands]
        function, partials = OPERATIONS[name]
        try:
            value = function(*values)
            node = Node(name, value, list(zip(operands, partials(*values), strict=True)))
        except (ArithmeticError, ValueError) as error:
            raise InputError(f"expression: {name} of {values} is undefined: {error}") from error
        if isinstance(node.value, complex):
            raise InputError(f"expression: {name} of {values} is not a real number")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def forward_mode(self, wrt: int) -> list[float]:
        """Return ∂v/∂x for every node v, where x is the input at index ``wrt``, in one pass."""
        tangents = [float(index == wrt) for index in range(len(self.nodes))]
        for index, node in enumerate(self.nodes):
            if node.parents:
                tangents[index] = sum(d * tangents[parent] for parent, d in node.parents)
        return tangents

    def reverse_mode(self, output: int) -> list[float]:
        """Return ∂y/∂v for every node v, where y is the node at index ``output``, in one pass."""
        adjoints = [float(index == output) for index in range(len(self.nodes))]
        for index in range(len(self.nodes) - 1, -1, -1):
            for parent, derivative in self.nodes[index].parents:
                adjoints[parent] += derivative * adjoints[index]
        return adjoints


def parse(expression: str) -> ast.expr:
    """Parse an expression in Python's syntax.

    Raises:
        InputError: a syntax error.
    """
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise InputError(f"expression {expression!r}: {error.msg}") from error


def evaluate_with_torch(tree: ast.expr, values: dict[str, Tensor]) -> Tensor:
    """Evaluate an expression that a :class:`Tape` has accepted, with torch's operations.

    Args:
        tree: the expression.
        values: tensors by the name of the variable.
    """
    if isinstance(tree, ast.Name):
        return values[tree.id]
    if isinstance(tree, ast.BinOp):
        operands = (evaluate_with_torch(side, values) for side in (tree.left, tree.right))
        return TORCH_OPERATIONS[BINARY_OPERATORS[type(tree.op)]](*operands)
    if isinstance(tree, ast.UnaryOp):
        return -evaluate_with_torch(tree.operand, values)
    if isinstance(tree, ast.Call):
        return getattr(torch, ast.unparse(tree.func))(evaluate_with_torch(tree.args[0], values))
    return torch.tensor(float(ast.unparse(tree)), dtype=torch.float64)
