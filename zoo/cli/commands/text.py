"""``python -m zoo generate`` and ``translate``: text from a checkpoint alone."""

from __future__ import annotations

import sys

import torch

from zoo.cli.arguments import Parser
from zoo.core.checkpoints import load
from zoo.core.quiet import silence_libraries
from zoo.core.task import Task
from zoo.errors import InputError
from zoo.functional.tokenization import UnknownTokenError
from zoo.models.sequences.language_model import LanguageModel
from zoo.models.sequences.translator import Translator


def generate(args: list[str]) -> None:
    """Goes on with a text, token by token, as a language model's checkpoint would.

    The prompt is printed first, then each piece as soon as it is chosen.
    """
    parser = Parser("generate", generate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--prompt", default="\n", help="text to go on with; default a line break")
    parser.add_argument("--tokens", type=int, default=500, help="to generate, default 500")
    parser.add_argument("--temperature", type=float, default=0.8, help="default 0.8; 0: likeliest")
    parser.add_argument("--top-k", type=int, help="choose among the k likeliest; default all")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest that add up to p")
    parser.add_argument("--samples", type=int, default=1, help="texts, default 1")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    if options.tokens < 1:
        raise InputError(f"--tokens must be at least 1, got {options.tokens}")
    model = _load(options.checkpoint, LanguageModel)
    assert isinstance(model, LanguageModel)
    generator = torch.Generator(model.device).manual_seed(options.seed)
    choice = {
        "temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p
    }  # fmt: skip
    for number in range(options.samples):
        if number:
            print("\n" + "─" * 40)
        pieces = model.stream_text(options.prompt, options.tokens, generator=generator, **choice)
        try:
            first = next(pieces, "")
        except UnknownTokenError as error:
            raise InputError(f"--prompt: {error}") from None
        except ValueError as error:
            raise InputError(str(error)) from None
        sys.stdout.write(options.prompt + first)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    print()


def translate(args: list[str]) -> None:
    """Translates texts by a translator's checkpoint, one line each."""
    parser = Parser("translate", translate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--beams", type=int, default=4, help="width of the search, default 4")
    options = parser.parse_args(args)
    if options.beams < 1:
        raise InputError(f"--beams must be at least 1, got {options.beams}")
    model = _load(options.checkpoint, Translator)
    assert isinstance(model, Translator)
    try:
        for text in model.translate(options.texts, options.beams):
            print(text)
    except ValueError as error:
        raise InputError(str(error)) from None


def _load(path: str, wanted: type[Task]) -> Task:
    silence_libraries()
    model = load(path, device="cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(model, wanted):
        raise InputError(f"{path} is a {type(model).__name__}, not a {wanted.__name__}")
    return model
