"""SequenceModel and TextModel: base classes of models of sequences and text."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.constructor import build_config
from zoo.core.task import Task
from zoo.errors import InputError
from zoo.functional.tokenization import PAD_ID, UNKNOWN_ID, Tokenizer, load_tokenizer
from zoo.networks.sequence_network import SequenceConfig, SequenceNetwork

IGNORE_INDEX = -100  # target of tokens that are not predicted, as in F.cross_entropy
MIN_UNKNOWN = 0.1  # fraction of unknown tokens from which on it is said
VISIBLE_WHITESPACE = str.maketrans({"\n": "⏎", "\t": "⇥", " ": "␣"})

Labels = list[str] | None


class SequenceModel(Task):
    """A task around a :class:`~zoo.networks.sequence_network.SequenceNetwork`.

    Subclasses create the network with :meth:`make_network`.

    Args:
        layer_type: kind of layers: ``transformer`` (default), ``rnn``, ``gru``, ``lstm``,
            ``conv`` or ``mlp``; all have about as many weights as a transformer with the same
            settings.
        dim: width of the tokens, default 128.
        layers: number of layers, default 4.
        heads: number of attention heads, default 4; must divide ``dim``.
        position: position encoding of the transformer: ``rotary`` (default), ``learned``,
            ``sinusoidal``, ``t5``, ``alibi`` or ``none``. The other layer types do not use one.
        mlp_dim: inner width of the feed-forward networks, default 4 · dim.
        kv_heads: number of heads of the keys and values, default ``heads``.
        qk_norm: whether queries and keys are normalized, default False.
        normalization: normalization layers: ``layer`` (default), ``rms`` or ``batch``.
        pre_norm: whether normalization comes before each sublayer (default) or after it.
        activation: activation of the feed-forward networks: ``gelu`` (default), ``relu``,
            ``relu2`` or ``swiglu``.
        bias: whether linear maps have a bias, default True.
        dropout: dropout probability of the embedded tokens, inside the feed-forward networks and
            after each sublayer, default 0.
        attention_dropout: dropout probability of the attention weights, default ``dropout``.
        init_std: standard deviation of the initial weights, default 0.02.
        zero_init: whether projections into the residual stream start at 0, default False.
        **task: see :class:`~zoo.core.task.Task`. The optimizer ``muon`` trains the matrices of the
            layers; its AdamW part trains everything else, embeddings and output layer included.

    Details of the layers: :class:`~zoo.networks.sequence_network.SequenceConfig` and
    :class:`~zoo.networks.transformer.TransformerConfig`.

    Raises:
        InputError: unknown names, or values out of range.
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
        self.config = build_config(SequenceConfig, self.hparams)

    def make_network(self, max_length: int, causal: bool, **options: Any) -> SequenceNetwork:
        """Create a stack of layers with the settings of this model.

        Args:
            max_length: number of tokens of the longest sequence.
            causal: whether outputs depend only on the current token and earlier ones.
            **options: ``window`` or ``cross_attention`` of the network.
        """
        return SequenceNetwork(self.config, max_length, causal, **options)

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        """Return the labels of an attention layer's queries and keys, for figures.

        Args:
            layer: name of the attention layer among the model's modules.
            x: input of one sample, without batch dimension.
            y: target of the sample.

        Returns:
            The labels of the queries and of the keys; None where tokens have no text.
        """
        return None, None

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = super().parameter_groups()
        if self.hparams["optimizer"] != "muon":
            return groups
        networks = [m for m in self.modules() if isinstance(m, SequenceNetwork)]
        in_layers = {p for network in networks for p in network.layers.parameters()}
        split = []
        for group in groups:
            for muon in (True, False):
                members = [p for p in group["params"] if (p in in_layers) == muon]
                if members:
                    split.append({**group, "params": members, "muon": muon})
        return split


class TextModel(SequenceModel):
    """A sequence model of text, with its tokenizer stored in its checkpoints.

    Args:
        tokenizer: the tokenizer as a JSON string (see :mod:`zoo.functional.tokenization`), default
            none: the model then processes only token ids.
        **sequence: see :class:`SequenceModel`.
    """

    takes_tokens = True

    def __init__(self, tokenizer: str | None = None, **sequence: Any) -> None:
        super().__init__(**sequence)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, which converts text to token ids and back.

        Raises:
            InputError: the model was created without a tokenizer.
        """
        if self.hparams["tokenizer"] is None:
            raise InputError(
                f"this {type(self).__name__} was created without a tokenizer and cannot process "
                "text: set its tokenizer argument"
            )
        return load_tokenizer(self.hparams["tokenizer"])

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        if self.hparams["tokenizer"] is None:
            return None, None
        labels = token_labels(x, self.tokenizer)
        return labels, labels


def token_labels(token_ids: Tensor, tokenizer: Tokenizer) -> list[str]:
    """Return the text of each token of a row, (T,), with whitespace made visible."""
    texts = [tokenizer.token_text(token_id) for token_id in token_ids.tolist()]
    return [text.translate(VISIBLE_WHITESPACE) for text in texts]


def pad_rows(rows: list[list[int]], device: torch.device) -> Tensor:
    """Return rows of token ids as one tensor, (B, T), padded at the end; T is at least 1."""
    width = max([1, *map(len, rows)])
    padded = [row + [PAD_ID] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long, device=device).view(len(rows), width)


def cut_tokens(rows: list[list[int]], length: int, texts: str) -> list[list[int]]:
    """Return the first ``length`` tokens of each row, with a warning if any has more.

    Args:
        rows: token ids of each text.
        length: largest number of tokens.
        texts: name of the texts in the warning.
    """
    too_long = sum(len(row) > length for row in rows)
    if not too_long:
        return rows
    cut = [row[:length] for row in rows]
    kept = sum(map(len, cut)) / sum(map(len, rows))
    warnings.warn(
        f"{too_long:,} of {len(rows):,} {texts} are cut at {length:,} tokens, the length of the "
        f"model, which keeps {kept:.1%} of all their tokens",
        stacklevel=3,
    )
    return cut


def warn_of_unknown(rows: list[list[int]], tokenizer: Tokenizer, texts: str) -> None:
    """Warn if at least a tenth of the tokens are not in the vocabulary.

    Args:
        rows: token ids of each text.
        tokenizer: tokenizer that encoded them.
        texts: name of the texts in the warning.
    """
    unknown = sum(row.count(UNKNOWN_ID) for row in rows) if tokenizer.num_special_tokens else 0
    share = unknown / max(1, sum(map(len, rows)))
    if share >= MIN_UNKNOWN:
        warnings.warn(
            f"{share:.1%} of the tokens of the {texts} are not in the vocabulary", stacklevel=3
        )


def make_embedding(vocab_size: int, dim: int, std: float) -> nn.Embedding:
    """Create an embedding with normal weights.

    Args:
        vocab_size: number of tokens.
        dim: width of the embedding.
        std: standard deviation of the initial weights.
    """
    embedding = nn.Embedding(vocab_size, dim)
    nn.init.normal_(embedding.weight, std=std)
    return embedding
