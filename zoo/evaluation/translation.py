"""Evaluation metrics for translators, on whole sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.errors import InputError
from zoo.evaluation.measurement import Measurement
from zoo.models.sequences.translator import Translator

BATCH_SIZE = 64  # sentences translated at a time


def measure_translation(
    model: Translator, pairs: list[tuple[str, str]], num_beams: int = 1
) -> Iterator[Measurement]:
    """Measure the BLEU score of translations, and the fraction that equal the reference.

    Args:
        model: translator in evaluation mode.
        pairs: source sentences, each with its reference translation.
        num_beams: width of the beam search, default 1 (greedy).

    Raises:
        InputError: sacrebleu is not installed.

    Source: Post, A call for clarity in reporting BLEU scores, 2018.
    """
    bleu = _import_bleu()
    references = [target for _, target in pairs]
    translations = translate_all(model, [source for source, _ in pairs], num_beams)
    for name, lowercase in (("bleu", False), ("bleu_lowercase", True)):
        metric = bleu(lowercase=lowercase)
        score = metric.corpus_score(translations, [references]).score
        signature = metric.get_signature().format(short=True)
        yield Measurement(
            name, score, f"{len(pairs)} sentences, {num_beams} beam(s); sacreBLEU {signature}"
        )
    exact = sum(map(str.__eq__, translations, references)) / len(pairs)
    yield Measurement(
        "exact", exact, f"fraction of {len(pairs)} translations equal to the reference"
    )


def translate_all(model: Translator, texts: list[str], num_beams: int) -> list[str]:
    """Translate texts in batches of similar length, and return them in the order given."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    translations = [""] * len(texts)
    for start in range(0, len(order), BATCH_SIZE):
        indices = order[start : start + BATCH_SIZE]
        batch = model.translate([texts[i] for i in indices], num_beams)
        for i, translation in zip(indices, batch, strict=True):
            translations[i] = translation
    return translations


def _import_bleu() -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise InputError(
            'BLEU needs the package sacrebleu: pip install "lightning-model-zoo[text]"'
        ) from None
    return BLEU
