"""Running text: windows that cover it, splits in its order, files that are at fault."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from datamodules import Text, TinyShakespeare
from datamodules.files import fetch
from datamodules.text import IGNORE
from tests.conftest import zoo_data
from zoo.errors import DataError

CHARACTERS = "".join(chr(ord("A") + i % 26) + "\n" * (i % 7 == 0) for i in range(2000))


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(CHARACTERS, encoding="utf-8")
    return str(tmp_path / "text.txt")


def test_splits_lie_in_order_and_together_are_the_text(path: str) -> None:
    data = Text(path, val_size=0.1, test_size=100)
    assert "".join(data.parts[name] for name in ("train", "val", "test")) == data.text
    assert len(data.parts["test"]) == 100
    assert len(data.parts["val"]) == round(0.1 * len(data.text))


@pytest.mark.parametrize("split", ["val", "test"])
def test_every_token_but_the_first_is_a_target_once(path: str, split: str) -> None:
    data = Text(path, length=16, val_size=333, test_size=334)
    batches = list(data.val_dataloader() if split == "val" else data.test_dataloader())  # type: ignore[arg-type]
    x, y = (torch.cat([batch[i] for batch in batches]).flatten() for i in (0, 1))
    numbers = data.codec.encode(data.parts[split])
    assert y[y != IGNORE].tolist() == numbers[1:]
    assert x[y != IGNORE].tolist() == numbers[:-1]


def test_targets_are_the_next_tokens(path: str) -> None:
    data = Text(path, length=16, batch_size=8)
    text = data.parts["train"]
    for x, y in data.train_dataloader():
        assert x.shape == y.shape
        assert x.dtype == y.dtype == torch.int64
        for row, after in zip(x.tolist(), y.tolist(), strict=True):
            piece = data.codec.decode([*row, after[-1]])
            assert piece in text
            assert data.codec.encode(piece[1:]) == after


def test_training_windows_begin_anywhere_and_cover_the_text(path: str) -> None:
    data = Text(path, length=16, batch_size=32)
    loader = data.train_dataloader()
    windows = [row for _ in range(3) for x, _ in loader for row in x.tolist()]
    passes = len(windows) * 16 / (3 * len(data.parts["train"]))
    assert 0.97 < passes <= 1
    tokens = data.codec.encode(data.parts["train"])
    starts = {
        i % 16 for i in range(len(tokens) - 16) for w in windows[:100] if tokens[i : i + 16] == w
    }
    assert len(starts) == 16


def test_the_seed_gives_the_same_windows(path: str) -> None:
    def first(seed: int) -> torch.Tensor:
        return next(iter(Text(path, seed=seed, length=16).train_dataloader()))[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe"])
def test_the_tokenizer_is_part_of_what_models_get(path: str, kind: str) -> None:
    data = Text(path, tokenizer=kind, vocab_size=300, length=8)
    x, _ = next(iter(data.train_dataloader()))
    assert int(x.max()) < data.vocab_size
    assert data.codec.decode(x[0].tolist()) in data.text


def test_the_standard_library_is_the_default() -> None:
    data = Text(max_characters=50_000)
    assert "import" in data.text
    assert len(data.text) == 50_000


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    assert Text(str(tmp_path)).text == "first\nsecond"
    with pytest.raises(DataError, match=r"has no files \*\.md: set pattern"):
        _ = Text(str(tmp_path), pattern="*.md").text


def test_gzip_is_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"packed text"))
    assert Text(str(tmp_path / "t.txt.gz")).text == "packed text"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "holds no text"),
        (b" \n", {}, "holds no text"),
        (b"one\ntwo\n\xff", {}, r"text\.txt, line 3: byte 8 is not UTF-8 text"),
        (b"short text", {"length": 64}, "10 training tokens are too few .* at least 128"),
        (b"short text", {"val_size": 8, "test_size": 2}, "leave nothing of 10 characters"),
    ],
)
def test_faults(path: str, content: bytes, options: dict[str, int], message: str) -> None:
    Path(path).write_bytes(content)
    with pytest.raises(DataError, match=message):
        Text(path, **options).train_dataloader()  # type: ignore[arg-type]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*missing\.txt"):
        _ = Text(str(tmp_path / "missing.txt")).text


def test_a_file_is_fetched_once_and_checked(tmp_path: Path) -> None:
    source, place = tmp_path / "source.txt", tmp_path / "text" / "place.txt"
    source.write_bytes(b"content")
    right = hashlib.sha256(b"content").hexdigest()
    fetch(source.as_uri(), place, right)
    source.unlink()
    fetch(source.as_uri(), place, right)  # it lies there already
    with pytest.raises(DataError, match="is not the file expected"):
        fetch(source.as_uri(), place, "0" * 64)
    with pytest.raises(DataError, match=r"cannot be downloaded .* put the file at .*other\.txt"):
        fetch(source.as_uri(), tmp_path / "other.txt", right)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_tiny_shakespeare_is_split_as_nanogpt_does() -> None:
    data = TinyShakespeare(root=zoo_data("text/tinyshakespeare.txt"))
    assert data.vocab_size == 65
    assert len(data.parts["train"]) == int(0.9 * 1_115_394)
    assert data.val_dataloader() == []
