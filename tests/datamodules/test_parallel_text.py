"""Parallel text: begin and end tokens, splits, generated dates, files that do not match."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import pytest
import torch

from datamodules import Multi30k, ParallelText
from datamodules.dates import generate_dates, ordinal_in_words, year_in_words
from datamodules.sentence_files import read_pairs, read_sentences
from tests.conftest import zoo_data
from zoo.errors import DataError


def write(folder: Path, name: str, lines: list[str]) -> str:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("day", "words"),
    [(1, "first"), (3, "third"), (12, "twelfth"), (20, "twentieth"), (21, "twenty-first"),
     (30, "thirtieth"), (11, "eleventh"), (28, "twenty-eighth")],
)  # fmt: skip
def test_days_in_words(day: int, words: str) -> None:
    assert ordinal_in_words(day) == words


@pytest.mark.parametrize(
    ("year", "words"),
    [(1900, "nineteen hundred"), (1905, "nineteen oh five"), (1986, "nineteen eighty-six"),
     (2000, "two thousand"), (2005, "two thousand five"), (2010, "twenty ten"),
     (2040, "twenty forty")],
)  # fmt: skip
def test_years_in_words(year: int, words: str) -> None:
    assert year_in_words(year) == words


def test_texts_of_dates_are_unambiguous_and_weekdays_are_right() -> None:
    pairs = generate_dates(3000)
    meaning: dict[str, str] = {}
    for text, iso in pairs:
        assert meaning.setdefault(text, iso) == iso
        day = datetime.date.fromisoformat(iso)
        first = text.split()[0]
        if first.endswith("day"):
            assert first == day.strftime("%A").lower()
        assert ordinal_in_words(day.day) in text.split()
        assert day.strftime("%B").lower() in text.split()


def test_sequences_have_begin_and_end_tokens() -> None:
    data = ParallelText(num_samples=300, batch_size=16)
    x, y = next(iter(data.train_dataloader()))
    source, target = data.fitted_tokenizers
    lengths = (x != 0).sum(1)
    assert bool((y[:, 0] == 2).all())
    assert bool((x.gather(1, lengths[:, None] - 1) == 3).all())
    assert bool((y.gather(1, (y != 0).sum(1)[:, None] - 1) == 3).all())
    for i in range(len(x)):
        pair = source.decode(x[i].tolist()), target.decode(y[i].tolist())
        assert (pair[0].replace(" - ", "-"), pair[1]) in data.sentence_pairs["train"]
    assert max(x.shape[1], 1) <= data.length
    assert y.shape[1] <= data.target_length


def test_pairs_from_files_and_their_splits(tmp_path: Path) -> None:
    lines = [f"satz {i}" for i in range(50)]
    (tmp_path / "b.en.gz").write_bytes(
        gzip.compress("\n".join(f"sentence {i}" for i in range(50)).encode())
    )
    data = ParallelText(write(tmp_path, "a.de", lines), str(tmp_path / "b.en.gz"), test_size=10)
    assert [len(data.sentence_pairs[n]) for n in ("train", "val", "test")] == [36, 4, 10]
    assert all(
        one.split()[1] == other.split()[1] for p in data.sentence_pairs.values() for one, other in p
    )


@pytest.mark.parametrize("separator", ["\x85", "\x0b", "\x0c", "\u2028", "\u2029", "\x1c", "\r"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_only_at_line_feeds(tmp_path: Path, separator: str, end: str) -> None:
    """A carriage return before a line feed belongs to the end of the line."""
    sentence = f"ein{separator}satz"
    (tmp_path / "a.de").write_bytes(f"\ufeff{sentence}{end}zwei{end}".encode())
    (tmp_path / "a.en").write_bytes(b"one sentence\ntwo")
    pairs = read_pairs(tmp_path / "a.de", tmp_path / "a.en")
    assert pairs == [(sentence, "one sentence"), ("zwei", "two")]
    data = ParallelText(str(tmp_path / "a.de"), str(tmp_path / "a.en"), val_size=0, test_size=0)
    source, _ = data.fitted_tokenizers
    assert source.decode(source.encode(sentence)) == sentence


def test_old_line_ends_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_bytes(b"ein\rzwei\r")
    with pytest.raises(DataError, match=r"a\.de has carriage returns in place of line feeds"):
        read_sentences(tmp_path / "a.de")


def test_lines_that_are_empty_in_both_files_are_left_out(tmp_path: Path) -> None:
    source = write(tmp_path, "a.de", ["ein", "", "zwei", " "])
    target = write(tmp_path, "a.en", ["one", "", "two", ""])
    with pytest.warns(UserWarning, match=r"a\.de: 2 empty lines are left out"):
        pairs = read_pairs(Path(source), Path(target))
    assert pairs == [("ein", "one"), ("zwei", "two")]


def test_long_training_pairs_are_left_out_and_long_test_sentences_are_cut(tmp_path: Path) -> None:
    source = write(tmp_path, "a.de", ["kurz"] * 30 + ["lang " * 20])
    target = write(tmp_path, "a.en", ["short"] * 30 + ["long " * 20])
    data = ParallelText(
        source, target, test_path=source, test_target_path=target, target_tokenizer_type="words",
        max_length=10, val_size=0,
    )  # fmt: skip
    message = (
        "1 of 31 training pairs have a sentence of more than 10 tokens and are left out; raise "
        "--data.max_length"
    )
    with pytest.warns(UserWarning, match=message):
        data.setup("fit")
    assert len(data.split("train")[0]) == 30
    message = "1 of 31 test targets are cut at 10 tokens, which keeps 80.0% of all their tokens"
    with pytest.warns(UserWarning, match=message):
        data.setup("test")
    assert len(data.split("test")[0]) == 31
    assert data.length == 11
    assert data.target_length == 12
    with pytest.raises(DataError, match="has a sentence of more than 1 tokens; raise --data"):
        ParallelText(num_samples=20, max_length=1).setup("fit")


def test_the_default_length_leaves_room_for_longer_sources(tmp_path: Path) -> None:
    for count, length in ((3, 128), (100, 200), (400, 512)):
        lines = ["wort " * count] * 20
        data = ParallelText(write(tmp_path, "a.de", lines), write(tmp_path, "a.en", ["ja"] * 20))
        assert data.length == length + 1


def test_new_files_are_read_with_the_vocabularies_of_the_checkpoint(tmp_path: Path) -> None:
    source = write(tmp_path, "a.de", [f"wort {i % 7}" for i in range(40)])
    target = write(tmp_path, "a.en", [f"word {i % 7}" for i in range(40)])
    data = ParallelText(source, target, target_tokenizer_type="words", test_size=5, seed=3)
    expected = data.sentence_pairs["test"]
    same = ParallelText(source, target, target_tokenizer_type="words", test_size=5)
    with pytest.warns(UserWarning, match="seed=3 of the checkpoint is used instead of 0"):
        same.load_state_dict(data.state_dict())
    assert same.sentence_pairs["test"] == expected

    new_source = write(tmp_path, "n.de", ["wort 3", "haus 3", "wort 1"])
    new_target = write(tmp_path, "n.en", ["word 3", "house 3", "word 1"])
    new = ParallelText(new_source, new_target, target_tokenizer_type="words", test_size=5, seed=3)
    new.load_state_dict(data.state_dict())
    assert new.tokenizer == data.tokenizer
    assert new.target_length == data.target_length
    with pytest.warns(UserWarning, match="not") as warned:
        x, y = next(iter(new.test_dataloader()))
    messages = [str(warning.message) for warning in warned]
    assert any(m.endswith("n.de: not the training data: all 3 pairs are tested") for m in messages)
    assert any("16.7% of the tokens of the test sources are not in the" in m for m in messages)
    tokenizers = data.fitted_tokenizers
    assert [tokenizers[0].decode(row) for row in x.tolist()] == ["wort 3", "<unk> 3", "wort 1"]
    assert [tokenizers[1].decode(row) for row in y.tolist()] == ["word 3", "<unk> 3", "word 1"]


def test_prediction_takes_sources_without_targets(tmp_path: Path) -> None:
    data = ParallelText(num_samples=50)
    new = ParallelText(write(tmp_path, "n.de", ["may the first", "", "june"]), num_samples=50)
    new.load_state_dict(data.state_dict())
    with pytest.warns(UserWarning, match=r"n\.de: 1 empty line is left out"):
        batches = list(new.predict_dataloader())
    assert [len(x) for x, _ in batches] == [2]
    assert new.prediction_ids() == {"line": [1, 3]}
    assert data.prediction_ids() == {"sample": list(range(len(data.sentence_pairs["test"])))}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["a", "b", "c"], ["x", "y"], r"a\.de, line 3 has no counterpart in .*a\.en, .* line 2"),
        ([], ["x", "y"], r"a\.de contains no sentences"),
        (["a"], ["x", "y"], r"a\.en, line 2 has no counterpart in .*a\.de, .* after line 1"),
        (["a", "", "c"], ["x", "y", "z"], r"a\.de, line 2 is empty"),
        (["a", "b"], ["x", " "], r"a\.en, line 2 is empty"),
    ],
)  # fmt: skip
def test_files_that_do_not_match(
    tmp_path: Path, source: list[str], target: list[str], message: str
) -> None:
    paths = write(tmp_path, "a.de", source), write(tmp_path, "a.en", target)
    with pytest.raises(DataError, match=message):
        ParallelText(*paths).setup("fit")


def test_a_file_without_its_counterpart(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"a\.de has no counterpart: give both .* of the train split"
    ):
        ParallelText(write(tmp_path, "a.de", ["a"])).setup("fit")


@pytest.mark.slow
def test_multi30k_has_its_official_splits() -> None:
    data = Multi30k(root=zoo_data("multi30k/train.de.gz"), max_vocab_size=1000)
    assert {n: len(p) for n, p in data.sentence_pairs.items()} == {
        "train": 29_000, "val": 1_014, "test": 1_000
    }  # fmt: skip
    x, y = next(iter(data.train_dataloader()))
    source, target = data.fitted_tokenizers
    assert (source.decode(x[0].tolist()), target.decode(y[0].tolist())) in data.sentence_pairs[
        "train"
    ]
    assert torch.is_tensor(y)
