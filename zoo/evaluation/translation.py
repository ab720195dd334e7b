"""Figures of merit of a translator, on whole sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.errors import InputError
from zoo.evaluation.latent import Measurement
from zoo.models.sequences.translator import Translator

BATCH = 64  # sentences that are translated together


def translations(
    model: Translator, pairs: list[tuple[str, str]], beams: int = 1
) -> Iterator[Measurement]:
    """BLEU of a translator's translations, with sacrebleu's signatures, and those without fault.

    Args:
        model: in evaluation mode.
        pairs: sentences and their translations.
        beams: width of the search.

    Raises:
        InputError: sacrebleu is not installed.

    Source: Post, A call for clarity in reporting BLEU scores, 2018.
    """
    bleu = _sacrebleu()
    references = [target for _, target in pairs]
    found = translate_all(model, [source for source, _ in pairs], beams)
    for name, lowercase in (("bleu", False), ("bleu_lowercase", True)):
        metric = bleu(lowercase=lowercase)
        score = metric.corpus_score(found, [references]).score
        signature = metric.get_signature().format(short=True)
        yield Measurement(
            name, score, f"{len(pairs)} sentences, {beams} beam(s); sacreBLEU {signature}"
        )
    exact = sum(map(str.__eq__, found, references)) / len(pairs)
    yield Measurement(
        "exact", exact, f"fraction of {len(pairs)} translations equal to the reference"
    )


def translate_all(model: Translator, texts: list[str], beams: int) -> list[str]:
    """Translations in the order of the texts, made in batches of like length."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = [""] * len(texts)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        for i, text in zip(chosen, model.translate([texts[i] for i in chosen], beams), strict=True):
            found[i] = text
    return found


def _sacrebleu() -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise InputError("BLEU needs sacrebleu: pip install sacrebleu") from None
    return BLEU
