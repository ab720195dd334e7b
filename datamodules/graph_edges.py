"""Edge tables of a user's graph: which columns name the nodes, and which contains weights."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from datamodules.node_table import normalize_id
from datamodules.table_files import TextTable, read_text_table
from datamodules.table_numbers import PLAIN, detect_formats, parse_numbers
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
    """Names of the columns of an edge table; ``weight`` is None if it has none."""

    source: str
    target: str
    weight: str | None


def read_edges(
    path: Path, nodes: Mapping[str, int], node_table: Path, directed: bool, use_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the edges of a table and their weights; a table of only a header has no edges.

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
            or is negative.
    """
    table = _read_table(path, nodes)
    columns = find_columns(table, nodes)
    pairs = _read_pairs(table, columns, nodes, node_table)
    weights = torch.ones(pairs.shape[1], dtype=torch.float64)
    is_weighted = use_weights and columns.weight is not None
    if is_weighted:
        weights = _read_weights(table, str(columns.weight))
    loops = pairs[0] == pairs[1]
    if bool(loops.any()):
        _say(f"{path}: {_count(loops.sum(), 'self-loop')} left out, as models add their own")
    pairs, weights = pairs[:, ~loops], weights[~loops]
    if pairs.shape[1]:
        pairs, weights = _merge(path, pairs, weights, directed, is_weighted)
    return pairs, weights.float() if is_weighted else None


# -- columns ---------------------------------------------------------------------------------------


def _read_table(path: Path, nodes: Mapping[str, int]) -> TextTable:
    """Return the table; cells may also be separated by spaces, and columns may have no names."""
    has_header = partial(_has_header, nodes=nodes)
    table = read_text_table(path, has_header, comment="#", allow_empty=True)
    names = [str(name) for name in table.cells.columns]
    if len(names) == 1 and table.cells.empty:
        return replace(table, cells=table.cells.reindex(columns=names[0].split()))
    if len(names) > 1 or not table.cells[names[0]].str.contains(" ", regex=False).any():
        return table
    cells = table.cells[names[0]].str.split(expand=True)
    if cells.isna().to_numpy().any():
        line = int(cells.index[cells.isna().any(axis=1)][0])
        raise DataError(
            f"{table.location(line)}: expected {cells.shape[1]} values, as in other lines"
        )
    header = names[0].split()
    if len(header) != cells.shape[1]:
        header = [str(i + 1) for i in range(cells.shape[1])]
    return replace(table, cells=cells.set_axis(header, axis=1))


def _has_header(first: list[str], nodes: Mapping[str, int]) -> bool:
    """Return whether the first row of an edge table names the columns rather than an edge."""
    if len(first) == 1:
        first = first[0].split()
    ends = _find_ends(first)
    if ends is None:
        return not any(normalize_id(cell) in nodes for cell in first[:2])
    is_documented = [_normalize(name) for name in ends] == list(ENDS[0])
    # nodes may be called a and b
    return is_documented or not all(normalize_id(cell) in nodes for cell in ends)


def _find_ends(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the names of the columns with the nodes of an edge, or None."""
    found = {_normalize(name): name for name in reversed(names)}
    return next(((found[a], found[b]) for a, b in ENDS if a in found and b in found), None)


def find_columns(table: TextTable, nodes: Mapping[str, int]) -> EdgeColumns:
    """Return the columns of an edge table.

    They are recognized by name. In a table without a header the first two columns are the nodes,
    and a third and last column of numbers contains the weights. Under other names, the two columns
    that consist of node ids are the nodes.

    Raises:
        DataError: there are not two columns of node ids.
    """
    names = [str(name) for name in table.cells.columns]
    if len(names) < 2:
        raise DataError(f"{table.path} has 1 column; two columns of node ids are needed")
    if names == [str(i + 1) for i in range(len(names))]:
        return _without_header(table)
    weight = next((name for name in names if _normalize(name) in WEIGHTS), None)
    if ends := _find_ends(names):
        return EdgeColumns(*ends, weight)
    is_node = table.cells.map(lambda cell: normalize_id(cell) in nodes).all()
    found = names if len(names) == 2 else [name for name in names if is_node[name]]
    if len(found) != 2:
        raise DataError(
            f"{table.path}: the columns with the nodes of an edge are unknown; name them source "
            f"and target; the columns are {', '.join(names)}"
        )
    source, target = found
    _say(f"{table.path}: columns {source!r} and {target!r} are taken as source and target")
    return EdgeColumns(source, target, weight)


def _without_header(table: TextTable) -> EdgeColumns:
    width = table.cells.shape[1]
    is_weight = width == 3 and bool(parse_numbers(table.cells["3"]).notna().all())
    others = f"; {_count(width - 2, 'other column')} left out" if width > 2 else ""
    if is_weight:
        others = ", and the third one as weights"
    _say(f"{table.path} has no header: the first two columns are source and target{others}")
    return EdgeColumns("1", "2", "3" if is_weight else None)


def _normalize(name: str) -> str:
    """Return a column name without case, signs and the words node and id at its end."""
    name = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"(node)?(id)?$", "", name) or name


# -- cells -----------------------------------------------------------------------------------------


def _read_pairs(
    table: TextTable, columns: EdgeColumns, nodes: Mapping[str, int], node_table: Path
) -> Tensor:
    """Return the node indices of the rows, (2, E)."""
    ids = table.cells[[columns.source, columns.target]].map(normalize_id)
    indices = ids.map(lambda node: nodes.get(node, -1))
    unknown = ids.mask(indices >= 0).stack().dropna()
    if len(unknown):
        line, node, count = int(unknown.index[0][0]), unknown.iloc[0], unknown.nunique()
        others = f" ({count} unknown ids in all)" if count > 1 else ""
        raise DataError(
            f"{table.location(line)}: unknown node id {node!r}{others}; every node needs a row in "
            f"{node_table}"
        )
    return torch.tensor(indices.to_numpy(dtype="int64")).T


def _read_weights(table: TextTable, column: str) -> Tensor:
    formats = detect_formats(table, [column])
    values = parse_numbers(table.cells[column], formats.get(column, PLAIN))
    wrong = values.isna() | (values < 0)
    if wrong.any():
        line = int(values.index[wrong][0])
        cell = table.cells[column][wrong].iloc[0]
        found = repr(cell) if cell else "an empty cell"
        raise DataError(
            f"{table.location(line, column)}: expected a weight that is a number of at least 0, "
            f"found {found}; correct it, or leave the weights out with --data.weighted false"
        )
    return torch.tensor(values.to_numpy())


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
    elif repeated and not bool((counts == 2).all()):  # as in tables of both directions
        _say(f"{path}: {_count(repeated, 'repeated edge')} left out")
    if directed:
        return unique, mean
    edges = symmetrize_edges(unique)
    order = (edges[0] * (int(edges.max()) + 1) + edges[1]).argsort()
    return edges[:, order], mean.repeat(2)[order]


def _count(number: Tensor | int, noun: str) -> str:
    return f"{int(number):,} {noun}{'' if int(number) == 1 else 's'}"


def _say(message: str) -> None:
    warnings.warn(message, stacklevel=2)
