"""Attacks on the edges of a graph whose nodes are classified.

``attack(model, data)`` returns a graph with perturbed edges. **Evasion**: a trained model is
evaluated on the perturbed graph. **Poisoning**: the graph is perturbed before a model is trained on
it; the attack then uses a surrogate model, trained on the clean graph.
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
from zoo.errors import InputError, check_at_least, check_integer, check_non_negative, check_positive
from zoo.functional.graphs import (
    flip_edges,
    sample_absent_edges,
    symmetrize_edges,
    unique_undirected_edges,
)

MAX_NODES = 5_000  # largest graph for attacks that consider all pairs of nodes
PAIRS_PER_CHUNK = 500_000  # pairs whose gradients are computed at once


@dataclass(frozen=True, kw_only=True)
class GraphAttack(Attack):
    """Base class of attacks that flip pairs of nodes: add an absent edge, or remove a present one.

    Pairs are unordered, so an undirected graph stays undirected, and no self-loops are added. The
    attack targets the nodes in ``data.mask``, or all nodes of a graph without a mask. A subclass
    implements :meth:`select_pairs`.

    Args:
        eps: largest number of flips, as a fraction of the number of undirected edges.
        seed: random seed, default 0.

    Raises:
        InputError: negative ``eps``; a graph that has no labels or is directed; a model that
            ignores edge weights, for attacks that need their gradients.
    """

    eps: float
    seed: int = 0

    def __post_init__(self) -> None:
        check_non_negative(eps=self.eps)
        check_integer(seed=self.seed)

    def __call__(self, model: Any, x: Any, y: Tensor | None = None) -> Any:
        """Return a graph with flipped edges.

        Args:
            model: a model with a ``logits`` method, or any function that maps graphs to the scores
                of their nodes, (N, K).
            x: graph with ``edge_index``, (2, E), and all other inputs of the model.
            y: true class indices of the nodes, int64 (N,), default ``x.y``.
        """
        labels = getattr(x, "y", None) if y is None else y
        if labels is None:
            raise InputError(f"{self.name} needs the true classes y: the graph has no labels")
        if x.get("edge_weight") is not None:
            raise InputError(
                f"{self.name} adds and removes edges, whose weights it does not know: choose a "
                "graph without weights (--data.weighted false)"
            )
        pairs = unique_undirected_edges(x.edge_index)
        num_self_loops = int((x.edge_index[0] == x.edge_index[1]).sum())
        if 2 * pairs.shape[1] + num_self_loops != x.edge_index.shape[1]:
            raise InputError(
                f"{self.name} needs an undirected graph with each edge once in both directions, "
                f"got {x.edge_index.shape[1]} edges between {pairs.shape[1]} pairs of nodes"
            )
        num_pairs = x.num_nodes * (x.num_nodes - 1) // 2
        num_flips = min(int(self.eps * pairs.shape[1]), num_pairs)
        attacked = copy(x)
        if not num_flips:
            return attacked
        with frozen_eval(model), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            flips = self.select_pairs(model, x, labels, num_flips)
        attacked.edge_index = flip_edges(x.edge_index, flips, x.num_nodes)
        return attacked

    def perturb_batch(self, model: Any, batch: Any) -> Any:
        return self(model, batch)

    def with_eps(self, eps: float) -> Attack:
        return replace(self, eps=eps)

    def select_pairs(self, model: Any, data: Any, y: Tensor, num_flips: int) -> Tensor:
        """Select the pairs to flip, (2, P) with P ≤ ``num_flips``."""
        raise NotImplementedError(f"{self.name} has no select_pairs(model, data, y, num_flips)")


class RandomEdgeFlips(GraphAttack):
    """Add edges between random unconnected pairs: a baseline that does not use the model."""

    def select_pairs(self, model: Any, data: Any, y: Tensor, num_flips: int) -> Tensor:
        present = unique_undirected_edges(data.edge_index)
        num_absent = data.num_nodes * (data.num_nodes - 1) // 2 - present.shape[1]
        return sample_absent_edges(present, data.num_nodes, min(num_flips, num_absent))


@dataclass(frozen=True, kw_only=True)
class GreedyEdgeFlips(GraphAttack):
    """White-box attack that flips, in rounds, the pairs with the largest first-order gain.

    With a_ij the weight of a pair, 0 or 1, flipping it changes the loss by approximately
    (1 − 2 a_ij) ∂L/∂a_ij. L is the mean of tanh((max_{k≠y} z_k − z_y) / τ), with τ the mean
    absolute margin on the clean graph: nodes that are already misclassified by a large margin do
    not attract all flips, and the gradients of confident models do not vanish.

    Args:
        rounds: number of rounds, default 20; each computes one gradient and selects its portion of
            the flips.
        **graph: see :class:`GraphAttack`.

    Raises:
        InputError: fewer than one round; a graph of more than 5,000 nodes.

    Source: the greedy search of Geisler et al., Robustness of graph neural networks at scale, 2021,
    section 3, on all pairs instead of random ones.
    """

    rounds: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, rounds=self.rounds)

    def select_pairs(self, model: Any, data: Any, y: Tensor, num_flips: int) -> Tensor:
        if data.num_nodes > MAX_NODES:
            raise InputError(
                f"GreedyEdgeFlips considers all pairs of at most {MAX_NODES:,} nodes, got "
                f"{data.num_nodes:,} nodes: choose PRBCD"
            )
        weighted = EdgeWeightedModel(model, data)
        with torch.no_grad():
            ones = torch.ones(data.edge_index.shape[1]).to(data.x)
            margins = node_margins(weighted(data.x, data.edge_index, ones), data, y)
            scale = float(margins.abs().mean().clamp(min=1e-12))
        edges, flips = data.edge_index, data.edge_index.new_empty(2, 0)
        pairs = torch.triu_indices(data.num_nodes, data.num_nodes, 1, device=edges.device)
        ids = _pair_ids(pairs, data)
        for step in range(self.rounds):
            count = num_flips * (step + 1) // self.rounds - flips.shape[1]
            if not count:
                continue
            gains = torch.cat(
                [
                    self._gains(weighted, edges, chunk, data, y, scale)
                    for chunk in pairs.split(PAIRS_PER_CHUNK, 1)
                ]
            )
            # do not flip a pair back
            gains[torch.isin(ids, _pair_ids(flips, data))] = -torch.inf
            flips = torch.cat([flips, pairs[:, gains.topk(count).indices]], 1)
            edges = flip_edges(data.edge_index, flips, data.num_nodes)
        return flips

    @staticmethod
    def _gains(
        model: EdgeWeightedModel, edges: Tensor, pairs: Tensor, data: Any, y: Tensor, scale: float
    ) -> Tensor:
        """Estimate the increase of the loss from each flip, (P,)."""
        present = unique_undirected_edges(edges)
        pair_ids, present_ids = _pair_ids(pairs, data), _pair_ids(present, data)
        is_edge = torch.isin(pair_ids, present_ids)
        # edges outside this chunk of pairs keep their weight of 1
        is_in_chunk = torch.isin(present_ids, pair_ids[is_edge])
        weight = is_edge.to(data.x.dtype).requires_grad_()
        rest = symmetrize_edges(present[:, ~is_in_chunk])
        all_edges = torch.cat([symmetrize_edges(pairs), rest], 1)
        weights = torch.cat([weight, weight, torch.ones(rest.shape[1]).to(data.x)])
        scores = model(data.x, all_edges, weights)
        loss = (node_margins(scores, data, y) / scale).tanh().mean()
        gradient = torch.autograd.grad(loss, weight)[0]
        return torch.where(is_edge, -gradient, gradient)


def _pair_ids(pairs: Tensor, data: Any) -> Tensor:
    """Return one integer for each pair of nodes, (2, P) → (P,)."""
    return pairs[0] * data.num_nodes + pairs[1]


def node_margins(scores: Tensor, data: Any, y: Tensor) -> Tensor:
    """Compute the margin max_{k≠y} z_k − z_y of each node in the mask of a graph."""
    nodes = data.mask if "mask" in data else slice(None)
    return Goal(y[nodes]).loss(scores[nodes], "margin")


@dataclass(frozen=True, kw_only=True)
class PRBCD(GraphAttack):
    """Projected randomized block coordinate descent on edge weights, a white-box attack.

    Gradient steps update the weights of a random block of pairs; pairs whose weight stays near 0
    are resampled. This is PyG's ``PRBCDAttack`` without its side effects: that class leaves the
    model in evaluation mode, keeps its settings in a dictionary shared by all instances, and uses
    the global random generators.

    Args:
        epochs: number of gradient steps with resampling, default 50, followed by a third as many
            without.
        block_size: number of pairs in a block, default 250,000.
        lr: learning rate of the weights, default 1,000.
        loss: ``tanh_margin`` (default), ``prob_margin``, ``margin`` or ``masked``, as defined by
            PyG.
        **graph: see :class:`GraphAttack`.

    Source: Geisler et al., Robustness of graph neural networks at scale, 2021, algorithm 1.
    """

    epochs: int = 50
    block_size: int = 250_000
    lr: float = 1_000.0
    loss: str = "tanh_margin"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, epochs=self.epochs, block_size=self.block_size)
        check_positive(lr=self.lr)

    def select_pairs(self, model: Any, data: Any, y: Tensor, num_flips: int) -> Tensor:
        attack = self._make_attack(EdgeWeightedModel(model, data), num_flips, data.num_nodes)
        nodes = data.mask.nonzero()[:, 0] if "mask" in data else None
        _, flips = attack.attack(data.x, data.edge_index, y, num_flips, nodes)
        return flips

    def _make_attack(self, model: nn.Module, num_flips: int, num_nodes: int) -> Any:
        """Return PyG's attack with settings of its own."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*experimental code")
            from torch_geometric.contrib.nn import PRBCDAttack

        block_size = self._block_size(num_flips, num_nodes)
        attack = PRBCDAttack(
            model, block_size, self.epochs + self.epochs // 3, self.epochs, self.loss, lr=self.lr,
            log=False,
        )  # fmt: skip
        attack.coeffs = dict(PRBCDAttack.coeffs)
        return attack

    def _block_size(self, num_flips: int, num_nodes: int) -> int:
        """Limit the block to twice the number of pairs, but at least twice the number of flips."""
        return max(min(self.block_size, num_nodes * (num_nodes - 1)), 2 * num_flips)


class GRBCD(PRBCD):
    """Greedy randomized block coordinate descent: greedy flips in a block resampled every round.

    This is PyG's ``GRBCDAttack``; see :class:`PRBCD`.

    Source: Geisler et al., Robustness of graph neural networks at scale, 2021, section 3.
    """

    def _make_attack(self, model: nn.Module, num_flips: int, num_nodes: int) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*experimental code")
            from torch_geometric.contrib.nn import GRBCDAttack

        block_size = self._block_size(num_flips, num_nodes)
        epochs = min(self.epochs, num_flips)
        attack = GRBCDAttack(model, block_size, epochs, self.loss, log=False)
        attack.coeffs = dict(GRBCDAttack.coeffs)
        return attack


class EdgeWeightedModel(nn.Module):
    """A graph model as a function of node features, edges and edge weights.

    Args:
        model: a model with a ``logits`` method, or any function of graphs.
        data: graph whose other attributes the model receives.

    Raises:
        InputError: the scores of the model do not depend on the edge weights.
    """

    def __init__(self, model: Any, data: Any) -> None:
        super().__init__()
        self._function, self._data = getattr(model, "logits", model), data
        weight = torch.ones(data.edge_index.shape[1]).to(data.x).requires_grad_()
        scores = self._scores(weight)
        gradient = None
        if scores.requires_grad:
            gradient = torch.autograd.grad(scores.square().sum(), weight, allow_unused=True)[0]
        if gradient is None or not bool((gradient != 0).any()):
            raise InputError(
                f"{type(model).__name__} ignores edge weights, whose gradients this attack needs: "
                "choose a model that uses data.edge_weight (conv gcn, cheb or appnp), or "
                "RandomEdgeFlips"
            )

    def _scores(self, weight: Tensor) -> Tensor:
        try:
            return self(self._data.x, self._data.edge_index, weight)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(
                f"attacks on edges need the gradients of edge weights: {error}"
            ) from error

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        data = copy(self._data)
        data.x, data.edge_index, data.edge_weight = x, edge_index, edge_weight
        return self._function(data)
