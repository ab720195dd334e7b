"""Self-attention from its simplest form on, and a word that decides.

Without any parameter, attention is softmax(x xᵀ/√d) x: every token becomes a mean of the tokens
that are like it. Nothing in it knows of order: permuted tokens give permuted outputs, unless a mask
or positions say otherwise. With a causal mask no output depends on a later token. The trained
classifier reads sentences of two clauses in which one "not" decides: the words alone do not tell
positive from negative, and a bag of words is right half of the time.

Source: Vaswani et al., Attention is all you need, 2017, section 3.2; the simplest form as in Bloem,
Transformers from scratch, 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import LabeledText
from zoo.functional.attention import attention_weights
from zoo.models.sequences.sequence_classifier import SequenceClassifier
from zoo.networks.attention import SimpleSelfAttention, record_attention_weights
from zoo.plots.style import COLORS, new_figure, subfigures
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIR = (
    "i think the plot was not dull , the cast was good",
    "i think the plot was dull , the cast was not good",
)
POSITIVE = 1


@dataclass(frozen=True)
class Result:
    """Weights of the simplest attention, differences that ought to be 0, and what was learned."""

    words: list[str]
    similarity: Tensor  # x xᵀ/√d
    weights: Tensor
    causal: Tensor
    laws: dict[str, float]
    accuracies: dict[str, float]
    positive: list[float]  # probability of both sentences of the pair
    learned: list[Tensor]  # (heads, T, T) of each layer, first sentence
    learned_words: list[str]
    to_not: dict[str, float]  # mean weight that "not" gets in the first layer, by word


def run(epochs: int = 8, samples: int = 4000, seed: int = 0) -> Result:
    """Looks at attention without parameters, and trains a classifier and a bag of words.

    Args:
        epochs: of both.
        samples: sentences, 80 % of them for training.
        seed: of weights, batches and random tokens.
    """
    require(epochs >= 1 and samples >= 100, "epochs must be at least 1 and samples at least 100")
    data = LabeledText(samples=samples, seed=seed)
    data.setup()
    models = {name: train(layers, data, epochs, seed) for name, layers in track(
        {"attention, two layers": 2, "bag of words": 0}.items(), "classifiers")}  # fmt: skip
    x, y = data.evaluation_samples("test")
    with torch.no_grad():
        accuracies = {
            name: float((model.logits(x).argmax(1) == y).double().mean())
            for name, model in models.items()
        }
    model = models["attention, two layers"]
    text = ["the", "plot", "was", "not", "dull", "the", "plot", "was", "good"]
    tokens = torch.randn(len(text), 16, generator=generator(seed)).double()
    kinds = {word: place for place, word in enumerate(text)}
    tokens = torch.stack([tokens[kinds[word]] for word in text])  # equal words are equal vectors
    similarity = tokens @ tokens.mT / 16**0.5
    learned = looked_at(model, PAIR[0])
    return Result(
        text, similarity, attention_weights(tokens, tokens),
        attention_weights(tokens, tokens, causal=True), laws(seed), accuracies,
        model.classify(list(PAIR))[:, POSITIVE].tolist(), learned, PAIR[0].split(),
        weight_of_not(learned[0], PAIR[0].split()),
    )  # fmt: skip


def train(layers: int, data: LabeledText, epochs: int, seed: int) -> SequenceClassifier:
    """A transformer, or with no layer a bag of words."""
    torch.manual_seed(seed)
    model = SequenceClassifier(
        data.vocab_size, data.length, data.num_classes, tokenizer=data.tokenizer, dim=64,
        layers=layers, heads=4, dropout=0.1, optimizer="adamw", lr=1e-3, schedule="cosine",
        warmup=0.05,
    )  # fmt: skip
    return fit(model, data, epochs)


def looked_at(model: SequenceClassifier, text: str) -> list[Tensor]:
    """Attention weights of each layer on a sentence, (heads, T, T)."""
    x = torch.tensor([model.tokenizer.encode(text)])
    with torch.no_grad(), record_attention_weights(model) as records:
        model.logits(x)
    return [passes[0][0] for passes in records.values()]


def weight_of_not(weights: Tensor, words: list[str]) -> dict[str, float]:
    """How much "not" is attended to by each word, in the head that does so most."""
    column = weights[:, :, words.index("not")]  # (heads, T)
    best = column[column.max(1).values.argmax()]
    return {f"{place + 1} {word}": float(w) for place, (word, w) in
            enumerate(zip(words, best, strict=True))}  # fmt: skip


def laws(seed: int) -> dict[str, float]:
    """Largest differences between two sides of equations on random tokens."""
    random = generator(seed)
    x = torch.randn(2, 12, 8, generator=random, dtype=torch.float64)
    order = torch.randperm(12, generator=random)
    free, causal = SimpleSelfAttention(), SimpleSelfAttention(causal=True)
    later = x.clone()
    later[:, 7:] = 5
    positions = torch.randn(12, 8, generator=random, dtype=torch.float64)

    def gap(f: Any) -> Tensor:
        return f(x[:, order]) - f(x)[:, order]

    gaps = {
        "attention of permuted tokens, permuted attention": gap(free),
        "… with positions added": gap(lambda v: free(v + positions)),
        "… with a causal mask": gap(causal),
        "causal: tokens before a change, before and after it": (causal(later) - causal(x))[:, :7],
        "not causal: the same": (free(later) - free(x))[:, :7],
        "rows of softmax: sum − 1": attention_weights(x, x).sum(-1) - 1,
    }
    return {name: float(value.abs().max()) for name, value in gaps.items()}


def table(result: Result) -> Table:
    broken = ("positions added", "causal mask", "the same")
    rows: list[tuple[str | float | None, ...]] = [
        (name, gap, None if name.endswith(broken) else 0.0) for name, gap in result.laws.items()
    ]
    for name, accuracy in result.accuracies.items():
        rows.append((f"test accuracy, {name}", accuracy, 0.5 if "bag" in name else None))
    for text, probability in zip(PAIR, result.positive, strict=True):
        rows.append((f'P(positive): "{text}"', probability))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 7.6)
    above, below = subfigures(figure, 2, 1)
    simple = {
        "x xᵀ/√d": result.similarity, "softmax of it": result.weights,
        "with a causal mask": result.causal,
    }  # fmt: skip
    for axes, (name, matrix) in zip(above.subplots(1, 3), simple.items(), strict=True):
        _matrix(axes, matrix, result.words, name, signed=name == "x xᵀ/√d")
    *heads, bars = below.subplots(1, 3)
    for axes, (layer, weights) in zip(heads, enumerate(result.learned), strict=True):
        best = weights[:, :, result.learned_words.index("not")].max(1).values.argmax()
        _matrix(
            axes,
            weights[best],
            result.learned_words,
            f"trained, layer {layer + 1}, head {best + 1}",
        )
    words = list(result.to_not)
    bars.barh(range(len(words)), list(result.to_not.values()), color=COLORS[4])
    bars.set_yticks(range(len(words)), [w.split()[1] for w in words], fontsize=8)
    bars.invert_yaxis()
    bars.set_title('weight of "not", layer 1', fontsize=10)
    return figure


def _matrix(axes: Axes, matrix: Tensor, words: list[str], title: str, signed: bool = False) -> None:
    """Weights from the word at the left to the word below."""
    reach = float(matrix.abs().max())
    axes.imshow(
        matrix, cmap="RdBu" if signed else "Blues", vmin=-reach if signed else 0, vmax=reach
    )
    axes.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
    axes.set_yticks(range(len(words)), words, fontsize=8)
    axes.set_title(title, fontsize=10)
