"""Self-attention: its simplest form, its symmetries, and the effect of one word.

Without parameters, self-attention is softmax(x xᵀ/√d) x: each output is a weighted mean of the
tokens, with the largest weights on similar tokens. Order plays no role: permuting the tokens
permutes the outputs, unless positions are added or a mask is applied. With a causal mask, no output
depends on later tokens.

What can attention learn that a bag of words cannot? Each sentence of the data has two clauses and
one "not", whose position decides whether the sentence is positive or negative. The words alone do
not determine the class, so a bag of words is right only half of the time.

Sources: Vaswani et al., Attention is all you need, 2017, section 3.2; the form without parameters
as in Bloem, Transformers from scratch, 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datamodules import LabeledText
from zoo.errors import check_at_least
from zoo.functional.attention import attention_weights
from zoo.models.sequences.sequence_classifier import SequenceClassifier
from zoo.networks.attention import SimpleSelfAttention, record_attention_weights
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import Row, Table, accuracy_on_test, fit, make_generator, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: a positive and a negative sentence with the same words
PAIR = (
    "i think the plot was not dull , the cast was good",
    "i think the plot was dull , the cast was not good",
)
POSITIVE = 1  # class index
LAYERS = {"attention, two layers": 2, "bag of words": 0}
#: identities that fail, as they should
VIOLATED = ("… with positions added", "… with a causal mask", "… without the causal mask")


@dataclass(frozen=True)
class Result:
    """Weights of attention without parameters, errors of identities, and trained classifiers."""

    words: list[str]
    similarity: Tensor  # x xᵀ/√d
    weights: Tensor
    causal_weights: Tensor
    identities: dict[str, float]  # largest difference between the two sides
    accuracies: dict[str, float]
    p_positive: list[float]  # of both sentences of the pair
    learned_weights: list[Tensor]  # (heads, T, T) of each layer, first sentence of the pair
    learned_words: list[str]
    to_not: dict[str, float]  # attention weight from each word to "not" in the first layer


def run(epochs: int = 8, num_samples: int = 4000, seed: int = 0) -> Result:
    """Compute attention without parameters, and train a transformer and a bag of words.

    Args:
        epochs: training epochs of both classifiers.
        num_samples: number of sentences, at least 100; 80% of them are for training.
        seed: random seed of sentences, initial weights, batches and random tokens.
    """
    check_at_least(1, epochs=epochs)
    check_at_least(100, num_samples=num_samples)
    data = LabeledText(num_samples=num_samples, seed=seed)
    data.setup()
    models = {
        name: train(layers, data, epochs, seed)
        for name, layers in track(LAYERS.items(), "classifiers")
    }
    accuracies = {name: accuracy_on_test(model, data) for name, model in models.items()}
    model = models["attention, two layers"]
    words = ["the", "plot", "was", "not", "dull", "the", "plot", "was", "good"]
    vectors = torch.randn(len(words), 16, generator=make_generator(seed)).double()
    index = {word: i for i, word in enumerate(words)}
    tokens = torch.stack([vectors[index[word]] for word in words])  # equal words, equal vectors
    learned_weights = weights_by_layer(model, PAIR[0])
    return Result(
        words, tokens @ tokens.mT / 16**0.5, attention_weights(tokens, tokens),
        attention_weights(tokens, tokens, causal=True), identity_errors(seed), accuracies,
        model.classify(list(PAIR))[:, POSITIVE].tolist(), learned_weights, PAIR[0].split(),
        weights_to_not(learned_weights[0], PAIR[0].split()),
    )  # fmt: skip


def train(layers: int, data: LabeledText, epochs: int, seed: int) -> SequenceClassifier:
    """Train a transformer, or with ``layers=0`` a bag of words."""
    torch.manual_seed(seed)
    model = SequenceClassifier(
        data.vocab_size, data.length, data.num_classes, tokenizer=data.tokenizer, dim=64,
        layers=layers, heads=4, dropout=0.1, optimizer="adamw", lr=1e-3, schedule="cosine",
        warmup=0.05,
    )  # fmt: skip
    return fit(model, data, epochs)


def weights_by_layer(model: SequenceClassifier, text: str) -> list[Tensor]:
    """Return the attention weights of each layer on a sentence, (heads, T, T)."""
    x = torch.tensor([model.tokenizer.encode(text)])
    with torch.no_grad(), record_attention_weights(model) as records:
        model.logits(x)
    return [passes[0][0] for passes in records.values()]


def head_attending_to(weights: Tensor, position: int) -> int:
    """Return the head with the largest attention weight to a token, given (heads, T, T)."""
    return int(weights[:, :, position].max(1).values.argmax())


def weights_to_not(weights: Tensor, words: list[str]) -> dict[str, float]:
    """Return the attention weight from each word to "not", in the head with the largest one.

    Args:
        weights: attention weights of a layer, (heads, T, T).
        words: the sentence.

    Returns:
        Weights by position and word, such as ``"6 not"``.
    """
    position = words.index("not")
    to_not = weights[head_attending_to(weights, position), :, position].tolist()
    return {f"{i} {word}": w for i, (word, w) in enumerate(zip(words, to_not, strict=True), 1)}


def identity_errors(seed: int) -> dict[str, float]:
    """Return the largest difference between the sides of each identity, on random tokens."""
    rng = make_generator(seed)
    x = torch.randn(2, 12, 8, generator=rng, dtype=torch.float64)
    order = torch.randperm(12, generator=rng)
    full, causal = SimpleSelfAttention(), SimpleSelfAttention(causal=True)
    changed = x.clone()
    changed[:, 7:] = 5
    positions = torch.randn(12, 8, generator=rng, dtype=torch.float64)

    def permutation_error(f: Callable[[Tensor], Tensor]) -> Tensor:
        return f(x[:, order]) - f(x)[:, order]

    differences = {
        "permuting the tokens vs. permuting the outputs": permutation_error(full),
        "… with positions added": permutation_error(lambda v: full(v + positions)),
        "… with a causal mask": permutation_error(causal),
        "causal: outputs before and after a change of later tokens": (
            (causal(changed) - causal(x))[:, :7]
        ),
        "… without the causal mask": (full(changed) - full(x))[:, :7],
        "sum of attention weights vs. 1": attention_weights(x, x).sum(-1) - 1,
    }
    return {name: float(difference.abs().max()) for name, difference in differences.items()}


def table(result: Result) -> Table:
    """Return errors of identities, accuracies, and the predictions on the pair of sentences."""
    rows: list[Row] = [
        (name, error, None if name in VIOLATED else 0.0)
        for name, error in result.identities.items()
    ]
    for name, accuracy in result.accuracies.items():
        rows.append((f"test accuracy: {name}", accuracy, 0.5 if LAYERS[name] == 0 else None))
    for text, probability in zip(PAIR, result.p_positive, strict=True):
        rows.append((f'P(positive): "{text}"', probability))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw attention without parameters, and the trained heads that attend most to "not"."""
    figure = new_figure(12, 7.6)
    above, below = subfigures(figure, 2, 1)
    similarity, weights, causal = above.subplots(1, 3)
    _draw_matrix(similarity, result.similarity, result.words, "Similarity x xᵀ/√d", signed=True)
    _draw_matrix(weights, result.weights, result.words, "Attention weights")
    _draw_matrix(causal, result.causal_weights, result.words, "Attention weights, causal mask")
    *heads, bars = below.subplots(1, 3)
    position = result.learned_words.index("not")
    for layer, (axes, by_head) in enumerate(zip(heads, result.learned_weights, strict=True), 1):
        head = head_attending_to(by_head, position)
        title = f"Trained, layer {layer}, head {head + 1}"
        _draw_matrix(axes, by_head[head], result.learned_words, title)
    bars.barh(range(len(result.to_not)), list(result.to_not.values()), color=COLORS[4])
    bars.set_yticks(range(len(result.to_not)), result.learned_words, fontsize=8)
    bars.invert_yaxis()
    bars.set(xlabel="Attention weight")
    bars.set_title('Attention to "not", layer 1', fontsize=10)
    return figure


def _draw_matrix(
    axes: Axes, matrix: Tensor, words: list[str], title: str, signed: bool = False
) -> None:
    """Draw weights from the words in rows to the words in columns."""
    limit = float(matrix.abs().max())
    axes.imshow(
        matrix, cmap="RdBu" if signed else "Blues", vmin=-limit if signed else 0, vmax=limit
    )
    axes.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
    axes.set_yticks(range(len(words)), words, fontsize=8)
    axes.set_title(title, fontsize=10)
