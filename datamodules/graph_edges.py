"""Edge tables of a user's graph: which columns name the nodes, and which contains weights."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datamodules.files import parse_number
from datamodules.graph_tables import Rows, check_widths, normalize_id, read_rows
from zoo.errors import DataError
from zoo.functional.graphs import symmetrize_edges

#: names of the columns with the first and second node of an edge, without "node", "id" and signs
ENDS = (
    ("source", "target"), ("src", "dst"), ("source", "destination"), ("src", "dest"),
    ("src", "tgt"), ("from", "to"), ("u", "v"), ("i", "j"), ("a", "b"), ("head", "tail"),
    ("start", "end"), ("first", "second"), ("node1", "node2"), ("id1", "id2"), ("citing", "cited"),
)  # fmt: skip
WEIGHTS = ("weight", "weights", "edgeweight", "w")


@dataclass(frozen=True)
class EdgeColumns:
    """Positions of the columns of an edge table; ``weight`` is None if it has none."""

    source: int
    target: int
    weight: int | None
    names: Sequence[str]
    rows: Rows


def read_edges(
    path: Path, nodes: Mapping[str, int], node_table: Path, directed: bool, use_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the edges of a table and their weights.

    Self-loops are left out, and so are repeated edges; their weights are averaged.

    Args:
        path: edge table, with or without a header.
        nodes: index of each node, by its id.
        node_table: path of the node table, for error messages.
        directed: whether edges lead from the first node to the second only; otherwise both
            directions of each edge are returned.
        use_weights: whether to read the weights, if there are any.

    Returns:
        Node indices (2, E), and weights (E,) or None.

    Raises:
        DataError: the columns cannot be told apart; an unknown node; a weight that is not a number
            or is negative; no edges.
    """
    columns = find_columns(path, read_rows(path), nodes)
    pairs = torch.tensor(_node_indices(path, columns, nodes, node_table)).T
    weights = torch.ones(pairs.shape[1], dtype=torch.float64)
    is_weighted = use_weights and columns.weight is not None
    if is_weighted:
        weights = torch.tensor(_read_weights(path, columns), dtype=torch.float64)
    loops = pairs[0] == pairs[1]
    if bool(loops.any()):
        _say(f"{path}: {_count(loops.sum(), 'self-loop')} left out, as models add their own")
    pairs, weights = pairs[:, ~loops], weights[~loops]
    if not pairs.shape[1]:
        raise DataError(f"{path} has no edges between different nodes")
    edges, weights = _merge(path, pairs, weights, directed, is_weighted)
    return edges, weights.float() if is_weighted else None


# -- columns ---------------------------------------------------------------------------------------


def find_columns(path: Path, rows: Rows, nodes: Mapping[str, int]) -> EdgeColumns:
    """Return the columns of an edge table, and its rows without the header.

    Columns are recognized by name. A first row that contains node ids in place of names is an edge,
    and the first two columns are the nodes; a third and last column of numbers the weights.
    """
    if not rows:
        raise DataError(f"{path} is empty: a line per edge with two node ids is needed")
    check_widths(path, rows)
    (_, first), *rest = rows
    if len(first) < 2:
        raise DataError(f"{path} has 1 column; two columns of node ids are needed")
    is_node = [normalize_id(cell) in nodes for cell in first]
    names = [_normalize(name) for name in first]
    ends = next(([names.index(a), names.index(b)] for a, b in ENDS if {a, b} <= {*names}), None)
    if ends is None and any(is_node[:2]):
        return _without_header(path, rows)
    if ends is None:
        return _with_unknown_names(path, first, rest, nodes)
    if all(is_node[i] for i in ends):  # nodes that are called a and b
        return _without_header(path, rows)
    return EdgeColumns(*ends, _weight_column(names), first, rest)


def _without_header(path: Path, rows: Rows) -> EdgeColumns:
    width = len(rows[0][1])
    numeric = width == 3 and all(parse_number(cells[2]) is not None for _, cells in rows)
    text = ", the third one the weights" if numeric else ""
    rest = f"; {width - 2} other columns are left out" if width > 2 and not numeric else ""
    _say(f"{path} has no header: the first two columns are taken as source and target{text}{rest}")
    return EdgeColumns(0, 1, 2 if numeric else None, ["1", "2", "3"], rows)


def _with_unknown_names(
    path: Path, names: Sequence[str], rows: Rows, nodes: Mapping[str, int]
) -> EdgeColumns:
    """Find the two columns that contain node ids only."""
    found = [
        i
        for i in range(len(names))
        if rows and all(normalize_id(cells[i]) in nodes for _, cells in rows)
    ]
    if len(names) == 2:
        found = [0, 1]
    if len(found) != 2:
        raise DataError(
            f"{path}: which columns contain the nodes of an edge? Name them source and target; the "
            f"columns are {', '.join(names)}"
        )
    source, target = found
    _say(f"{path}: columns {names[source]!r} and {names[target]!r} are taken as source and target")
    weight = _weight_column([_normalize(name) for name in names])
    return EdgeColumns(source, target, weight, names, rows)


def _weight_column(names: Sequence[str]) -> int | None:
    return next((i for i, name in enumerate(names) if name in WEIGHTS), None)


def _normalize(name: str) -> str:
    """Return a column name without case, signs and the words node and id."""
    name = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"(node)?(id)?$", "", name) or name


# -- cells -----------------------------------------------------------------------------------------


def _node_indices(
    path: Path, columns: EdgeColumns, nodes: Mapping[str, int], node_table: Path
) -> list[list[int]]:
    pairs, unknown = [], []
    for line, cells in columns.rows:
        ends = [normalize_id(cells[i]) for i in (columns.source, columns.target)]
        unknown += [(line, node) for node in ends if node not in nodes]
        pairs.append([nodes.get(node, -1) for node in ends])
    if unknown:
        (line, node), count = unknown[0], len({node for _, node in unknown})
        others = f" ({count} unknown ids in all)" if count > 1 else ""
        raise DataError(
            f"{path}, line {line}: unknown node id {node!r}{others}; every node needs a row in "
            f"{node_table}"
        )
    if not pairs:
        raise DataError(f"{path} has no rows below its header")
    return pairs


def _read_weights(path: Path, columns: EdgeColumns) -> list[float]:
    assert columns.weight is not None
    values = []
    for line, cells in columns.rows:
        cell = cells[columns.weight]
        value = parse_number(cell)
        if value is None or not math.isfinite(value) or value < 0:
            found = repr(cell) if cell else "an empty cell"
            raise DataError(
                f"{path}, line {line}, column {columns.names[columns.weight]!r}: expected a weight "
                f"that is a number of at least 0, found {found}; correct it, or leave the weights "
                "out with --data.weighted false"
            )
        values.append(value)
    return values


def _merge(
    path: Path, pairs: Tensor, weights: Tensor, directed: bool, is_weighted: bool
) -> tuple[Tensor, Tensor]:
    """Return each edge once, in both directions unless ``directed``, with its mean weight."""
    if not directed:
        pairs = pairs.sort(0).values
    unique, inverse, counts = pairs.unique(dim=1, return_inverse=True, return_counts=True)
    mean = torch.zeros(len(counts), dtype=weights.dtype).index_add_(0, inverse, weights) / counts
    repeated = pairs.shape[1] - unique.shape[1]
    differing = int(((weights - mean[inverse]).abs() > 1e-9 * mean[inverse].abs()).sum())
    if is_weighted and differing:
        _say(f"{path}: weights of {_count(repeated, 'repeated edge')} are averaged")
    elif repeated and not _lists_both_directions(counts):
        _say(f"{path}: {_count(repeated, 'repeated edge')} left out")
    if directed:
        return unique, mean
    edges = symmetrize_edges(unique)
    order = (edges[0] * (int(edges.max()) + 1) + edges[1]).argsort()
    return edges[:, order], mean.repeat(2)[order]


def _lists_both_directions(counts: Tensor) -> bool:
    """Return whether each edge was listed twice, as in tables of directed pairs."""
    return Counter(counts.tolist()).keys() == {2}


def _count(number: Tensor | int, noun: str) -> str:
    return f"{int(number):,} {noun}{'' if int(number) == 1 else 's'}"


def _say(message: str) -> None:
    warnings.warn(message, stacklevel=2)
