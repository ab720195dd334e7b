"""``python -m zoo interpolate|traverse|arithmetic|compare CKPT``: pictures without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo import plots
from zoo.cli.arguments import Parser
from zoo.cli.commands.evaluate import data_of, load_latent, samples_of
from zoo.errors import InputError
from zoo.functional.paths import PATHS, interpolation_path
from zoo.models.latent.base import LatentModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # latent dimensions of a traversal, at most


def interpolate(args: list[str]) -> None:
    """Decodes the straight line and the arc between the codes of two test inputs.

    A model without an encoder shows codes drawn from its density in their place, here and in the
    other commands.
    """
    parser = _parser("interpolate", interpolate.__doc__)
    parser.add_argument("--first", type=int, default=0, help="index of a test input, default 0")
    parser.add_argument("--second", type=int, help="default: the next one of another class")
    parser.add_argument("--steps", type=int, default=11, help="images along the path, default 11")
    options = parser.parse_args(args)
    _at_least(2, "steps", options.steps)
    shown = _open(options)
    model, codes = shown.model, shown.codes
    first, second = _ends(options, shown)
    with torch.no_grad():
        if shown.x is None:
            ends = codes[first, None], codes[second, None]
            kinds: tuple[str, ...] = PATHS
            rows = [
                model.decode(interpolation_path(kind, *ends, options.steps)[:, 0]) for kind in kinds
            ]
        else:  # by the model's own method, which a subclass may have changed
            ends = shown.x[first, None], shown.x[second, None]
            kinds = model.path_types
            rows = [model.interpolate(*ends, options.steps, kind)[:, 0] for kind in kinds]
        rows = [model.to_images(row) for row in rows]
    title = f"{type(model).__name__}: from {shown.kind} {first} to {second}"
    if shown.x is not None:
        title += " (inputs at both ends)"
        first_image, last_image = (model.to_images(end) for end in ends)
        blank = torch.ones_like(first_image)
        rows = [torch.cat([first_image, blank, row, blank, last_image]) for row in rows]
    _write(plots.image_rows(rows, kinds, title), options)


def traverse(args: list[str]) -> None:
    """Moves one latent dimension at a time through the range that training codes have."""
    parser = _parser("traverse", traverse.__doc__)
    parser.add_argument("--index", type=int, default=0, help="test input to start at, default 0")
    parser.add_argument("--steps", type=int, default=11, help="images a row, default 11")
    parser.add_argument("--dims", help="latent dimensions from 1, such as 1,4; default: the "
                        f"{SHOWN} that vary most")  # fmt: skip
    options = parser.parse_args(args)
    _at_least(2, "steps", options.steps)
    shown = _open(options)
    model, codes = shown.model, shown.codes
    _in_range("index", options.index, shown)
    with torch.no_grad():
        dims = _dims(options.dims, codes)
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
    title = f"{type(model).__name__}: {shown.kind} {options.index}, one dimension at a time"
    _write(plots.image_rows(rows, labels, f"{title} (1st to 99th percentile)"), options)


def arithmetic(args: list[str]) -> None:
    """Decodes mean(A) − mean(B) + mean(C) of three groups' codes.

    A group is a class, class:4, or a list of test inputs, 0,7,12.
    """
    parser = _parser("arithmetic", arithmetic.__doc__)
    for flag, what in (("--add", "A"), ("--subtract", "B"), ("--to", "C")):
        parser.add_argument(flag, required=True, metavar=what, help="a group, see above")
    options = parser.parse_args(args)
    shown = _open(options)
    model = shown.model
    groups = [group(text, shown) for text in (options.add, options.subtract, options.to)]
    with torch.no_grad():
        a, b, c = (shown.codes[members].mean(0) for members in groups)
        images = model.to_images(model.decode(torch.stack([a, b, c, a - b + c])))
    texts = (options.add, options.subtract, options.to)
    names = [_described(*pair) for pair in zip(texts, groups, strict=True)]
    order = images[[2, 0, 1, 3]]
    labels = [names[2], names[0], names[1], "result"]
    title = f"{type(model).__name__}: arithmetic on mean codes"
    _write(plots.equation(order, ("+", "−", "="), labels, title), options)


def compare(args: list[str]) -> None:
    """Lays latent spaces of several models side by side, with a path between the same inputs."""
    parser = _parser("compare", compare.__doc__, several=True)
    parser.add_argument("--first", type=int, default=0, help="index of a test input, default 0")
    parser.add_argument("--second", type=int, help="default: the next one of another class")
    parser.add_argument("--steps", type=int, default=9, help="images along the path, default 9")
    options = parser.parse_args(args)
    _at_least(2, "steps", options.steps)
    panels = []
    for checkpoint in options.checkpoint:
        shown = _open(options, checkpoint)
        model, codes = shown.model, shown.codes
        if shown.x is None:
            raise InputError(
                f"{checkpoint} is a {type(model).__name__}, which has no encoder: there are no "
                "codes of the same inputs to compare"
            )
        first, second = _ends(options, shown)
        with torch.no_grad():
            line = interpolation_path(
                "linear", codes[first, None], codes[second, None], options.steps
            )[:, 0]
            images = model.to_images(model.decode(line))
            panels.append(plots.Panel(type(model).__name__, codes, line, images))
    title = f"codes of {len(codes):,} test inputs; the line from input {first} to input {second}"
    _write(plots.latent_comparison(panels, shown.y, title), options)


@dataclass(frozen=True)
class Shown:
    """A model and the codes that pictures start from.

    Args:
        model: in evaluation mode.
        codes: of test inputs, or drawn from the model's density, (N, D).
        x: the test inputs, or None.
        y: classes (N,), or None.
    """

    model: LatentModel
    codes: Tensor
    x: Tensor | None
    y: Tensor | None

    @property
    def kind(self) -> str:
        """What an index counts."""
        return "sample" if self.x is None else "test input"


def group(text: str, shown: Shown) -> Tensor:
    """Indices of a group of test inputs, or of samples.

    Args:
        text: ``class:4``, or indices, ``0,7,12``.
        shown: what there is.

    Raises:
        InputError: neither; an empty group; an index that there is not; no classes.
    """
    kind, _, value = text.rpartition(":")
    numbers = [part.strip() for part in value.split(",") if part.strip()]
    if kind not in ("", "class") or not all(part.lstrip("-").isdigit() for part in numbers):
        raise InputError(f"{text!r} is no group: write class:4, or indices such as 0,7,12")
    labels = shown.y
    if kind == "class":
        if labels is None:
            raise InputError(f"{text!r}: these {shown.kind}s have no classes, name them by indices")
        members = torch.cat([(labels == int(n)).nonzero()[:, 0] for n in numbers or ["-1"]])
    else:
        members = torch.tensor([int(n) for n in numbers], dtype=torch.long)
    if not len(members):
        known = "none given"
        if kind and labels is not None:
            known = ", ".join(map(str, labels.unique().tolist()))
        raise InputError(f"group {text!r} is empty ({'classes' if kind else 'indices'}: {known})")
    if not kind:
        for index in members.tolist():
            _in_range(f"group {text!r}: index", index, shown)
    return members


def _described(text: str, members: Tensor) -> str:
    kind, _, value = text.rpartition(":")
    what = f"class {value}, {len(members)} inputs" if kind else f"input(s) {value}"
    return f"mean of {what}"


# -- shared --------------------------------------------------------------------------------------


def _parser(command: str, description: str | None, several: bool = False) -> Parser:
    parser = Parser(command, description)
    parser.add_argument("checkpoint", metavar="CKPT", nargs="+" if several else None)
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--images", type=int, default=2_000, help="test inputs, default 2,000")
    parser.add_argument("--out", type=Path, help=f"default: figures/{command}.png of the run")
    parser.set_defaults(command=command)
    return parser


def _open(options: Any, checkpoint: str | None = None) -> Shown:
    """The model and its codes of test inputs; drawn ones where it has no encoder."""
    name = checkpoint or options.checkpoint
    model = load_latent(name)
    with torch.no_grad():
        if not model.has_encoder:
            generator = torch.Generator(model.device).manual_seed(0)
            codes = model.sample_latent(options.images, generator)
            classes = codes[:, model.latent_dim :]  # of a conditional model: they follow z
            return Shown(model, codes, None, classes.argmax(1) if classes.shape[1] else None)
        data = data_of(Path(name), options.data, options.root)
        x, y = samples_of(data, "test", model, options.images)
        return Shown(model, model.encode(x), x, None if y.is_floating_point() else y)


def _ends(options: Any, shown: Shown) -> tuple[int, int]:
    """Indices of the two codes that a path joins."""
    first, second, count = options.first, options.second, len(shown.codes)
    _in_range("first", first, shown)
    if second is None:
        y = torch.arange(count) if shown.y is None else shown.y
        others = (y != y[first]).nonzero()[:, 0].tolist()
        second = next((i for i in others if i > first), others[0] if others else count - 1)
    _in_range("second", second, shown)
    return first, second


def _dims(text: str | None, codes: Tensor) -> list[int]:
    """Latent dimensions, counted from 0."""
    count = codes.shape[1]
    if text is None:
        return codes.var(0).argsort(descending=True)[:SHOWN].sort().values.tolist()
    try:
        dims = [int(part) - 1 for part in text.split(",")]
    except ValueError:
        raise InputError(f"--dims {text!r} are no numbers such as 1,4") from None
    for dim in dims:
        if not 0 <= dim < count:
            raise InputError(f"--dims {dim + 1}: the model has dimensions 1 to {count}")
    return dims


def _in_range(name: str, index: int, shown: Shown) -> None:
    count = len(shown.codes)
    if not 0 <= index < count:
        raise InputError(
            f"{name} {index} is not among the {count:,} {shown.kind}s, 0 to {count - 1}"
        )


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise InputError(f"--{name} must be at least {least}, got {value}")


def _write(figure: Figure, options: Any) -> None:
    first = options.checkpoint[0] if isinstance(options.checkpoint, list) else options.checkpoint
    run = Path(first).absolute().parent.parent
    where = options.out or run / "figures" / f"{options.command}.png"
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(where, dpi=120, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {where}: {error}") from error
    print(f"written to {where}")
