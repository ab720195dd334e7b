"""SequenceModel and TextModel: what all models of sequences share, and those of text."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor, nn

from zoo.core.constructor import build_config
from zoo.core.optim import decay_groups
from zoo.core.task import Task
from zoo.functional.tokenization import Tokenizer, load_tokenizer
from zoo.networks.sequence_network import SequenceConfig, SequenceNetwork

Labels = list[str] | None


class SequenceModel(Task):
    """A task around a :class:`~zoo.networks.sequence_network.SequenceNetwork`.

    Args:
        layer_type: ``transformer`` (default), ``rnn``, ``gru``, ``lstm``, ``conv`` or ``mlp``, all
            with as many weights as the transformer.
        dim: width of the tokens, default 128.
        layers: number of layers, default 4.
        heads: attention heads, default 4.
        position: ``rotary`` (default), ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``none``;
            only the transformer uses it.
        mlp_dim: inner width of the feed-forward networks, default 4 · dim.
        kv_heads: heads of keys and values, default ``heads``.
        qk_norm: whether queries and keys are normalized, default no.
        normalization: ``layer`` (default), ``rms`` or ``batch``.
        pre_norm: whether normalization comes before each sublayer (default) or after it.
        activation: ``gelu`` (default), ``relu``, ``relu2`` or ``swiglu``.
        bias: whether linear maps have a bias, default yes.
        dropout: dropout probability, default 0.
        attention_dropout: dropout probability of the attention weights, default ``dropout``.
        init_std: standard deviation of the initial weights, default 0.02.
        zero_init: whether projections into the residual stream start at 0, default no.
        **task: see :class:`~zoo.core.task.Task`. With the optimizer ``muon``, embeddings and the
            output layer are trained by its AdamW part.

    For the settings of the layers see :class:`~zoo.networks.transformer.TransformerConfig` and
    :class:`~zoo.networks.sequence_network.SequenceConfig`.

    Raises:
        InputError: unknown names, or numbers out of range.
    """

    def __init__(
        self,
        layer_type: str = "transformer",
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
        position: str = "rotary",
        mlp_dim: int | None = None,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        normalization: str = "layer",
        pre_norm: bool = True,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        init_std: float = 0.02,
        zero_init: bool = False,
        **task: Any,
    ) -> None:
        super().__init__(**task)

    def make_network(self, causal: bool, length: int, **options: Any) -> SequenceNetwork:
        """Create the stack of layers for up to ``length`` tokens.

        Args:
            causal: whether a token sees only itself and earlier tokens.
            length: longest sequence.
            **options: ``window`` or ``cross_attention`` of the network.
        """
        return SequenceNetwork(
            build_config(SequenceConfig, self.hparams), length, causal, **options
        )

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        """Names of the queries and the keys of an attention, by its name, on one row of a batch;
        none where tokens have no names."""
        return None, None

    def parameter_groups(self) -> list[dict[str, Any]]:
        decay = self.hparams["weight_decay"]
        if self.hparams["optimizer"] != "muon":
            return decay_groups(self, decay)
        stacks = [m for m in self.modules() if isinstance(m, SequenceNetwork)]
        inner = {p for m in stacks for layer in m.layers for p in layer.parameters()}
        groups = decay_groups(self, decay)
        split = []
        for group in groups:
            for muon in (True, False):
                members = [p for p in group["params"] if (p in inner) == muon]
                if members:
                    split.append({**group, "params": members, "muon": muon})
        return split


class TextModel(SequenceModel):
    """A sequence model of text, which carries its tokenizer.

    Args:
        tokenizer: description of the tokenizer (:mod:`zoo.functional.tokenization`), as a string;
            default none: then the model knows numbers alone.
        **sequence: see :class:`SequenceModel`.
    """

    def __init__(self, tokenizer: str | None = None, **sequence: Any) -> None:
        super().__init__(**sequence)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Between text and tokens.

        Raises:
            ValueError: the model was made without one.
        """
        if self.hparams["tokenizer"] is None:
            raise ValueError("this model was made without a tokenizer: it knows numbers alone")
        return load_tokenizer(self.hparams["tokenizer"])

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        if self.hparams["tokenizer"] is None:
            return None, None
        names = token_labels(x, self.tokenizer)
        return names, names


def token_labels(tokens: Tensor, tokenizer: Tokenizer) -> list[str]:
    """What each number of a row (T,) stands for; white space made visible."""
    return [_visible(tokenizer.token_text(number)) for number in tokens.tolist()]


def _visible(piece: str) -> str:
    return piece.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")


def make_embedding(count: int, dim: int, std: float) -> nn.Embedding:
    """Vectors of ``count`` symbols, normal with standard deviation ``std``."""
    embedding = nn.Embedding(count, dim)
    nn.init.normal_(embedding.weight, std=std)
    return embedding
