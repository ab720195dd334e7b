"""From scores to tokens: choosing the next one, and going on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Scores with −∞ for all but the likeliest tokens.

    Args:
        logits: (..., V).
        top_k: keeps the k largest, of equal ones those that ``topk`` names; default all.
        top_p: keeps the fewest whose probabilities add up to p or more; default all (Holtzman et
            al., The curious case of neural text degeneration, 2020).
    """
    if top_k is not None and top_k < logits.shape[-1]:
        largest, places = logits.topk(top_k, -1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, places, largest)
    if top_p is not None and top_p < 1:
        p, order = logits.softmax(-1).sort(-1, descending=True)
        outside = p.cumsum(-1) - p >= top_p  # what the likelier ones add up to is enough
        logits = logits.masked_fill(
            torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf
        )
    return logits


def sample_next_token(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One token for each row of scores, (B, V) → (B,), drawn from softmax(logits / temperature).

    Args:
        logits: scores.
        temperature: 0 takes the likeliest.
        top_k, top_p: see :func:`filter_logits`.
        generator: of the draw.

    Raises:
        ValueError: a negative temperature, top_k below 1, top_p outside (0, 1].
    """
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    if temperature == 0 or top_k == 1:
        return logits.argmax(-1)
    p = filter_logits(logits / temperature, top_k, top_p).softmax(-1)
    return torch.multinomial(p, 1, generator=generator)[:, 0]


def beam_search(
    step: Callable[[Tensor, Tensor | None], Tensor],
    start: Tensor,
    end: int,
    beams: int,
    length: int,
    length_penalty: float = 1.0,
) -> Tensor:
    """The likeliest sequences that a search of limited width finds.

    Of all continuations of the ``beams`` best unfinished sequences of each row the best are kept.
    A sequence that reaches ``end`` is finished, with the score log p / tokens^length_penalty. A row
    is done when it has ``beams`` finished sequences.

    Args:
        step: ``(tokens (R,), rows (R,) | None) → logits (R, V)``: takes each beam's last token, and
            which of the former beams each one goes on from (None at first).
        start: first token of each row, (B,).
        end: token that ends a sequence.
        beams: width; 1 is the greedy choice.
        length: most tokens, ``end`` included.
        length_penalty: 0 prefers short sequences, 1 (default) has none preferred.

    Returns:
        (B, L): the best finished sequence of each row (of those that finish, else the best that
        was cut off), ``end`` included and repeated behind it.

    Source: Sutskever et al., Sequence to sequence learning, 2014, section 3.2; Wu et al., Google's
    neural machine translation system, 2016, section 7 (length).
    """
    batch, device = len(start), start.device
    tokens = start.repeat_interleave(beams)
    rows: Tensor | None = None
    # all beams of a row are equal at first: only one of them may go on
    scores = torch.full((batch, beams), -torch.inf, device=device, dtype=torch.float64)
    scores[:, 0] = 0.0
    history = torch.empty(batch * beams, 0, dtype=torch.long, device=device)
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(batch)]
    for position in range(1, length + 1):
        log_p = step(tokens, rows).double().log_softmax(-1).unflatten(0, (batch, beams))
        vocabulary = log_p.shape[-1]
        total = (scores[..., None] + log_p).flatten(1)
        # of twice as many, at least half do not end here
        best, place = total.topk(min(2 * beams, total.shape[1]), -1)
        origin = place // vocabulary + beams * torch.arange(batch, device=device)[:, None]
        token = place % vocabulary
        ends = token == end
        for row, column in ends.nonzero().tolist():
            # what a row finds after it is done would depend on the others of the batch
            searching = len(finished[row]) < beams
            if searching and column < beams and best[row, column] > -torch.inf:
                score = float(best[row, column]) / position**length_penalty
                sequence = [*history[origin[row, column]].tolist(), end]
                finished[row].append((score, sequence))
        open_scores = best.masked_fill(ends, -torch.inf)
        scores, kept = open_scores.topk(beams, -1)
        rows, tokens = origin.gather(1, kept).flatten(), token.gather(1, kept).flatten()
        history = torch.cat([history[rows], tokens[:, None]], 1)
        if all(len(row) >= beams for row in finished):
            break
    for row, sequences in enumerate(finished):
        if not sequences:
            sequences.append((0.0, history[row * beams].tolist()))
    chosen = [max(sequences)[1] for sequences in finished]
    longest = max(map(len, chosen))
    padded = [sequence + [end] * (longest - len(sequence)) for sequence in chosen]
    return torch.tensor(padded, device=device)


def generate_tokens(
    read: Callable[[Tensor], Tensor],
    prompt: Tensor,
    count: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Tokens after a prompt, (B,) each, one after the other.

    Args:
        read: ``tokens (B, T) → logits of the next token (B, V)``; it remembers what it has read.
        prompt: (B, T).
        count: how many.
        temperature, top_k, top_p, generator: see :func:`sample_next_token`.
    """
    tokens = prompt
    for _ in range(count):
        chosen = sample_next_token(read(tokens), temperature, top_k, top_p, generator)
        yield chosen
        tokens = chosen[:, None]
