"""SequenceModel and TextModel: what all models of sequences share, and those of text."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor, nn

from zoo.core.optim import decay_groups
from zoo.core.task import Task
from zoo.functional.tokenization import Tokenizer, load_tokenizer
from zoo.networks.sequence_network import SequenceNetwork

Labels = list[str] | None


class SequenceModel(Task):
    """A task around a :class:`~zoo.networks.sequence_network.SequenceNetwork`.

    Args:
        layer: ``transformer`` (default), ``rnn``, ``gru``, ``lstm``, ``conv`` or ``mlp``, all with
            as many weights as the transformer.
        dim: width of tokens, default 128.
        layers, heads: default 4 and 4.
        position: ``rotary`` (default), ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``none``;
            of the transformer alone.
        hidden: inner width of its feed-forward nets, default 4 · dim.
        kv_heads, qk_norm: default all heads and no; see
            :class:`~zoo.networks.attention.MultiHeadAttention`.
        norm, pre_norm, activation, bias: default ``layer``, yes, ``gelu`` and yes; see
            :class:`~zoo.networks.transformer.TransformerLayer`.
        dropout, attention_dropout: default 0, and that of ``dropout``; see
            :class:`~zoo.networks.transformer.TransformerLayer`.
        init_std, zero_init: default 0.02 and no; ``std`` and ``zero_init`` of the network.
        **task: see :class:`~zoo.core.task.Task`. Of the optimiser ``muon``, embeddings and the last map
            belong to the Adam part.
    """

    def __init__(
        self,
        layer: str = "transformer",
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
        position: str = "rotary",
        hidden: int | None = None,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        norm: str = "layer",
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
        """The stack of layers for up to ``length`` tokens; ``options`` go before the
        hyper-parameters."""
        hp = self.hparams
        names = (
            "layer", "dim", "layers", "heads", "position", "hidden", "kv_heads", "qk_norm", "norm",
            "pre_norm", "activation", "bias", "dropout", "attention_dropout", "zero_init",
        )  # fmt: skip
        settings = {name: hp[name] for name in names}
        settings |= {"std": hp["init_std"], "length": length, "causal": causal, **options}
        return SequenceNetwork(**settings)

    def look(self, x: Tensor, y: Tensor) -> Any:
        """One pass over a batch, for those who look at what happens inside."""
        return self(x)

    def labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
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

    def labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        if self.hparams["tokenizer"] is None:
            return None, None
        names = token_labels(x, self.tokenizer)
        return names, names


def token_labels(tokens: Tensor, tokenizer: Tokenizer) -> list[str]:
    """What each number of a row (T,) stands for; white space made visible."""
    return [_visible(tokenizer.text_of(number)) for number in tokens.tolist()]


def _visible(piece: str) -> str:
    return piece.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")


def make_embedding(count: int, dim: int, std: float) -> nn.Embedding:
    """Vectors of ``count`` symbols, normal with standard deviation ``std``."""
    embedding = nn.Embedding(count, dim)
    nn.init.normal_(embedding.weight, std=std)
    return embedding
