"""``zoo interpolate|traverse|arithmetic|compare CKPT``: figures of a latent space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo import plots
from zoo.cli.arguments import Parser
from zoo.cli.checkpoint_data import (
    add_model_option,
    find_checkpoint,
    load_model,
    load_samples,
    make_data_module,
    run_folder_of,
)
from zoo.cli.files import save_figure
from zoo.errors import InputError, check_at_least
from zoo.functional.paths import PATHS, interpolation_path
from zoo.models.latent.base import LatentModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TRAVERSED = 12  # latent dimensions that a traversal shows by default, at most


# -- commands ------------------------------------------------------------------------------------


def interpolate(args: list[str]) -> None:
    """Decode the straight line and the arc between the codes of two test inputs.

    A model without an encoder, such as a GAN, is shown with codes sampled from its prior instead
    of codes of test inputs. This also holds for traverse and arithmetic.
    """
    parser = _make_parser("interpolate", interpolate.__doc__)
    _add_endpoints(parser, steps=11)
    options = parser.parse_args(args)
    check_at_least(2, **{"--steps": options.steps})
    start = _load_codes(options)
    model, codes = start.model, start.codes
    first, second = _choose_endpoints(options, start)
    with torch.no_grad():
        if start.x is None:
            ends = codes[first, None], codes[second, None]
            kinds: tuple[str, ...] = PATHS
            rows = [
                model.decode(interpolation_path(kind, *ends, options.steps)[:, 0]) for kind in kinds
            ]
        else:  # by the model's own method, which a subclass may override
            ends = start.x[first, None], start.x[second, None]
            kinds = model.path_types
            rows = [model.interpolate(*ends, options.steps, kind)[:, 0] for kind in kinds]
        rows = [model.to_images(row) for row in rows]
    title = f"{type(model).__name__}: path from {start.noun} {first} to {second}"
    if start.x is not None:
        title += " (inputs at both ends)"
        first_image, last_image = (model.to_images(end) for end in ends)
        blank = torch.ones_like(first_image)
        rows = [torch.cat([first_image, blank, row, blank, last_image]) for row in rows]
    _write_figure(plots.image_rows(rows, kinds, title), options)


def traverse(args: list[str]) -> None:
    """Vary one latent dimension at a time over the range of the codes of test inputs."""
    parser = _make_parser("traverse", traverse.__doc__)
    parser.add_argument("--index", type=int, default=0, help="index of the test input whose code "
                        "is varied, default 0")  # fmt: skip
    parser.add_argument("--steps", type=int, default=11, help="images per row, default 11")
    parser.add_argument("--dims", help="latent dimensions, counted from 1, such as 1,4; default "
                        f"the {MAX_TRAVERSED} with the largest variance")  # fmt: skip
    options = parser.parse_args(args)
    check_at_least(2, **{"--steps": options.steps})
    start = _load_codes(options)
    model, codes = start.model, start.codes
    _check_index("--index", options.index, start)
    with torch.no_grad():
        dims = _choose_dims(options.dims, codes)
        levels = torch.linspace(0.01, 0.99, options.steps, device=codes.device)
        values = codes.float().quantile(levels, dim=0).to(codes)  # (steps, D)
        rows = []
        for dim in dims:
            moved = codes[options.index].repeat(options.steps, 1)
            moved[:, dim] = values[:, dim]
            rows.append(model.to_images(model.decode(moved)))
    labels = [
        f"z{dim + 1}: {float(values[0, dim]):.2g} to {float(values[-1, dim]):.2g}" for dim in dims
    ]
    title = f"{type(model).__name__}: {start.noun} {options.index}, one latent dimension at a time"
    _write_figure(plots.image_rows(rows, labels, f"{title} (1st to 99th percentile)"), options)


def arithmetic(args: list[str]) -> None:
    """Decode mean(A) − mean(B) + mean(C) of the codes of three groups of test inputs.

    A group is a class, such as class:4, or a list of indices, such as 0,7,12.
    """
    parser = _make_parser("arithmetic", arithmetic.__doc__)
    for flag, name in (("--add", "A"), ("--subtract", "B"), ("--to", "C")):
        parser.add_argument(flag, required=True, metavar=name, help=f"group {name}")
    options = parser.parse_args(args)
    start = _load_codes(options)
    model = start.model
    texts = (options.add, options.subtract, options.to)
    groups = [parse_group(text, start) for text in texts]
    with torch.no_grad():
        a, b, c = (start.codes[members].mean(0) for members in groups)
        images = model.to_images(model.decode(torch.stack([c, a, b, a - b + c])))
    add, subtract, to = (
        _describe_group(text, members) for text, members in zip(texts, groups, strict=True)
    )
    title = f"{type(model).__name__}: arithmetic on mean codes"
    labels = [to, add, subtract, "result"]
    _write_figure(plots.image_equation(images, ("+", "−", "="), labels, title), options)


def compare(args: list[str]) -> None:
    """Show the latent spaces of several models, each with a path between the same two inputs."""
    parser = _make_parser("compare", compare.__doc__, several=True)
    _add_endpoints(parser, steps=9)
    options = parser.parse_args(args)
    check_at_least(2, **{"--steps": options.steps})
    panels = []
    for checkpoint in options.checkpoint:
        start = _load_codes(options, checkpoint)
        model, codes = start.model, start.codes
        if start.x is None:
            raise InputError(
                f"{checkpoint} contains the model {type(model).__name__}, which has no encoder: it "
                "has no codes of the same inputs to compare"
            )
        first, second = _choose_endpoints(options, start)
        with torch.no_grad():
            ends = codes[first, None], codes[second, None]
            path = interpolation_path("linear", *ends, options.steps)[:, 0]
            images = model.to_images(model.decode(path))
            panels.append(plots.LatentPanel(type(model).__name__, codes, path, images))
    title = f"Codes of {len(codes):,} test inputs; path from test input {first} to {second}"
    _write_figure(plots.latent_comparison(panels, start.y, title), options)


# -- codes and groups of codes -------------------------------------------------------------------


@dataclass(frozen=True)
class CodeSet:
    """The codes that a figure starts from, with the model that decodes them.

    Args:
        model: latent model in evaluation mode.
        codes: codes of test inputs, or samples from the model's prior, (N, D).
        x: the test inputs, (N, *input_shape); None for samples.
        y: class indices (N,); None without classes.
    """

    model: LatentModel
    codes: Tensor
    x: Tensor | None
    y: Tensor | None

    @property
    def noun(self) -> str:
        """``test input`` or ``sample``, the name of one row in messages and titles."""
        return "sample" if self.x is None else "test input"


def parse_group(text: str, start: CodeSet) -> Tensor:
    """Return the indices of a group of codes.

    Args:
        text: a class, such as ``class:4``, or indices, such as ``0,7,12``.
        start: codes that the indices refer to.

    Raises:
        InputError: the text is neither; the group is empty; an index is out of range; a class is
            given, but the codes have no classes.
    """
    kind, _, value = text.rpartition(":")
    numbers = [part.strip() for part in value.split(",") if part.strip()]
    if kind not in ("", "class") or not all(part.lstrip("-").isdigit() for part in numbers):
        raise InputError(f"{text!r} is not a group: write class:4, or indices such as 0,7,12")
    labels = start.y
    if kind == "class":
        if labels is None:
            raise InputError(f"{text!r}: the {start.noun}s have no classes; write indices instead")
        members = torch.cat([(labels == int(n)).nonzero()[:, 0] for n in numbers or ["-1"]])
    else:
        members = torch.tensor([int(n) for n in numbers], dtype=torch.long)
    if not len(members):
        known = "no indices given"
        if labels is not None and kind:
            known = f"classes: {', '.join(map(str, labels.unique().tolist()))}"
        raise InputError(f"group {text!r} is empty ({known})")
    if not kind:
        for index in members.tolist():
            _check_index(f"group {text!r}, index", index, start)
    return members


def _describe_group(text: str, members: Tensor) -> str:
    kind, _, value = text.rpartition(":")
    return f"mean of class {value}, {len(members)} inputs" if kind else f"mean of input(s) {value}"


def _load_codes(options: Any, checkpoint: str | None = None) -> CodeSet:
    """Return the codes of test inputs; samples from the prior if the model has no encoder."""
    path = find_checkpoint(checkpoint or options.checkpoint)
    model = load_model(str(path), LatentModel, own_class=options.model)
    with torch.no_grad():
        if model.has_encoder:
            data = make_data_module(path, options.data, options.root)
            x, y = load_samples(data, "test", model, options.images)
            return CodeSet(model, model.encode(x), x, None if y.is_floating_point() else y)
        generator = torch.Generator(model.device).manual_seed(0)
        codes = model.sample_latent(options.images, generator)
        classes = codes[:, model.latent_dim :]  # one-hot after z, in a class-conditional model
        return CodeSet(model, codes, None, classes.argmax(1) if classes.shape[1] else None)


# -- options -------------------------------------------------------------------------------------


def _make_parser(command: str, description: str | None, several: bool = False) -> Parser:
    parser = Parser(command, description)
    parser.add_argument("checkpoint", metavar="CKPT", nargs="+" if several else None,
                        help="checkpoint of a latent model, or its run folder")  # fmt: skip
    add_model_option(parser)
    parser.add_argument("--data", help="name of the data set, default that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--images", type=int, default=2_000,
                        help="number of test inputs, default 2,000")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="file of the figure, default "
                        f"figures/{command}.png in the run folder")  # fmt: skip
    parser.set_defaults(command=command)
    return parser


def _add_endpoints(parser: Parser, steps: int) -> None:
    """Add the options of a path between two codes.

    Args:
        parser: parser of the command.
        steps: default number of images along the path.
    """
    parser.add_argument("--first", type=int, default=0,
                        help="index of the test input at the start, default 0")  # fmt: skip
    parser.add_argument("--second", type=int, help="index of the test input at the end, default "
                        "the next one of another class")  # fmt: skip
    parser.add_argument("--steps", type=int, default=steps,
                        help=f"images along the path, default {steps}")  # fmt: skip


def _choose_endpoints(options: Any, start: CodeSet) -> tuple[int, int]:
    """Return the indices of the two codes that a path joins."""
    first, second, count = options.first, options.second, len(start.codes)
    _check_index("--first", first, start)
    if second is None:
        y = torch.arange(count) if start.y is None else start.y
        others = (y != y[first]).nonzero()[:, 0].tolist()
        second = next((i for i in others if i > first), others[0] if others else count - 1)
    _check_index("--second", second, start)
    return first, second


def _choose_dims(text: str | None, codes: Tensor) -> list[int]:
    """Return the latent dimensions of a traversal, counted from 0."""
    count = codes.shape[1]
    if text is None:
        largest = codes.var(0).argsort(descending=True)[:MAX_TRAVERSED]
        return largest.sort().values.tolist()
    try:
        dims = [int(part) - 1 for part in text.split(",")]
    except ValueError:
        raise InputError(f"--dims must be a list of numbers such as 1,4, got {text!r}") from None
    for dim in dims:
        if not 0 <= dim < count:
            raise InputError(
                f"--dims {dim + 1} is out of range: the model has dimensions 1 to {count}"
            )
    return dims


def _check_index(name: str, index: int, start: CodeSet) -> None:
    count = len(start.codes)
    if not 0 <= index < count:
        raise InputError(
            f"{name} {index} is out of range: there are {count:,} {start.noun}s, 0 to {count - 1}"
        )


def _write_figure(figure: Figure, options: Any) -> None:
    first = options.checkpoint[0] if isinstance(options.checkpoint, list) else options.checkpoint
    run = run_folder_of(find_checkpoint(first))
    path = options.out or run / "figures" / f"{options.command}.png"
    save_figure(figure, path, dpi=120, bbox_inches="tight")
    print(f"written to {path}")
