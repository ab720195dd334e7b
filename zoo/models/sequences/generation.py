"""Generation of token sequences: sampling from next-token logits, and beam search."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo.errors import check_at_least, check_fraction, check_non_negative, check_positive


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Set the logits of all but the most likely tokens to −∞.

    With both limits, top-p applies to the distribution that remains after top-k.

    Args:
        logits: logits of the tokens, (..., V).
        top_k: number of most likely tokens to keep, at least 1; default all. Of equal logits, those
            that ``torch.topk`` returns are kept.
        top_p: total probability that the kept tokens must reach; as few of the most likely tokens
            as possible are kept. Default 1, all tokens (Holtzman et al., The curious case of neural
            text degeneration, 2020).

    Returns:
        (..., V).
    """
    if top_k is not None and top_k < logits.shape[-1]:
        largest, indices = logits.topk(top_k, -1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, indices, largest)
    if top_p is not None and top_p < 1:
        p, order = logits.softmax(-1).sort(-1, descending=True)
        is_dropped = p.cumsum(-1) - p >= top_p  # the more likely tokens already reach top_p
        logits = logits.masked_fill(
            torch.zeros_like(is_dropped).scatter(-1, order, is_dropped), -torch.inf
        )
    return logits


def sample_next_token(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample one token per row from softmax(logits / temperature), (B, V) → (B,).

    Args:
        logits: logits of the next token, (B, V).
        temperature: sampling temperature, default 1; at 0 the most likely token is chosen.
        top_k: number of most likely tokens to sample from, default all.
        top_p: total probability of the most likely tokens to sample from, default 1; see
            :func:`filter_logits`.
        generator: random generator on the device of the logits, default the global one.

    Raises:
        InputError: a negative temperature, top_k below 1, or top_p outside (0, 1].
    """
    check_non_negative(temperature=temperature)
    check_at_least(1, top_k=top_k)
    check_positive(top_p=top_p)
    check_fraction(top_p=top_p)
    if temperature == 0 or top_k == 1:
        return logits.argmax(-1)
    p = filter_logits(logits / temperature, top_k, top_p).softmax(-1)
    return torch.multinomial(p, 1, generator=generator)[:, 0]


def generate_tokens(
    next_logits: Callable[[Tensor], Tensor],
    prompt: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Sample tokens after a prompt, one at a time.

    Args:
        next_logits: stateful function that takes new tokens, (B, T), and returns the logits of the
            token after them, (B, V). It is called with the prompt, then with each sampled token.
        prompt: tokens to continue, (B, T).
        max_new_tokens: number of tokens to sample.
        temperature: see :func:`sample_next_token`.
        top_k: see :func:`sample_next_token`.
        top_p: see :func:`sample_next_token`.
        generator: see :func:`sample_next_token`.

    Yields:
        The next token of each row, (B,).
    """
    tokens = prompt
    for _ in range(max_new_tokens):
        sampled = sample_next_token(next_logits(tokens), temperature, top_k, top_p, generator)
        yield sampled
        tokens = sampled[:, None]


def beam_search(
    next_logits: Callable[[Tensor, Tensor | None], Tensor],
    first_tokens: Tensor,
    end_token: int,
    num_beams: int,
    max_length: int,
    length_penalty: float = 1.0,
) -> Tensor:
    """Search for the most likely sequence of each row with a limited number of candidates.

    Every step extends the ``num_beams`` best unfinished sequences of a row by every possible token,
    and keeps the best results. A sequence that reaches ``end_token`` is finished, with the score
    log p / length^length_penalty. A row is done when it has ``num_beams`` finished sequences.

    Args:
        next_logits: stateful function ``(tokens, parents) → logits`` that takes the last token of
            each of R = B · num_beams beams, (R,), and returns the logits of the token after it,
            (R, V). ``parents`` are the indices of the previous step's beams that these beams
            continue, (R,); None in the first step.
        first_tokens: first token of each row, (B,).
        end_token: token that ends a sequence.
        num_beams: number of unfinished sequences to keep for each row; 1 is greedy decoding.
        max_length: largest number of tokens after the first, ``end_token`` included.
        length_penalty: exponent of the length; 0 favors short sequences, 1 (default) compares the
            mean log-probability per token.

    Returns:
        (B, L): each row's finished sequence with the best score, or its best unfinished one if none
        is finished; without the first token, padded at the end with ``end_token``.

    Raises:
        InputError: fewer than one beam.

    Sources: Sutskever et al., Sequence to sequence learning, 2014, section 3.2; Wu et al., Google's
    neural machine translation system, 2016, section 7 (length).
    """
    check_at_least(1, num_beams=num_beams)
    batch, device = len(first_tokens), first_tokens.device
    tokens = first_tokens.repeat_interleave(num_beams)
    parents: Tensor | None = None
    # all beams of a row are equal at first, so only one of them may be continued
    scores = torch.full((batch, num_beams), -torch.inf, device=device, dtype=torch.float64)
    scores[:, 0] = 0.0
    history = torch.empty(batch * num_beams, 0, dtype=torch.long, device=device)
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(batch)]
    for length in range(1, max_length + 1):
        logits = next_logits(tokens, parents)
        log_p = logits.double().log_softmax(-1).unflatten(0, (batch, num_beams))
        vocab_size = log_p.shape[-1]
        totals = (scores[..., None] + log_p).flatten(1)  # (B, num_beams · V)
        # each beam has one continuation that ends, so at least half of the best do not end
        best, indices = totals.topk(min(2 * num_beams, totals.shape[1]), -1)
        origins = indices // vocab_size + num_beams * torch.arange(batch, device=device)[:, None]
        candidates = indices % vocab_size
        is_end = candidates == end_token
        for row, column in is_end.nonzero().tolist():
            # a row that is done accepts no more: its result must not depend on other rows
            is_searching = len(finished[row]) < num_beams
            if is_searching and column < num_beams and best[row, column] > -torch.inf:
                score = float(best[row, column]) / length**length_penalty
                sequence = [*history[origins[row, column]].tolist(), end_token]
                finished[row].append((score, sequence))
        scores, kept = best.masked_fill(is_end, -torch.inf).topk(num_beams, -1)
        parents, tokens = origins.gather(1, kept).flatten(), candidates.gather(1, kept).flatten()
        history = torch.cat([history[parents], tokens[:, None]], 1)
        if all(len(sequences) >= num_beams for sequences in finished):
            break
    for row, sequences in enumerate(finished):
        if not sequences:
            sequences.append((0.0, history[row * num_beams].tolist()))
    chosen = [max(sequences)[1] for sequences in finished]
    longest = max(map(len, chosen), default=0)
    padded = [sequence + [end_token] * (longest - len(sequence)) for sequence in chosen]
    return torch.tensor(padded, dtype=torch.long, device=device).view(batch, longest)
