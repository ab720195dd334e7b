"""``zoo generate CKPT`` and ``zoo translate CKPT``: text from a checkpoint."""

from __future__ import annotations

import sys

import torch

from zoo.cli.arguments import Parser, seed
from zoo.cli.checkpoint_data import add_model_option, load_model
from zoo.core.quiet import silence_libraries
from zoo.errors import InputError, check_at_least
from zoo.functional.tokenization import UnknownTokenError
from zoo.models.sequences.language_model import LanguageModel
from zoo.models.sequences.translator import Translator


def generate(args: list[str]) -> None:
    """Continue a text with a language model, token by token.

    The prompt is printed first, then each token as soon as it is sampled.
    """
    parser = Parser("generate", generate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint of a language model")
    add_model_option(parser)
    parser.add_argument("--prompt", default="\n", help="text to continue, default a line break")
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
    model = load_model(options.checkpoint, LanguageModel, own_class=options.model)
    generator = torch.Generator(model.device).manual_seed(options.seed)
    for index in range(options.num_samples):
        if index:
            print("\n" + "─" * 40)
        pieces = model.stream_text(
            options.prompt, options.tokens, generator=generator, temperature=options.temperature,
            top_k=options.top_k, top_p=options.top_p,
        )  # fmt: skip
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
    """Translate texts with a translator, and print one translation per line."""
    parser = Parser("translate", translate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint of a translator")
    add_model_option(parser)
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="texts to translate")
    parser.add_argument("--num_beams", type=int, default=4, metavar="N",
                        help="width of the beam search, default 4")  # fmt: skip
    options = parser.parse_args(args)
    check_at_least(1, **{"--num_beams": options.num_beams})
    silence_libraries()
    model = load_model(options.checkpoint, Translator, own_class=options.model)
    try:
        for text in model.translate(options.texts, options.num_beams):
            print(text)
    except ValueError as error:
        raise InputError(str(error)) from None
