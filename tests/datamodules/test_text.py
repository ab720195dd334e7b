"""Running text: windows, consecutive splits, downloads, faulty files."""

from __future__ import annotations

import gzip
import hashlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import Text, TinyShakespeare
from datamodules.files import download_file
from datamodules.text import IGNORE_INDEX
from datamodules.text_files import sorted_fraction
from tests.conftest import zoo_data
from zoo.errors import DataError

CHARACTERS = "".join(chr(ord("A") + i % 26) + "\n" * (i % 7 == 0) for i in range(2000))


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(CHARACTERS, encoding="utf-8")
    return str(tmp_path / "text.txt")


def test_the_splits_are_consecutive_and_cover_the_text(path: str) -> None:
    data = Text(path, val_size=0.1, test_size=100)
    assert "".join(data.split_texts[name] for name in ("train", "val", "test")) == data.text
    assert len(data.split_texts["test"]) == 100
    assert len(data.split_texts["val"]) == round(0.1 * len(data.text))


@pytest.mark.parametrize("split", ["val", "test"])
def test_every_token_except_the_first_is_a_target_once(path: str, split: str) -> None:
    data = Text(path, length=16, val_size=333, test_size=334)
    batches = list(data.val_dataloader() if split == "val" else data.test_dataloader())  # type: ignore[arg-type]
    x, y = (torch.cat([batch[i] for batch in batches]).flatten() for i in (0, 1))
    tokens = data.fitted_tokenizer.encode(data.split_texts[split])
    assert y[y != IGNORE_INDEX].tolist() == tokens[1:]
    assert x[y != IGNORE_INDEX].tolist() == tokens[:-1]


def test_targets_are_the_next_tokens(path: str) -> None:
    data = Text(path, length=16, batch_size=8)
    text = data.split_texts["train"]
    for x, y in data.train_dataloader():
        assert x.shape == y.shape
        assert x.dtype == y.dtype == torch.int64
        for row, after in zip(x.tolist(), y.tolist(), strict=True):
            piece = data.fitted_tokenizer.decode([*row, after[-1]])
            assert piece in text
            assert data.fitted_tokenizer.encode(piece[1:]) == after


def test_training_windows_start_anywhere_and_cover_the_text(path: str) -> None:
    data = Text(path, length=16, batch_size=32)
    loader = data.train_dataloader()
    windows = [row for _ in range(3) for x, _ in loader for row in x.tolist()]
    passes = len(windows) * 16 / (3 * len(data.split_texts["train"]))
    assert 0.97 < passes <= 1
    tokens = data.fitted_tokenizer.encode(data.split_texts["train"])
    starts = {
        i % 16 for i in range(len(tokens) - 16) for w in windows[:100] if tokens[i : i + 16] == w
    }
    assert len(starts) == 16


def test_the_seed_determines_the_windows(path: str) -> None:
    def first(seed: int) -> torch.Tensor:
        return next(iter(Text(path, seed=seed, length=16).train_dataloader()))[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize("tokenizer_type", ["characters", "bytes", "words", "bpe"])
def test_every_tokenizer_encodes_and_decodes_the_text(path: str, tokenizer_type: str) -> None:
    data = Text(path, tokenizer_type=tokenizer_type, max_vocab_size=300, length=8)
    x, _ = next(iter(data.train_dataloader()))
    assert int(x.max()) < data.vocab_size
    assert data.fitted_tokenizer.decode(x[0].tolist()) in data.text


def test_the_standard_library_is_the_default() -> None:
    data = Text(max_characters=50_000)
    assert "import" in data.text
    assert len(data.text) == 50_000


def test_the_files_of_a_folder_are_joined_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    with pytest.warns(
        UserWarning, match=r"1 of 3 files do not match \*\*/\*\.txt and are left out"
    ):
        assert Text(str(tmp_path)).text == "first\nsecond"
    with pytest.raises(DataError, match=r"has no files that match \*\.md: set --data\.pattern"):
        _ = Text(str(tmp_path), pattern="*.md").text


@pytest.mark.parametrize("damage", [b"xxxx" * 20, b""])
def test_a_damaged_gzip_file(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"packed text" * 9)[:15] + damage)
    with pytest.raises(DataError, match=r"t\.txt\.gz cannot be read"):
        _ = Text(str(tmp_path / "t.txt.gz")).text


def test_gzip_files_are_decompressed(tmp_path: Path) -> None:
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"packed text"))
    assert Text(str(tmp_path / "t.txt.gz")).text == "packed text"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "contains no text"),
        (b" \n", {}, "contains no text"),
        (b"one\ntwo\n\xff", {}, r"text\.txt, line 3: byte 8 is not UTF-8 text"),
        ("one\n".encode("utf-16"), {}, r"text\.txt is UTF-16 text; save it as UTF-8"),
        ("one\n".encode("utf-32"), {}, r"text\.txt is UTF-32 text; save it as UTF-8"),
        (b"\xfe\xff" + "one\n".encode("utf-16-be"), {}, r"text\.txt is UTF-16 text"),
        ("one".encode("utf-16-le"), {}, r"line 1: a null character, .* perhaps UTF-16; save"),
        (b"one\ntw\0o", {}, r"text\.txt, line 2: a null character"),
        (b"one\rtwo\r", {}, r"text\.txt has carriage returns in place of line feeds"),
        (b"short text", {"length": 64}, "10 training tokens are too few .* at least 128"),
        (b"short text", {"val_size": 8, "test_size": 2}, "leave none of 10 characters"),
    ],
)
def test_faulty_files(path: str, content: bytes, options: dict[str, int], message: str) -> None:
    Path(path).write_bytes(content)
    with pytest.raises(DataError, match=message):
        Text(path, **options).train_dataloader()  # type: ignore[arg-type]


def test_byte_order_marks_are_removed(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8-sig")
    assert Text(str(tmp_path)).text == "a.txt\nb.txt"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*missing\.txt"):
        _ = Text(str(tmp_path / "missing.txt")).text


def test_a_file_is_downloaded_once_and_checked(tmp_path: Path) -> None:
    source, path = tmp_path / "source.txt", tmp_path / "text" / "path.txt"
    source.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    download_file(source.as_uri(), path, sha256)
    source.unlink()
    download_file(source.as_uri(), path, sha256)  # not downloaded again
    with pytest.raises(DataError, match="has unexpected contents"):
        download_file(source.as_uri(), path, "0" * 64)
    with pytest.raises(
        DataError,
        match=r"cannot be downloaded .* download it elsewhere and save it as .*other\.txt",
    ):
        download_file(source.as_uri(), tmp_path / "other.txt", sha256)
    source.write_bytes(b"other content")
    with pytest.raises(DataError, match=r"cannot be downloaded \(invalid hash value"):
        download_file(source.as_uri(), tmp_path / "other.txt", sha256)
    assert sorted(tmp_path.rglob("*.*")) == [source, path]


@pytest.mark.slow
def test_tiny_shakespeare_has_the_splits_of_nanogpt() -> None:
    data = TinyShakespeare(root=zoo_data("text/tinyshakespeare.txt"))
    assert data.vocab_size == 65
    assert len(data.split_texts["train"]) == int(0.9 * 1_115_394)
    assert data.val_dataloader() == []


# -- line ends and order -------------------------------------------------------------------------


def test_windows_line_ends_are_removed_and_other_separators_kept(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("one\r\ntwo\x85\u2028\x0b\x0c\rend\r\n".encode())
    assert Text(str(tmp_path / "t.txt")).text == "one\ntwo\x85\u2028\x0b\x0c\rend\n"


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.txt").write_text("hidden")
    (tmp_path / "._a.txt").write_bytes(b"\xff")
    (tmp_path / "a.txt").write_text("first")
    assert Text(str(tmp_path)).text == "first"


def sorted_names() -> list[str]:
    return [first + second + "n" for first in "abcdefghij" for second in "aeiouy"] * 2


def test_sorted_lines_are_noticed_and_shuffled(tmp_path: Path) -> None:
    lines = sorted_names()
    (tmp_path / "t.txt").write_text("\n".join(lines))
    data = Text(str(tmp_path / "t.txt"), length=4)
    message = "99% of the lines are in alphabetical order .* shuffle the lines with --data.shuffle"
    with pytest.warns(UserWarning, match=message):
        data.setup("fit")
    shuffled = Text(str(tmp_path / "t.txt"), length=4, shuffle_lines=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shuffled.setup("fit")
    assert sorted(shuffled.text.split()) == sorted(lines)
    assert shuffled.text.endswith("\n")
    assert 0.3 < sorted_fraction(shuffled.text) < 0.7
    again = Text(str(tmp_path / "t.txt"), length=4, shuffle_lines=True)
    other = Text(str(tmp_path / "t.txt"), length=4, shuffle_lines=True, seed=1)
    assert again.text == shuffled.text != other.text


def test_prose_and_code_are_not_sorted() -> None:
    assert 0.3 < sorted_fraction(Text(max_characters=200_000).text) < 0.7
    assert sorted_fraction("\n".join(sorted_names()[:40])) == 0


# -- checkpoints, new texts and prediction -------------------------------------------------------


def test_the_training_text_is_split_as_in_training(path: str) -> None:
    data, same = Text(path, test_size=99), Text(path)
    with pytest.warns(
        UserWarning, match=r"test_size=99 of the checkpoint is used instead of 0\.05"
    ):
        same.load_state_dict(data.state_dict())
    assert same.split_texts == data.split_texts


def test_text_that_was_added_is_tested(path: str) -> None:
    data = Text(path, length=8, val_size=100, test_size=99)
    data.setup("fit")
    with open(path, "a", encoding="utf-8") as file:
        file.write("ABC")
    longer = Text(path, length=8, val_size=100, test_size=99)
    longer.load_state_dict(data.state_dict())
    with pytest.warns(UserWarning, match="3 characters that were added since training are tested"):
        longer.setup("test")
    assert longer.split_texts["test"] == data.split_texts["test"] + "ABC"


@pytest.mark.parametrize("tokenizer_type", ["characters", "words", "bpe"])
def test_another_text_is_tested_as_a_whole(path: str, tokenizer_type: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"tokenizer_type": tokenizer_type, "max_vocab_size": 300, "length": 8}
    data = Text(path, **options)
    (tmp_path / "n.txt").write_text("BADCAB\nFED")
    new = Text(str(tmp_path / "n.txt"), **options)
    new.load_state_dict(data.state_dict())
    with pytest.warns(UserWarning, match=r"n\.txt: not the training text: all 10 characters are"):
        new.setup("test")
    assert new.tokenizer == data.tokenizer
    x, y = next(iter(new.test_dataloader()))
    token_ids = data.fitted_tokenizer.encode("BADCAB\nFED")
    assert x.flatten()[: len(token_ids) - 1].tolist() == token_ids[:-1]
    assert y[y != IGNORE_INDEX].tolist() == token_ids[1:]


def test_characters_that_the_model_does_not_know(path: str, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("ABC é")
    new = Text(str(tmp_path / "n.txt"))
    new.load_state_dict(Text(path).state_dict())
    message = r"n\.txt: ' ', 'é' are not in the .* of 27 tokens: leave them out, or train with"
    with pytest.raises(DataError, match=message):
        new.setup("predict")


def test_the_length_of_the_checkpoint_decides(path: str, tmp_path: Path) -> None:
    data = Text(path, length=16)
    (tmp_path / "n.txt").write_text("A" * 40)
    new = Text(str(tmp_path / "n.txt"))
    with pytest.warns(UserWarning, match="length=16 of the checkpoint is used instead of 64"):
        new.load_state_dict(data.state_dict())
    assert [tuple(x.shape) for x, _ in new.predict_dataloader()] == [(3, 16)]


def test_a_text_of_one_token_has_nothing_to_predict(path: str, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("A")
    new = Text(str(tmp_path / "n.txt"))
    new.load_state_dict(Text(path).state_dict())
    for stage in ("test", "predict"):
        with pytest.raises(DataError, match=r"n\.txt: a text of 1 token has no next token to"):
            new.setup(stage)
    (tmp_path / "n.txt").write_text("AB")
    again = Text(str(tmp_path / "n.txt"))
    again.load_state_dict(Text(path).state_dict())
    assert [tuple(x.shape) for x, _ in again.predict_dataloader()] == [(1, 64)]


def test_unknown_words_are_said(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a cat sat\n" * 90)
    (tmp_path / "n.txt").write_text("a horse sat\n")
    options: dict[str, Any] = {"tokenizer_type": "words", "length": 8}
    new = Text(str(tmp_path / "n.txt"), **options)
    new.load_state_dict(Text(str(tmp_path / "t.txt"), **options).state_dict())
    message = r"n\.txt: 16.7% of the tokens of the text are not in the vocabulary; their characters"
    with pytest.warns(UserWarning, match=message):
        new.setup("predict")


def test_prediction_serves_the_whole_text_with_its_lines(path: str) -> None:
    data = Text(path, length=16)
    windows = sum(len(x) for x, _ in data.predict_dataloader())
    tokens = len(data.text)
    assert windows == -(-(tokens - 1) // 16)
    ids = data.prediction_ids()
    assert list(ids["window"]) == list(range(windows))
    assert ids["line"] == [1 + data.text[: 16 * i].count("\n") for i in range(windows)]


def test_the_windows_of_a_folder_name_their_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "sub" / "b.txt").write_text("three\nfour\nfive\nsix\n")
    data = Text(str(tmp_path), length=10, shuffle_lines=True)
    ids = data.prediction_ids()
    assert ids == {
        "window": range(3),
        "file": ["a.txt", "sub/b.txt", "sub/b.txt"],
        "line": [1, 1, 3],
    }
    x, _ = next(iter(data.predict_dataloader()))
    assert data.fitted_tokenizer.decode(x[1].tolist()) == "hree\nfour\n"


def test_the_lines_of_a_test_split_are_those_of_the_file() -> None:
    data = Text(max_characters=5_000, val_size=0, test_size=2_000, length=50)
    ids = data.prediction_ids()
    first = data.joined.locate([1 + data.text[:3_000].count("\n")])
    assert [ids["file"][0], ids["line"][0]] == [first["file"][0], first["line"][0]]
    assert ids["line"][0] > 1


def test_a_rest_that_fills_no_window_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abcdefghij" * 29)
    data = Text(str(tmp_path / "t.txt"), length=100, val_size=0, test_size=0)
    with pytest.warns(UserWarning, match="the last 90 of 290 training tokens do not fill a window"):
        data.setup("fit")
