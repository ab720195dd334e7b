"""GraphModel: base class of models of graphs."""

from __future__ import annotations

from typing import Any

from zoo.core.constructor import build_config
from zoo.errors import check_at_least
from zoo.models.geometric.base import GeometricTask
from zoo.networks.graph_network import GraphConfig, GraphNetwork


class GraphModel(GeometricTask):
    """A task around a :class:`~zoo.networks.graph_network.GraphNetwork`.

    Args:
        num_features: number of features of a node, F.
        conv: graph convolution: ``gcn`` (default), ``sage``, ``gat``, ``gin``, ``cheb`` or
            ``appnp``; or ``mlp``, a baseline that ignores the edges.
        hidden_dim: number of features of a node between two layers, default 64.
        layers: number of convolutions, default 2.
        activation: nonlinearity between layers, default ``relu``.
        normalization: ``none`` (default) or ``batch``.
        dropout: dropout probability of the input of every convolution, default 0.5.
        attention_dropout: dropout probability of the attention weights of ``gat``, default 0.
        heads: number of attention heads of ``gat``, default 8.
        cheb_order: number of Chebyshev polynomials of ``cheb``, default 2.
        propagation_steps: number of propagation steps of ``appnp``, default 10.
        teleport_probability: teleport probability of ``appnp``, default 0.1.
        edge_dropout: dropout probability of the edges of ``appnp``, default 0.
        **task: see :class:`~zoo.core.task.Task`.

    Details of the convolutions: :class:`~zoo.networks.graph_network.GraphConfig`.

    Raises:
        InputError: unknown names, or numbers out of range.
    """

    def __init__(
        self,
        num_features: int,
        conv: str = "gcn",
        hidden_dim: int = 64,
        layers: int = 2,
        activation: str = "relu",
        normalization: str = "none",
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
        heads: int = 8,
        cheb_order: int = 2,
        propagation_steps: int = 10,
        teleport_probability: float = 0.1,
        edge_dropout: float = 0.0,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(1, num_features=num_features)
        build_config(GraphConfig, self.hparams)  # raises an error for values out of range

    def make_network(self, out_dim: int, **changes: Any) -> GraphNetwork:
        """Create the convolutions from the node features to ``out_dim`` outputs.

        Args:
            out_dim: number of output features of a node.
            **changes: settings that replace the hyper-parameters of the same names.
        """
        config = build_config(GraphConfig, self.hparams, **changes)
        return GraphNetwork(config, self.hparams["num_features"], out_dim)
