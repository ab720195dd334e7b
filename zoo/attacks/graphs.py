"""Attacks on the edges of a graph, whose nodes are classified.

``attack(model, data)`` → a graph with other edges. **Evasion**: the model is trained, and judged on
the changed graph. **Poisoning**: the graph is changed before a model is trained on it; the attack
then sees another model, trained on the clean graph.
"""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.attacks.base import Attack, frozen_eval
from zoo.attacks.goals import Goal
from zoo.errors import InputError
from zoo.functional.graphs import (
    flip_edges,
    sample_absent_edges,
    symmetrize_edges,
    unique_undirected_edges,
)

LARGEST = 5_000  # nodes of a graph whose pairs are all looked at
BLOCK = 500_000  # pairs that are looked at together


@dataclass(frozen=True, kw_only=True)
class GraphAttack(Attack):
    """Flips pairs of nodes: an edge where there was none, none where there was one.

    The pairs are unordered, so that an undirected graph stays one, and no loop is made. The nodes
    of ``data.mask`` are attacked, or all where there is no mask.

    Args:
        eps: flips at most, as a share of the graph's edges, each counted once.
        seed: of what is random, default 0.

    Raises:
        InputError: a negative ε; a graph without labels, or whose edges have a direction; a model
            that ignores the weights of edges, for attacks that need gradients of them.
    """

    eps: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise InputError(f"{type(self).__name__}: eps must not be negative, got {self.eps}")

    def __call__(self, model: Any, x: Any, y: Tensor | None = None) -> Any:
        labels = getattr(x, "y", None) if y is None else y
        if labels is None:
            raise InputError(f"{self.name} needs the true classes y: the graph has no labels")
        pairs = unique_undirected_edges(x.edge_index)
        loops = int((x.edge_index[0] == x.edge_index[1]).sum())
        if 2 * pairs.shape[1] + loops != x.edge_index.shape[1]:
            raise InputError(
                f"{self.name} flips pairs of an undirected graph, each edge in both directions "
                f"once: this one has {x.edge_index.shape[1]} edges between {pairs.shape[1]} pairs"
            )
        flips = int(self.eps * pairs.shape[1])
        found = copy(x)
        if not flips:
            return found
        with frozen_eval(model), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            chosen = self.choose(model, x, labels, flips)
        found.edge_index = flip_edges(x.edge_index, chosen, x.num_nodes)
        return found

    def on_batch(self, model: Any, batch: Any) -> Any:
        return self(model, batch)

    def with_eps(self, eps: float) -> Attack:
        return replace(self, eps=eps)

    def choose(self, model: Any, data: Any, y: Tensor, flips: int) -> Tensor:
        """The pairs to flip, (2, ≤ flips)."""
        raise NotImplementedError(f"{self.name} has no choose(model, data, y, flips)")


class RandomFlips(GraphAttack):
    """Edges between random pairs that have none: what noise does. Black box, it asks nothing."""

    def choose(self, model: Any, data: Any, y: Tensor, flips: int) -> Tensor:
        return sample_absent_edges(unique_undirected_edges(data.edge_index), data.num_nodes, flips)


@dataclass(frozen=True, kw_only=True)
class GreedyFlips(GraphAttack):
    """The pairs whose flip raises the margin most to first order, of all pairs, some at a time.

    With a_ij the weight of a pair, 0 or 1, flipping it changes the loss by about
    (1 − 2 a_ij) ∂L/∂a_ij. L is the mean of tanh((max_{k≠y} z_k − z_y) / τ), with τ the mean size of
    these margins on the graph as it was: nodes that are long lost do not draw all flips to them,
    and models that are surer of themselves do not hide their gradients. White box.

    Args:
        rounds: gradients that are taken, default 20; each is followed by its share of the flips.
        **graph: see :class:`GraphAttack`.

    Raises:
        InputError: more than 5,000 nodes.

    Source: the greedy search of Geisler et al., Robustness of graph neural networks at scale, 2021,
    section 3, on all pairs in the place of random ones.
    """

    rounds: int = 20

    def choose(self, model: Any, data: Any, y: Tensor, flips: int) -> Tensor:
        if data.num_nodes > LARGEST:
            raise InputError(
                f"GreedyFlips looks at all pairs of nodes, {data.num_nodes:,} are too many: choose "
                "PRBCD"
            )
        weighted = Weighted(model, data)
        with torch.no_grad():
            ones = torch.ones(data.edge_index.shape[1]).to(data.x)
            margins = margins_of(weighted(data.x, data.edge_index, ones), data, y)
            scale = float(margins.abs().mean().clamp(min=1e-12))
        edges, chosen = data.edge_index, data.edge_index.new_empty(2, 0)
        every = torch.triu_indices(data.num_nodes, data.num_nodes, 1, device=edges.device)
        marks = every[0] * data.num_nodes + every[1]
        for number in range(self.rounds):
            count = flips * (number + 1) // self.rounds - chosen.shape[1]
            if not count:
                continue
            gains = torch.cat(
                [
                    self._gains(weighted, edges, part, data, y, scale)
                    for part in every.split(BLOCK, 1)
                ]
            )
            # a pair that was flipped is not flipped back
            gains[torch.isin(marks, chosen[0] * data.num_nodes + chosen[1])] = -torch.inf
            new = every[:, gains.topk(count).indices]
            chosen = torch.cat([chosen, new], 1)
            edges = flip_edges(data.edge_index, chosen, data.num_nodes)
        return chosen

    @staticmethod
    def _gains(
        model: Weighted, edges: Tensor, pairs: Tensor, data: Any, y: Tensor, scale: float
    ) -> Tensor:
        """What each flip promises, (P,)."""
        present = unique_undirected_edges(edges)
        marks = present[0] * data.num_nodes + present[1]
        joined = torch.isin(pairs[0] * data.num_nodes + pairs[1], marks)
        # those of the graph that are not looked at here keep their weight
        looked = torch.isin(marks, (pairs[0] * data.num_nodes + pairs[1])[joined])
        weight = joined.to(data.x.dtype).requires_grad_()
        rest = symmetrize_edges(present[:, ~looked])
        every = torch.cat([symmetrize_edges(pairs), rest], 1)
        weights = torch.cat([weight, weight, torch.ones(rest.shape[1]).to(data.x)])
        scores = model(data.x, every, weights)
        loss = (margins_of(scores, data, y) / scale).tanh().mean()
        gradient = torch.autograd.grad(loss, weight)[0]
        return torch.where(joined, -gradient, gradient)


def margins_of(scores: Tensor, data: Any, y: Tensor) -> Tensor:
    """max_{k≠y} z_k − z_y of the nodes that are attacked."""
    nodes = data.mask if "mask" in data else slice(None)
    return Goal(y[nodes]).loss(scores[nodes], "margin")


@dataclass(frozen=True, kw_only=True)
class PRBCD(GraphAttack):
    """Projected gradients on the weights of a random block of pairs, the useless ones replaced.

    PyG's ``PRBCDAttack``, kept from leaving traces: it would put the model into evaluation mode for
    good, keep its settings in a dictionary of its class, and draw from the global generators. White
    box.

    Args:
        epochs: gradient steps with new pairs, default 50; a third as many again follow without.
        block_size: pairs at a time, default 250,000.
        lr: of the weights, default 1,000.
        loss: ``tanh_margin`` (default), ``prob_margin``, ``margin`` or ``masked``, as PyG names
            them.
        **graph: see :class:`GraphAttack`.

    Source: Geisler et al., Robustness of graph neural networks at scale, 2021, algorithm 1.
    """

    epochs: int = 50
    block_size: int = 250_000
    lr: float = 1_000.0
    loss: str = "tanh_margin"

    def choose(self, model: Any, data: Any, y: Tensor, flips: int) -> Tensor:
        search = self._search(Weighted(model, data), flips, data.num_nodes)
        nodes = data.mask.nonzero()[:, 0] if "mask" in data else None
        _, flipped = search.attack(data.x, data.edge_index, y, flips, nodes)
        return flipped

    def _search(self, model: nn.Module, flips: int, nodes: int) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*experimental code")
            from torch_geometric.contrib.nn import PRBCDAttack

        size = self._block(flips, nodes)
        search = PRBCDAttack(
            model, size, self.epochs + self.epochs // 3, self.epochs, self.loss, lr=self.lr,
            log=False,
        )  # fmt: skip
        search.coeffs = dict(PRBCDAttack.coeffs)
        return search

    def _block(self, flips: int, nodes: int) -> int:
        """Pairs at a time: no more than there are twice over, more than are flipped."""
        return max(min(self.block_size, nodes * (nodes - 1)), 2 * flips)


class GRBCD(PRBCD):
    """Greedy flips among a random block of pairs, the block drawn anew for each round.

    PyG's ``GRBCDAttack``; see :class:`PRBCD`.

    Source: Geisler et al., 2021, section 3.
    """

    def _search(self, model: nn.Module, flips: int, nodes: int) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*experimental code")
            from torch_geometric.contrib.nn import GRBCDAttack

        search = GRBCDAttack(
            model, self._block(flips, nodes), min(self.epochs, flips), self.loss, log=False
        )
        search.coeffs = dict(GRBCDAttack.coeffs)
        return search


class Weighted(nn.Module):
    """A model of graphs as a function of features, edges and their weights.

    Raises:
        InputError: the model's scores do not depend on the weights.
    """

    def __init__(self, model: Any, data: Any) -> None:
        super().__init__()
        self._function, self._data = getattr(model, "logits", model), data
        weight = torch.ones(data.edge_index.shape[1]).to(data.x).requires_grad_()
        scores = self._try(weight)
        slope = None
        if scores.requires_grad:
            slope = torch.autograd.grad(scores.square().sum(), weight, allow_unused=True)[0]
        if slope is None or not bool((slope != 0).any()):
            raise InputError(
                f"{type(model).__name__} ignores the weights of edges, whose gradients the attack "
                "follows: choose a model that reads data.edge_weight (conv gcn, cheb or appnp), or "
                "RandomFlips"
            )

    def _try(self, weight: Tensor) -> Tensor:
        try:
            return self(self._data.x, self._data.edge_index, weight)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(
                f"attacks on edges follow gradients of their weights: {error}"
            ) from error

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        data = copy(self._data)
        data.x, data.edge_index, data.edge_weight = x, edge_index, edge_weight
        return self._function(data)
