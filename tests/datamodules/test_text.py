"""Running text: windows, consecutive splits, downloads, faulty files."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from datamodules import Text, TinyShakespeare
from datamodules.files import download_file
from datamodules.text import IGNORE_INDEX
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
    assert Text(str(tmp_path)).text == "first\nsecond"
    with pytest.raises(DataError, match=r"has no files that match \*\.md: set --data\.pattern"):
        _ = Text(str(tmp_path), pattern="*.md").text


def test_gzip_files_are_decompressed(tmp_path: Path) -> None:
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"packed text"))
    assert Text(str(tmp_path / "t.txt.gz")).text == "packed text"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "contains no text"),
        (b" \n", {}, "contains no text"),
        (b"one\ntwo\n\xff", {}, r"text\.txt, line 3: byte 8 is not UTF-8 text"),
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
