"""Labelled text: buckets that miss nothing, a grammar without tell-tale words, faulty tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import SST2, LabeledText
from datamodules.labeled_text import BAD, GOOD, negations
from datamodules.token_rows import BucketPlan, padded, trimmed
from tests.conftest import zoo_data
from zoo.errors import DataError


def meaning(text: str) -> str:
    """What a sentence of the grammar says, read as its docstring explains."""
    clauses = text.replace(" and ", " , ").split(" , ")
    said = set()
    for clause in clauses:
        words = clause.split()
        good = any(word in GOOD for word in words)
        assert good != any(word in BAD for word in words)
        said.add(good != ("not" in words))
    assert len(said) == 1  # both clauses agree
    return "positive" if said.pop() else "negative"


def test_the_grammar_means_what_its_labels_say() -> None:
    pairs = negations(2000)
    assert all(meaning(text) == label for text, label in pairs)
    assert 0.45 < sum(label == "positive" for _, label in pairs) / 2000 < 0.55
    assert all(text.split().count("not") == 1 for text, _ in pairs)


def test_the_words_of_a_sentence_do_not_tell_its_meaning() -> None:
    """With "not" moved to the other clause the same words have the other label."""
    for text, label in negations(500):
        first, mark, second = text.partition(" , " if " , " in text else " and ")
        swapped = [
            clause.replace(" not", "") if " not" in clause else clause.replace(" was", " was not")
            for clause in (first, second)
        ]
        other = mark.join(swapped)
        assert Counter(other.split()) == Counter(text.split())
        assert meaning(other) != label


def test_batches_hold_rows_of_like_length_and_every_row_once() -> None:
    lengths = torch.randint(3, 60, (1003,))
    plan = BucketPlan(lengths, batch_size=10, shuffle=True)
    for epoch in range(2):
        plan.set_epoch(epoch)
        batches = plan.batches()
        assert torch.cat(batches).sort().values.tolist() == list(range(1003))
        assert [len(batch) for batch in batches[:-1]] == [10] * 100
        spreads = [int(lengths[b].max() - lengths[b].min()) for b in batches[:-1]]
        assert sum(spreads) / len(spreads) < 5
        # batches do not come from short to long
        means = torch.tensor([float(lengths[b].double().mean()) for b in batches])
        assert (means.diff() < 0).sum() > 20
    plan.set_epoch(0)
    assert not torch.equal(batches[0], plan.batches()[0])
    assert torch.equal(plan.batches()[0], plan.batches()[0])


def test_processes_share_out_equally_long_rows() -> None:
    lengths = torch.randint(3, 60, (1003,))
    plans = [
        BucketPlan(lengths, batch_size=8, shuffle=True, rank=rank, world_size=3)
        for rank in range(3)
    ]
    parts = [plan.batches() for plan in plans]
    assert len({len(part) for part in parts}) == 1
    rows = torch.cat([torch.cat(part) for part in parts])
    assert len(rows.unique()) == len(rows) >= 1001
    for batches in zip(*parts, strict=True):
        assert len({len(batch) for batch in batches}) == 1


def test_rows_are_padded_to_the_longest_of_the_batch() -> None:
    matrix = padded([[5, 6], [7], [1, 2, 3, 4]])
    assert matrix.tolist() == [[5, 6, 0, 0], [7, 0, 0, 0], [1, 2, 3, 4]]
    assert trimmed(matrix[:2]).tolist() == [[5, 6], [7, 0]]
    assert trimmed(torch.zeros(2, 4)).shape == (2, 1)
    x, y = next(iter(LabeledText(batch_size=16).train_dataloader()))
    assert x.dtype == y.dtype == torch.int64
    assert bool((x[:, -1] != 0).any())


def test_splits_share_no_text_and_the_seed_cuts_them() -> None:
    data = LabeledText(samples=500)
    assert [len(data.pairs[name]) for name in ("train", "val", "test")] == [405, 45, 50]
    again = LabeledText(samples=500)
    assert again.pairs == data.pairs
    assert LabeledText(samples=500, seed=1).pairs != data.pairs


def test_own_tables(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text,label\n"Good, very.",yes\nBad!,no\nGood.,yes\n')
    (tmp_path / "test.tsv").write_text('a "quote\tno\n')
    data = LabeledText(
        str(tmp_path / "train.csv"), test_path=str(tmp_path / "test.tsv"), val_size=0, header=True
    )
    data.paths["test"] = None
    assert data.classes == ["no", "yes"]
    tsv = LabeledText(str(tmp_path / "test.tsv"))
    with pytest.raises(DataError, match="all training texts have one label, 'no'"):
        _ = tsv.classes
    assert tsv.pairs["train"] == [('a "quote', "no")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no texts"),
        ("good\t1\nbad\n", r"t\.tsv, line 2: 1 columns in place of text and label"),
        ("good\t1\nbad\t0\t7\n", "line 2: 3 columns"),
        ("good\t1\n\t0\n", "line 2: the text is empty"),
        ("good\t1\nbad\t\n", "line 2: the label is empty"),
    ],
)
def test_faulty_tables(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        LabeledText(str(tmp_path / "t.tsv")).setup("fit")


def test_a_label_that_training_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\t1\nb\t0\n" * 20)
    (tmp_path / "v.tsv").write_text("c\t2\n")
    data = LabeledText(str(tmp_path / "t.tsv"), val_path=str(tmp_path / "v.tsv"))
    with pytest.raises(DataError, match="label '2' of a val text is in no training text"):
        data.setup("fit")


@pytest.mark.slow
def test_sst2_has_its_official_splits() -> None:
    data = SST2(root=zoo_data("sentiment/sst2_sentences_train.tsv"))
    counts: dict[str, Any] = {name: len(pairs) for name, pairs in data.pairs.items()}
    assert counts == {"train": 6920, "val": 872, "test": 1821}
