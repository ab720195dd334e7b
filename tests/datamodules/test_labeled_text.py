"""Labeled text: buckets by length, generated reviews, faulty tables."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import SST2, LabeledText, Text
from datamodules.labeled_text import BAD, GOOD, generate_reviews
from datamodules.token_sequences import BucketBatchSampler, pad, trim_padding
from tests.conftest import zoo_data
from zoo.core.checkpoints import data_state
from zoo.errors import DataError, InputError


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
    with pytest.raises(DataError, match=r"t\.csv, line 1: a quotation mark is not closed"):
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


@pytest.mark.parametrize("seed", range(6))
def test_a_rare_class_is_always_trained(tmp_path: Path, seed: int) -> None:
    rows = [(f"film {i}", str(i % 2)) for i in range(12)]
    path = write(tmp_path, "t.tsv", [*rows, ("b", "rare"), ("c", "rarer"), ("d", "rarer")])
    data = LabeledText(path, seed=seed, test_size=0.3, val_size=0.3)
    data.setup("fit")
    labels = {name: [label for _, label in split] for name, split in data.examples.items()}
    assert data.class_names == ["0", "1", "rare", "rarer"]
    assert set(labels["train"]) == set(data.class_names)
    assert sum(map(len, labels.values())) == len(rows) + 3
    again = LabeledText(path, seed=seed, test_size=0.3, val_size=0.3)
    again.load_state_dict(data.state_dict())
    assert again.examples == data.examples


def test_moved_and_missing_classes_are_said(tmp_path: Path) -> None:
    rows = [("a", "1"), ("b", "0")] * 8 + [("c", "rare")]
    held_out = LabeledText(write(tmp_path, "t.tsv", rows), test_size=16, val_size=0)
    message = r"t\.tsv: a class that was held out as a whole gets one training text: '(0|1|rare)'"
    with pytest.warns(UserWarning, match=message):
        _ = held_out.examples
    data = LabeledText(write(tmp_path, "t.tsv", rows), test_size=1, val_size=1)
    with pytest.warns(UserWarning, match=r"t\.tsv: the test split has no text of '.', 'rare'"):
        data.setup("test")


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


# -- checkpoints, new texts and prediction ---------------------------------------------------------


def write(folder: Path, name: str, rows: list[tuple[str, ...]]) -> str:
    (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder / name)


def trained(folder: Path, **options: Any) -> LabeledText:
    rows = [(f"film {i} was {'fine' if i % 2 else 'dull'}", str(i % 2)) for i in range(40)]
    return LabeledText(write(folder, "t.tsv", rows), **options)


def test_the_training_table_is_split_as_in_training(tmp_path: Path) -> None:
    data = trained(tmp_path, seed=5, test_size=7)
    same = trained(tmp_path)
    with pytest.warns(UserWarning, match="seed=5 of the checkpoint is used instead of 0"):
        same.load_state_dict(data.state_dict())
    assert same.examples == data.examples
    assert len(same.examples["test"]) == 7


def test_new_texts_are_read_with_the_vocabulary_and_classes_of_the_checkpoint(
    tmp_path: Path,
) -> None:
    data = trained(tmp_path)
    new = LabeledText(write(tmp_path, "n.tsv", [("was fine", "1"), ("fine horse", "1.0")]))
    new.load_state_dict(data.state_dict())
    messages = "all 2 texts are tested|1.0 is read as 1|25.0% of the tokens"
    with pytest.warns(UserWarning, match=messages) as warned:
        x, y = next(iter(new.test_dataloader()))
    assert len(warned) == 3
    assert new.class_names == ["0", "1"]  # the table has only one of them
    assert y.tolist() == [1, 1]
    assert data.fitted_tokenizer.decode(x[1].tolist()) == "fine <unk>"
    assert new.examples["train"] == []
    assert [new.tokenizer, new.length] == [data.tokenizer, data.length]


def test_an_unknown_class_of_a_new_table_is_refused_by_name(tmp_path: Path) -> None:
    new = LabeledText(write(tmp_path, "n.tsv", [("was fine", "1"), ("so so", "neutral")]))
    new.load_state_dict(trained(tmp_path).state_dict())
    with pytest.raises(DataError, match=r"n\.tsv, line 2: the label 'neutral' does not occur in"):
        new.setup("test")
    assert len(next(iter(new.predict_dataloader()))[0]) == 2  # which needs no labels


@pytest.mark.parametrize("count", [1, 3])
def test_prediction_serves_all_texts(tmp_path: Path, count: int) -> None:
    new = LabeledText(write(tmp_path, "n.txt", [("film was fine",)] * count))
    data = trained(tmp_path)
    new.load_state_dict(data.state_dict())
    x, y = next(iter(new.predict_dataloader()))
    assert data.fitted_tokenizer.decode(x[0].tolist()) == "film was fine"
    assert (len(x), y.tolist()) == (count, [0] * count)
    assert new.prediction_ids() == {"line": list(range(1, count + 1))}


def test_prediction_on_the_training_table_and_on_generated_reviews(tmp_path: Path) -> None:
    data = trained(tmp_path)
    assert len(data.prediction_ids()["line"]) == 40
    assert list(LabeledText(num_samples=50).prediction_ids()) == ["sample"]
    assert len(LabeledText(num_samples=50).prediction_ids()["sample"]) == 5


def test_a_new_table_for_training_is_split_anew(tmp_path: Path) -> None:
    data = trained(tmp_path)
    new = LabeledText(write(tmp_path, "n.tsv", [("was fine", "1"), ("was dull", "0")] * 10))
    new.load_state_dict(data.state_dict())
    with pytest.warns(UserWarning, match="not the training data: split again, with the vocabulary"):
        new.setup("fit")
    assert [len(new.examples[name]) for name in ("train", "val", "test")] == [16, 2, 2]
    again = LabeledText(new.paths["train"])
    again.load_state_dict(new.state_dict())
    assert again.examples == new.examples


def test_all_tables_are_read_by_the_columns_of_the_training_table(tmp_path: Path) -> None:
    rows = [("comment", "title", "label"), ("fine", "a", "1"), ("dull", "b", "0")]
    path = write(tmp_path, "t.tsv", rows)
    val = write(tmp_path, "v.tsv", [("label", "title", "comment"), ("1", "dull", "fine")])
    data = LabeledText(path, val_path=val, test_size=0)
    with pytest.warns(UserWarning, match="texts in 'comment', labels in 'label'; left out"):
        validation = data.examples["val"]
    assert validation == [("fine", "1")]
    other = write(tmp_path, "o.tsv", [("label", "title"), ("1", "fine")])
    message = r"o\.tsv, line 1: there is no column 'comment' of texts among .* rename it, or name"
    with (
        pytest.warns(UserWarning, match="is a header"),
        pytest.raises(DataError, match=message),
    ):
        _ = LabeledText(path, val_path=other, test_size=0).examples


def test_a_checkpoint_of_sst2_reads_the_users_table(tmp_path: Path) -> None:
    """The class is derived from that of the user's data."""
    state = {"SST2": trained(tmp_path).state_dict()}
    new = LabeledText(write(tmp_path, "n.txt", [("film was fine",)]))
    new.load_state_dict(data_state(state, LabeledText, "x.ckpt") or {})
    assert new.class_names == ["0", "1"]
    assert data_state(state, SST2, "x.ckpt") == data_state(state, LabeledText, "x.ckpt")
    assert data_state(state, Text, "x.ckpt") is None


# -- length ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "length"), [(3, 128), (100, 200), (511, 1022), (2000, 1024)])
def test_the_default_length_is_twice_the_longest_text(
    tmp_path: Path, count: int, length: int
) -> None:
    rows = [(f"{i} " + "word " * (count - 1), str(i % 2)) for i in range(6)]
    assert LabeledText(write(tmp_path, "t.tsv", rows), val_size=1, test_size=1).length == length


def test_texts_that_are_cut_are_counted(tmp_path: Path) -> None:
    rows = [("word " * (10 if i < 5 else 100), str(i % 2)) for i in range(10)]
    path = write(tmp_path, "t.tsv", rows)
    data = LabeledText(path, val_path=path, test_path=path, max_length=20)
    message = (
        "t.tsv: 10 of 20 training and validation texts are cut at 20 tokens, which keeps 27.3% of "
        "all their tokens; raise --data.max_length to keep more"
    )
    with pytest.warns(UserWarning, match=message) as warned:
        data.setup("fit")
    assert len(warned) == 1
    assert data.split("train")[0].shape[1] == data.length == 20
    new = LabeledText(write(tmp_path, "n.txt", [("word " * 40,)]))
    with pytest.warns(UserWarning, match="max_length=20 of the checkpoint"):
        new.load_state_dict(data.state_dict())
    message = "1 of 1 texts are cut at 20 tokens, which keeps 50.0% .* the model was trained with"
    with pytest.warns(UserWarning, match=message):
        new.setup("predict")


def test_texts_that_fit_are_not_mentioned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LabeledText(num_samples=100).setup()


def test_the_option_of_a_small_vocabulary_is_named() -> None:
    with pytest.raises(InputError, match="max_vocab_size must be at least 4, got 2"):
        _ = LabeledText(num_samples=50, max_vocab_size=2).tokenizer
    with pytest.warns(UserWarning, match="of the tokens of the .* are not in the vocabulary"):
        LabeledText(num_samples=50, max_vocab_size=12).setup("fit")
