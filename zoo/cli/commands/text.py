"""``zoo generate CKPT`` and ``zoo translate CKPT``: text from a checkpoint."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from datamodules.files import STANDARD_INPUT, read_text, source_name
from datamodules.sentence_files import read_sentences
from zoo.cli.arguments import Parser, seed
from zoo.cli.checkpoint_data import add_model_option, find_checkpoint, load_model, run_folder_of
from zoo.core.files import write_text
from zoo.core.quiet import silence_libraries
from zoo.errors import InputError, check_at_least
from zoo.functional.tokenization import UnknownTokenError
from zoo.models.sequences.base import warn_of_unknown
from zoo.models.sequences.language_model import LanguageModel
from zoo.models.sequences.translator import Translator


def generate(args: list[str]) -> None:
    """Continue a text with a language model, token by token.

    The prompt is printed first, then each token as soon as it is sampled.
    """
    parser = Parser("generate", generate.__doc__)
    parser.add_argument(
        "checkpoint", metavar="CKPT", help="checkpoint of a language model, or its run folder"
    )
    add_model_option(parser)
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", default="\n", help="text to continue, default a line break")
    prompt.add_argument(
        "--prompt_file",
        type=Path,
        metavar="FILE",
        help="file of the text to continue, without its last line break; - for the standard input",
    )
    parser.add_argument("--tokens", type=int, default=500, metavar="N",
                        help="number of tokens to generate, default 500")  # fmt: skip
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="sampling "
                        "temperature, default 0.8; 0 takes the most likely token")  # fmt: skip
    parser.add_argument("--top_k", type=int, metavar="K",
                        help="sample from the K most likely tokens, default all")  # fmt: skip
    parser.add_argument("--top_p", type=float, metavar="P", help="sample from the most likely "
                        "tokens with a total probability of P, default all")  # fmt: skip
    parser.add_argument("--num_samples", type=int, default=1, metavar="N",
                        help="number of texts to generate, default 1")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="random seed, default 0")
    options = parser.parse_args(args)
    check_at_least(1, **{f"--{name}": getattr(options, name) for name in ("tokens", "num_samples")})
    silence_libraries()
    name = "--prompt"
    if options.prompt_file is not None:
        name = source_name(options.prompt_file)
        options.prompt = read_text(options.prompt_file).replace("\r\n", "\n").removesuffix("\n")
    checkpoint = find_checkpoint(options.checkpoint)
    model = load_model(str(checkpoint), LanguageModel, own_class=options.model)
    generator = torch.Generator(model.device).manual_seed(options.seed)
    for index in range(options.num_samples):
        if index:
            print("\n" + "─" * 40)
        pieces = model.stream_text(
            options.prompt, options.tokens, generator=generator, temperature=options.temperature,
            top_k=options.top_k, top_p=options.top_p,
        )  # fmt: skip
        try:
            if not index:
                tokens = model.tokenizer.encode(options.prompt or "\n")
                warn_of_unknown([tokens], model.tokenizer, "prompt")
                _warn_of_context(model, len(tokens) + options.tokens)
            first = next(pieces, "")
        except UnknownTokenError as error:
            raise InputError(f"{name}: {error}") from None
        except ValueError as error:
            raise InputError(str(error)) from None
        sys.stdout.write(options.prompt + first)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    print()


def _warn_of_context(model: LanguageModel, total: int) -> None:
    """Warn if the text, of ``total`` tokens, becomes longer than what a token is predicted from."""
    if model.hparams["layer_type"] != "transformer":
        return
    if model.network.position.max_length is not None and total > model.length:
        half = math.ceil(model.length / 2)
        warnings.warn(
            f"the text becomes longer than the model's {model.length:,} positions, so that tokens "
            f"are predicted from the last {half:,} to {model.length:,} tokens",
            stacklevel=2,
        )
    elif total > model.window:
        warnings.warn(
            f"the text becomes longer than the model's context, so that tokens are predicted from "
            f"the last {model.window:,} tokens in each layer",
            stacklevel=2,
        )


def translate(args: list[str]) -> None:
    """Translate texts with a translator, and print one translation per line.

    With --file, the lines of a file are translated, and written with their numbers to
    translations.csv in the run folder; those of the standard input (--file -) are printed.
    """
    parser = Parser("translate", translate.__doc__)
    parser.add_argument(
        "checkpoint", metavar="CKPT", help="checkpoint of a translator, or its run folder"
    )
    add_model_option(parser)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to translate")
    parser.add_argument("--file", type=Path, metavar="FILE",
                        help="file with one text per line to translate, - for the standard "
                        "input")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="file of the translations: a "
                        "table if it ends with .csv, else one translation per line; default "
                        "translations.csv in the run folder, or for --file - no file")  # fmt: skip
    parser.add_argument("--num_beams", type=int, default=4, metavar="N",
                        help="width of the beam search, default 4")  # fmt: skip
    options = parser.parse_args(args)
    check_at_least(1, **{"--num_beams": options.num_beams})
    if bool(options.texts) == (options.file is not None):
        raise InputError("translate needs texts, a file of texts with --file FILE, or --file -")
    if options.out is not None and options.file is None:
        raise InputError("--out needs --file FILE")
    silence_libraries()
    checkpoint = find_checkpoint(options.checkpoint)
    model = load_model(str(checkpoint), Translator, own_class=options.model)
    if options.file is not None:
        _translate_file(model, checkpoint, options)
        return
    try:
        for text in model.translate(options.texts, options.num_beams):
            print(text)
    except ValueError as error:
        raise InputError(str(error)) from None


def _translate_file(model: Translator, checkpoint: Path, options: Any) -> None:
    """Translate the lines of a file, and write the translations, or print those of the standard
    input."""
    import pandas as pd

    sentences = read_sentences(options.file)
    translations = model.translate(list(sentences.values()), options.num_beams, cut=True)
    out = options.out
    if out is None and options.file != STANDARD_INPUT:
        out = run_folder_of(checkpoint) / "translations.csv"
    if out is not None and out.suffix == ".csv":
        columns = {"line": list(sentences), "text": list(sentences.values())}
        content = pd.DataFrame(columns | {"translation": translations}).to_csv(index=False)
    else:
        by_line = dict(zip(sentences, translations, strict=True))
        lines = range(1, max(sentences) + 1)
        content = "".join(by_line.get(line, "").replace("\n", " ") + "\n" for line in lines)
    if out is None:
        sys.stdout.write(content)
        return
    write_text(out, content)
    noun = "line" if len(translations) == 1 else "lines"
    print(f"translations {out}  ({len(translations):,} {noun})")
