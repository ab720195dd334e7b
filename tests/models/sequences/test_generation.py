"""Sampling of tokens, and beam search against an exhaustive and a greedy search."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.models.sequences.generation import (
    beam_search,
    filter_logits,
    generate_tokens,
    sample_next_token,
)

# -- sampling ------------------------------------------------------------------------------------


def test_samples_follow_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(40_000, 4)
    generator = torch.Generator().manual_seed(0)

    def frequencies(**options: Any) -> Tensor:
        tokens = sample_next_token(logits, generator=generator, **options)
        return tokens.bincount(minlength=4) / 40_000

    def check(actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, atol=0.01, rtol=0)

    p = logits[0].softmax(0)
    check(frequencies(), p)
    check(frequencies(temperature=2.0), (logits[0] / 2).softmax(0))
    best_two = torch.tensor([0.0, 0.0, *p[2:] / p[2:].sum()])
    check(frequencies(top_k=2), best_two)
    # the most likely token has probability 0.644 < 0.7, so the second is kept too
    check(frequencies(top_p=0.7), best_two)
    assert frequencies(top_p=0.6).tolist() == [0, 0, 0, 1]
    # top-p counts probabilities at the temperature: that of the best token is now 0.865 > 0.7
    assert frequencies(top_p=0.7, temperature=0.5).tolist() == [0, 0, 0, 1]


def test_a_finished_sequence_does_not_take_the_place_of_an_unfinished_one() -> None:
    """Of the tokens a, b and the end, the end is most likely first, but b and the end score more:
    log(0.25 · 1) / 2 > log(0.4). Two beams must still follow both a and b."""
    p = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.35, 0.25, 0.4]])
    found = beam_search(lambda tokens, _: p[tokens].log(), torch.tensor([3]), 2, 2, 4)
    assert found.tolist() == [[1, 2]]


def test_the_most_likely_token_is_always_kept() -> None:
    logits = torch.randn(5, 11)
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"top_k": 3, "top_p": 0.5}):
        is_kept = filter_logits(logits, **options).isfinite()  # type: ignore[arg-type]
        assert bool(is_kept.any(-1).all())
        assert bool(is_kept.gather(1, logits.argmax(-1, keepdim=True)).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must not be negative, got -1.0"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must be positive, got 0.0"),
        ({"top_p": 1.5}, "top_p must be between 0 and 1, got 1.5"),
    ],
)
def test_bad_sampling_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample_next_token(torch.zeros(1, 3), **options)


def test_each_step_gets_the_token_sampled_last() -> None:
    inputs = []

    def next_logits(tokens: Tensor) -> Tensor:
        """Prefer the token after the last one, modulo 4."""
        inputs.append(tokens.tolist())
        return torch.nn.functional.one_hot((tokens[:, -1] + 1) % 4, 4).double()

    tokens = list(generate_tokens(next_logits, torch.tensor([[0, 1]]), 3, temperature=0))
    assert [token.tolist() for token in tokens] == [[2], [3], [0]]
    assert inputs == [[[0, 1]], [[2]], [[3]]]


# -- beam search ---------------------------------------------------------------------------------


def bigram_model(table: Tensor) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return a model whose next token depends only on the last one."""
    return lambda tokens, parents: table[tokens]


def exhaustive_search(
    table: Tensor, first: int, end: int, max_length: int, penalty: float
) -> list[int]:
    """Return the finished sequence with the best score among all of them."""
    log_p = table.log_softmax(-1)
    best: tuple[float, list[int]] = (-math.inf, [])
    stack: list[tuple[float, list[int]]] = [(0.0, [first])]
    while stack:
        total, sequence = stack.pop()
        for token in range(len(table)):
            score, longer = total + float(log_p[sequence[-1], token]), [*sequence, token]
            length = len(sequence)  # without the first token
            if token == end:
                best = max(best, (score / length**penalty, longer[1:]))
            elif length < max_length:
                stack.append((score, longer))
    return best[1]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(penalty: float) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        table = 2 * torch.randn(4, 4, dtype=torch.float64)
        first = torch.tensor([1, 2])
        found = beam_search(bigram_model(table), first, 0, 200, 4, penalty)
        for row, token in enumerate(first.tolist()):
            expected = exhaustive_search(table, token, 0, 4, penalty)
            assert found[row].tolist()[: len(expected)] == expected


def test_a_search_needs_a_beam() -> None:
    with pytest.raises(InputError, match="num_beams must be at least 1, got 0"):
        beam_search(bigram_model(torch.zeros(3, 3)), torch.tensor([1]), 0, 0, 4)


def test_one_beam_is_greedy() -> None:
    torch.manual_seed(3)
    table = torch.randn(7, 7, dtype=torch.float64)
    found = beam_search(bigram_model(table), torch.tensor([1, 4]), 0, 1, 12)
    for row, token in enumerate((1, 4)):
        greedy: list[int] = []
        while len(greedy) < 12 and (not greedy or greedy[-1] != 0):
            token = int(table[token].argmax())
            greedy.append(token)
        assert found[row].tolist()[: len(greedy)] == greedy
        assert set(found[row].tolist()[len(greedy) :]) <= {0}
