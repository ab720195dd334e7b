"""Evaluation metrics for translators, on whole sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.errors import InputError
from zoo.evaluation.measurement import Measurement
from zoo.functional.words import unspaced_script
from zoo.models.sequences.translator import Translator

MAX_ORDER = 4  # of the n-grams of BLEU


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
    translations = model.translate([source for source, _ in pairs], num_beams, cut=True)
    references = [target for _, target in pairs]
    settings = _bleu_settings(bleu, references)
    order = settings["max_ngram_order"]
    remark = "" if order == MAX_ORDER else f"; BLEU-{order}, as no reference has {order + 1} tokens"
    beams = "1 beam" if num_beams == 1 else f"{num_beams} beams"
    for name, lowercase in (("bleu", False), ("bleu_lowercase", True)):
        metric = bleu(lowercase=lowercase, **settings)
        score = metric.corpus_score(translations, [references]).score
        signature = metric.get_signature().format(short=True)
        yield Measurement(
            name,
            score,
            f"{len(pairs)} sentences, {beams}; sacreBLEU {signature}{remark}",
        )
    _, tokenizer = model.tokenizers
    normalized = [tokenizer.normalize(reference) for reference in references]
    exact = sum(map(str.__eq__, translations, normalized))
    remark = " in lower case" if tokenizer.lowercase else ""
    changed = sum(
        text != (reference.lower() if tokenizer.lowercase else reference)
        for text, reference in zip(normalized, references, strict=True)
    )
    if changed:
        remark += f", without whitespace that is not in the vocabulary ({changed} references)"
    yield Measurement(
        "exact",
        exact / len(pairs),
        f"fraction of {len(pairs)} translations equal to the reference{remark}",
    )


def _bleu_settings(bleu: Any, references: list[str]) -> dict[str, Any]:
    """Return the tokenization of BLEU for the script of the references, and its n-gram order.

    Chinese is split into characters, other scripts without spaces between words into code points.
    The order is 4, or the number of tokens of the longest reference if that is less: without
    n-grams of an order, BLEU is 0 for any translations.
    """
    kind = {"chinese": "zh", "other": "char", None: "13a"}[unspaced_script("".join(references))]
    split = bleu(tokenize=kind).tokenizer
    longest = max(len(split(reference).split()) for reference in references)
    return {"tokenize": kind, "max_ngram_order": max(1, min(MAX_ORDER, longest))}


def _import_bleu() -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise InputError(
            'BLEU needs the package sacrebleu: pip install "lightning-model-zoo[text]"'
        ) from None
    return BLEU
