"""Labeled text: buckets by length, generated reviews, faulty tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import SST2, LabeledText
from datamodules.labeled_text import BAD, GOOD, generate_reviews
from datamodules.token_sequences import BucketBatchSampler, pad, trim_padding
from tests.conftest import zoo_data
from zoo.errors import DataError


def sentiment(text: str) -> str:
    """Return the sentiment of a generated review, by the rules in ``generate_reviews``."""
    clauses = text.replace(" and ", " , ").split(" , ")
    is_positive = set()
    for clause in clauses:
        words = clause.split()
        good = any(word in GOOD for word in words)
        assert good != any(word in BAD for word in words)
        is_positive.add(good != ("not" in words))
    assert len(is_positive) == 1  # both clauses agree
    return "positive" if is_positive.pop() else "negative"


def test_the_labels_of_generated_reviews_are_right() -> None:
    reviews = generate_reviews(2000)
    assert all(sentiment(text) == label for text, label in reviews)
    assert 0.45 < sum(label == "positive" for _, label in reviews) / 2000 < 0.55
    assert all(text.split().count("not") == 1 for text, _ in reviews)


def test_the_words_of_a_review_do_not_determine_its_sentiment() -> None:
    """With "not" moved to the other clause, the same words have the opposite label."""
    for text, label in generate_reviews(500):
        first, separator, second = text.partition(" , " if " , " in text else " and ")
        swapped = [
            clause.replace(" not", "") if " not" in clause else clause.replace(" was", " was not")
            for clause in (first, second)
        ]
        other = separator.join(swapped)
        assert Counter(other.split()) == Counter(text.split())
        assert sentiment(other) != label


def test_batches_have_similar_lengths_and_every_sequence_once() -> None:
    lengths = torch.randint(3, 60, (1003,))
    sampler = BucketBatchSampler(lengths, batch_size=10, shuffle=True)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert torch.cat(batches).sort().values.tolist() == list(range(1003))
        assert [len(batch) for batch in batches[:-1]] == [10] * 100
        ranges = [int(lengths[b].max() - lengths[b].min()) for b in batches[:-1]]
        assert sum(ranges) / len(ranges) < 5
        # the batches are not sorted by length
        means = torch.tensor([float(lengths[b].double().mean()) for b in batches])
        assert (means.diff() < 0).sum() > 20
    sampler.set_epoch(0)
    first, again = list(sampler), list(sampler)
    assert not torch.equal(batches[0], first[0])
    assert torch.equal(first[0], again[0])


def test_all_processes_get_batches_of_equal_size() -> None:
    lengths = torch.randint(3, 60, (1003,))
    samplers = [
        BucketBatchSampler(lengths, batch_size=8, shuffle=True, rank=rank, world_size=3)
        for rank in range(3)
    ]
    shards = [list(sampler) for sampler in samplers]
    assert len({len(shard) for shard in shards}) == 1
    indices = torch.cat([torch.cat(shard) for shard in shards])
    assert len(indices.unique()) == len(indices) >= 1001
    for batches in zip(*shards, strict=True):
        assert len({len(batch) for batch in batches}) == 1


def test_sequences_are_padded_to_the_longest_in_the_batch() -> None:
    matrix = pad([[5, 6], [7], [1, 2, 3, 4]])
    assert matrix.tolist() == [[5, 6, 0, 0], [7, 0, 0, 0], [1, 2, 3, 4]]
    assert trim_padding(matrix[:2]).tolist() == [[5, 6], [7, 0]]
    assert trim_padding(torch.zeros(2, 4)).shape == (2, 1)
    x, y = next(iter(LabeledText(batch_size=16).train_dataloader()))
    assert x.dtype == y.dtype == torch.int64
    assert bool((x[:, -1] != 0).any())


def test_the_seed_determines_the_splits() -> None:
    data = LabeledText(num_samples=500)
    assert [len(data.examples[name]) for name in ("train", "val", "test")] == [405, 45, 50]
    again = LabeledText(num_samples=500)
    assert again.examples == data.examples
    assert LabeledText(num_samples=500, seed=1).examples != data.examples


def test_tables_from_files(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text,label\n"Good, very.",yes\nBad!,no\nGood.,yes\n')
    (tmp_path / "test.tsv").write_text('a "quote\tno\n')
    data = LabeledText(str(tmp_path / "train.csv"), val_size=0, header=True)
    assert data.class_names == ["no", "yes"]
    assert ("Good, very.", "yes") in data.examples["train"]
    tsv = LabeledText(str(tmp_path / "test.tsv"))
    with pytest.raises(DataError, match=r"test\.tsv: all training texts have the label 'no'"):
        _ = tsv.class_names
    assert tsv.examples["train"] == [('a "quote', "no")]


def test_a_byte_order_mark_is_not_part_of_the_first_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"Good, very.",yes\nBad!,no\n', encoding="utf-8-sig")
    data = LabeledText(str(tmp_path / "t.csv"), val_size=0, test_size=0)
    assert data.examples["train"] == [("Good, very.", "yes"), ("Bad!", "no")]


def test_a_quotation_mark_that_is_not_closed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"good,yes\n' + "bad,no\n" * 20_000)
    with pytest.raises(DataError, match="look for a quotation mark that is not closed"):
        _ = LabeledText(str(tmp_path / "t.csv")).examples


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no texts"),
        (
            "good\t1\nbad\n",
            r"t\.tsv, line 2: expected 2 columns, text and label, got 1",
        ),
        ("good\t1\nbad\t0\t7\n", "line 2: expected 2 columns, text and label, got 3"),
        ("good\t1\n\t0\n", "line 2: the text is empty"),
        ("good\t1\nbad\t\n", "line 2: the label is empty"),
    ],
)
def test_faulty_tables(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        LabeledText(str(tmp_path / "t.tsv")).setup("fit")


def test_a_label_that_does_not_occur_in_training(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\t1\nb\t0\n" * 20)
    (tmp_path / "v.tsv").write_text("c\t2\n")
    data = LabeledText(str(tmp_path / "t.tsv"), val_path=str(tmp_path / "v.tsv"))
    with pytest.raises(
        DataError, match=r"v\.tsv, line 1: the label '2' does not occur in the training"
    ):
        data.setup("fit")


@pytest.mark.slow
def test_sst2_has_its_official_splits() -> None:
    data = SST2(root=zoo_data("sentiment/sst2_sentences_train.tsv"))
    counts: dict[str, Any] = {name: len(examples) for name, examples in data.examples.items()}
    assert counts == {"train": 6920, "val": 872, "test": 1821}
