"""``zoo generate``, ``translate`` and ``evaluate`` with models of text; one-line errors."""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo
from zoo import LanguageModel, SequenceClassifier, Translator
from zoo.cli.main import main

SMALL = ["--model.dim=16", "--model.layers=1", "--model.heads=2", "--trainer.max_steps=3"]


@pytest.fixture
def writer(run: Callable[..., Path], tmp_path: Path) -> str:
    """Checkpoint of a language model after three training steps."""
    (tmp_path / "t.txt").write_text("the cat sat on the mat.\n" * 200)
    data = ["--data=text", f"--data.path={tmp_path / 't.txt'}", "--data.length=16"]
    return str(run("--model=language_model", *data, *SMALL) / "checkpoints" / "last.ckpt")


@pytest.fixture
def translator(run: Callable[..., Path]) -> str:
    """Checkpoint of a translator after three training steps."""
    folder = run("--model=translator", "--data.num_samples=300", *SMALL)
    return str(folder / "checkpoints" / "last.ckpt")


def test_generation_needs_only_the_checkpoint(
    writer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").unlink()
    Path(writer).parent.parent.joinpath("config.yaml").unlink()

    def text(*options: str) -> str:
        capsys.readouterr()
        main(["generate", writer, "--prompt", "the cat", "--tokens", "40", *options])
        return capsys.readouterr().out

    assert text().startswith("the cat")
    assert len(text()) == len("the cat") + 40 + 1
    assert text("--seed", "1") == text("--seed", "1") != text("--seed", "2")
    assert text("--temperature", "0") == text("--top_k", "1") == text("--top_p", "0.000001")
    two = text("--num_samples", "2")
    assert two.count("the cat") >= 2
    assert "────" in two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "the ☃ cat"], "'☃' is not in the tokenizer's vocabulary of 12 tokens"),
        (["--prompt", "the cat sat on the mat"], "a prompt must have 1 to 16 tokens, got 22"),
        (["--temperature", "-1"], "temperature must not be negative, got -1.0"),
        (["--top_p", "2"], "top_p must be between 0 and 1, got 2.0"),
        (["--tokens", "0"], "--tokens must be at least 1, got 0"),
        (["--num_samples", "0"], "--num_samples must be at least 1, got 0"),
    ],
)
def test_generation_refuses_bad_options(
    options: list[str], message: str, writer: str, fails: Callable[..., str]
) -> None:
    import re

    assert re.search(message, fails("generate", writer, *options))


def test_a_run_names_the_file_of_its_texts(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run("--model=language_model", "--data.max_characters=5000", *SMALL)
    assert "\ntexts       runs/language_model/" in capsys.readouterr().out


def test_translation_from_a_checkpoint(translator: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(["translate", translator, "may the first two thousand", "may the second two thousand"])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_translation_refuses_bad_input(
    translator: str, writer: str, fails: Callable[..., str]
) -> None:
    assert "has 160 tokens" in fails("translate", translator, "may " * 160)
    assert "--num_beams must be at least 1" in fails(
        "translate", translator, "may", "--num_beams", "0"
    )
    assert "needs texts, a file" in fails("translate", translator)
    assert "needs texts, a file" in fails("translate", translator, "may", "--file", "t.txt")
    assert "there is no file x.txt" in fails("translate", translator, "--file", "x.txt")
    assert "--out needs --file" in fails("translate", translator, "may", "--out", "t.txt")
    for command, needed in {
        ("translate", writer, "may"): "LanguageModel, but this command needs a Translator",
        ("generate", translator): "Translator, but this command needs a LanguageModel",
        ("evaluate", writer): "LanguageModel, but this command needs a LatentModel or a Translator",
    }.items():
        assert needed in fails(*command)


def test_translation_of_a_file(
    translator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_bytes("may the first\r\n\r\njune\x85the second\n".encode())
    folder = Path(translator).parent.parent
    main(["translate", str(folder), "--file", str(tmp_path / "t.txt")])
    out = capsys.readouterr().out
    assert f"translations {folder / 'translations.csv'}  (2 lines)" in out
    table = pd.read_csv(folder / "translations.csv", keep_default_na=False, dtype=str)
    assert table["line"].tolist() == ["1", "3"]
    assert table["text"].tolist() == ["may the first", "june\x85the second"]
    main(["translate", translator, "may the first"])
    assert capsys.readouterr().out == table["translation"][0] + "\n"
    out_file = tmp_path / "out.txt"
    main(["translate", translator, "--file", str(tmp_path / "t.txt"), "--out", str(out_file)])
    translations = table["translation"].tolist()
    assert out_file.read_text("utf-8") == f"{translations[0]}\n\n{translations[1]}\n"


def give_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_translation_of_the_standard_input(
    translator: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., str],
) -> None:
    capfd.readouterr()
    main(["translate", translator, "may the first", "june"])
    first, second = capfd.readouterr().out.splitlines()
    give_input(monkeypatch, b"\xef\xbb\xbfmay the first\r\n\njune\n")
    with pytest.warns(UserWarning, match="standard input: 1 empty line is left out"):
        main(["translate", translator, "--file", "-"])
    assert capfd.readouterr().out == f"{first}\n\n{second}\n"
    give_input(monkeypatch, b"may\n\xff\n")
    assert "standard input, line 2: byte 4 is not UTF-8" in fails(
        "translate", translator, "--file", "-"
    )


def test_a_prompt_from_a_file_or_the_standard_input(
    writer: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., str],
) -> None:
    def text(*options: str) -> str:
        capfd.readouterr()
        main(["generate", writer, "--tokens", "5", *options])
        return capfd.readouterr().out

    expected = text("--prompt", "the cat\nsat")
    (tmp_path / "p.txt").write_bytes(b"the cat\r\nsat\r\n")
    assert text("--prompt_file", str(tmp_path / "p.txt")) == expected
    give_input(monkeypatch, b"the cat\nsat\n")
    assert text("--prompt_file", "-") == expected
    (tmp_path / "p.txt").write_text("a horse")
    error = fails("generate", writer, "--prompt_file", str(tmp_path / "p.txt"))
    assert "p.txt: 'r' is not in the tokenizer's vocabulary" in error


def test_a_long_text_says_what_its_tokens_are_predicted_from(
    writer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(UserWarning, match="tokens are predicted from the last 16 tokens in each"):
        main(["generate", writer, "--prompt", "the cat", "--tokens", "10"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        main(["generate", writer, "--prompt", "the cat", "--tokens", "9"])


def test_predictions_of_texts_without_labels(run: Callable[..., Path], tmp_path: Path) -> None:
    """The lines are named, and read with the vocabulary and the classes of the training."""
    rows = [f"film {i} was {'fine' if i % 2 else 'dull'}\t{'yes' if i % 2 else 'no'}\n"
            for i in range(60)]  # fmt: skip
    (tmp_path / "t.tsv").write_text("".join(rows))
    (tmp_path / "n.txt").write_text("it was fine\n\nso dull\n")
    data = ["--model=sequence_classifier", "--data=labeled_text"]
    folder = run(*data, f"--data.path={tmp_path / 't.tsv'}", *SMALL)
    checkpoint = str(folder / "checkpoints" / "last.ckpt")
    path = ["--ckpt_path", checkpoint, f"--data.path={tmp_path / 'n.txt'}"]
    predicted = run("predict", *data, *path)
    table = pd.read_csv(predicted / "predictions.csv")
    assert table["line"].tolist() == [1, 3]
    expected = zoo.load(checkpoint, SequenceClassifier).classify(["it was fine", "so dull"])
    names = ["no", "yes"]
    found = torch.tensor(table[["p(no)", "p(yes)"]].to_numpy(), dtype=torch.float32)
    torch.testing.assert_close(found, expected)
    assert table["class"].tolist() == [names[k] for k in expected.argmax(1).tolist()]
    (tmp_path / "n.txt").write_text("it was fine\tperhaps\n")
    with pytest.warns(UserWarning, match="1 of 1 values in the second column, such as 'perhaps'"):
        run("predict", *data, *path)
    with pytest.raises(SystemExit):
        main(["test", *data, *path])


@pytest.mark.parametrize("name", ["language_model", "causal_conv", "rnn"])
def test_predictions_of_a_new_text(name: str, run: Callable[..., Path], tmp_path: Path) -> None:
    """Each window has its line and its mean −log p, in windows of the length of the training."""
    (tmp_path / "t.txt").write_text("the cat sat on the mat.\n" * 200)
    (tmp_path / "n.txt").write_text("the mat\n\nsat on the cat.\n")
    data = [f"--model={name}", "--data=text"]
    folder = run(*data, f"--data.path={tmp_path / 't.txt'}", "--data.length=16", *SMALL)
    checkpoint = str(folder / "checkpoints" / "last.ckpt")
    predicted = run(
        "predict", *data, "--ckpt_path", checkpoint, f"--data.path={tmp_path / 'n.txt'}"
    )
    table = pd.read_csv(predicted / "predictions.csv")
    assert table["window"].tolist() == [0, 1]
    assert table["line"].tolist() == [1, 3]
    assert table["tokens"].tolist() == [16, 8]
    model = zoo.load(checkpoint, LanguageModel)
    tokens = torch.tensor(model.tokenizer.encode("the mat\n\nsat on the cat.\n"))
    for start, row in zip((0, 16), table.to_dict("records"), strict=True):
        x, y = tokens[start : start + 16], tokens[start + 1 : start + 17]
        with torch.no_grad():
            nll = torch.nn.functional.cross_entropy(model(x[None, : len(y)])[0], y)
        assert row["nll"] == pytest.approx(float(nll), rel=1e-5)
        assert row["bits_per_char"] == pytest.approx(float(nll) / math.log(2), rel=1e-5)


def test_predictions_of_translations(run: Callable[..., Path], tmp_path: Path) -> None:
    """Sources need no targets; each line has the greedy translation of ``zoo translate``."""
    for name, word in (("a.de", "wort"), ("a.en", "word")):
        (tmp_path / name).write_text("".join(f"{word} {i % 7} .\n" for i in range(50)))
    (tmp_path / "n.de").write_text("wort 3\n\nwort 1 .\n")
    data = ["--model=translator", "--data=parallel_text"]
    paths = [f"--data.path={tmp_path / 'a.de'}", f"--data.target_path={tmp_path / 'a.en'}"]
    checkpoint = str(run(*data, *paths, *SMALL) / "checkpoints" / "last.ckpt")
    path = f"--data.path={tmp_path / 'n.de'}"
    predicted = run("predict", *data, "--ckpt_path", checkpoint, path)
    table = pd.read_csv(predicted / "predictions.csv", keep_default_na=False, dtype=str)
    assert table["line"].tolist() == ["1", "3"]
    model = zoo.load(checkpoint, Translator)
    assert table["translation"].tolist() == model.translate(["wort 3", "wort 1 ."])


def test_evaluation_of_a_translator(translator: str) -> None:
    main(["evaluate", translator, "--num_beams", "2", "--images", "5"])
    content = json.loads((Path(translator).parent / "evaluation.json").read_text("utf-8"))
    metrics = {metric["name"]: metric for metric in content["metrics"]}
    assert set(metrics) == {"bleu", "bleu_lowercase", "exact"}
    assert "5 sentences, 2 beams; sacreBLEU" in metrics["bleu"]["meaning"]


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        (["--model=language_model", "--data=text"], "", "contains no text"),
        (["--model=sequence_classifier", "--data=labeled_text"], "a\t1\nb\n",
         "line 2: expected 2 columns, text and label, got 1"),
        (["--model=forecaster", "--data=series"], "a,b\n1,2\n,3\n", "line 3, column 'a'"),
        (["--model=language_model", "--data=text", "--data.tokenizer_type=letters"], "text " * 99,
         "unknown tokenizer 'letters'"),
        (["--model=language_model", "--data=text", "--model.heads=3"], "text " * 99,
         "heads must divide dim, got heads=3 and dim=128"),
        (["--model=language_model", "--data=text", "--model.position=rope"], "text " * 99,
         "unknown position 'rope'"),
        (["--model=language_model", "--data=text", "--model.layer_type=attention"], "text " * 99,
         "unknown layer_type 'attention'"),
    ],
)  # fmt: skip
def test_faulty_input_is_one_line(
    options: list[str], content: str, message: str, tmp_path: Path, fails: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text(content)
    assert message in fails(*options, f"--data.path={tmp_path / 'file'}")


@pytest.mark.parametrize(
    "names", ["sequence_classifier sst2", "translator multi30k", "language_model tiny_shakespeare"]
)
def test_sets_whose_files_are_fixed_take_no_path(names: str, fails: Callable[..., str]) -> None:
    model, data = names.split()
    error = fails(f"--model={model}", f"--data={data}", "--data.path=mine.txt")
    assert error.startswith("error: unknown option --data.path")
    assert "'--data.path'" not in error


def test_a_model_and_data_that_do_not_fit(fails: Callable[..., str]) -> None:
    assert "LanguageModel needs vocab_size, which Digits does not have" in fails(
        "--model=language_model", "--data=digits"
    )
    assert "Forecaster needs num_series, which Text does not have" in fails(
        "--model=forecaster", "--data=text"
    )
