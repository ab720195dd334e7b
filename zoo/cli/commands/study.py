"""``zoo study``: list the studies, run one of them, or run all and write the gallery."""

from __future__ import annotations

import ast
import importlib
import json
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import studies
from zoo.cli.files import save_figure
from zoo.core.files import check_writable, replacing, write_text
from zoo.errors import InputError, check_choice
from zoo.studies import NAMES, module_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USAGE = """\
Run one: zoo study NAME [--SETTING VALUE ...] [--out DIR]   (settings: zoo study NAME --help)
Run all: zoo study --all [--page docs/gallery.md] [--out DIR]"""
GALLERY = """\
# Gallery of studies

One figure per study at its default settings, written by `zoo study --all` on {day}
({hardware}, seed 0, {minutes:.0f} minutes in total).
"""


def study(args: list[str]) -> None:
    """List the studies, run one of them, or run all.

    Raises:
        InputError: unknown study or setting, or an invalid value.
    """
    if not args or args[0] in ("-h", "--help"):
        print_list()
    elif args[0] == "--all":
        run_all(args[1:])
    elif args[0].startswith("-"):
        raise InputError(
            f"study: the name must come before options, got {args[0]!r}; "
            f"choose from {', '.join(NAMES)}"
        )
    else:
        run_one(args[0].replace("_", "-"), args[1:])


def print_list() -> None:
    """Print one line per study."""
    width = max(map(len, NAMES))
    for name in NAMES:
        print(f"{name:<{width}}  {title_of(name)}")
    print(f"\n{USAGE}")


def read_explanation(name: str) -> str:
    """Return the docstring of a study's module, which is read without importing it."""
    source = Path(studies.__file__).parent / f"{module_name(name)}.py"
    return ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""


def title_of(name: str) -> str:
    """Return the first line of a study's explanation."""
    return read_explanation(name).splitlines()[0]


def run_one(name: str, args: list[str]) -> None:
    """Run a study; print its explanation and table, and write its figure and results."""
    module = _import_study(name)
    settings, out = _parse_settings(name, module, args)
    folder = out or Path("runs/studies") / name
    check_writable(folder / f"{name}.png")
    started = time.perf_counter()
    result = module.run(**settings)
    seconds = time.perf_counter() - started
    print(f"{read_explanation(name)}\n\n{module.table(result)}\n\n{seconds:.1f} s")
    paths = write_results(name, module, settings, result, module.plot(result), folder)
    print("written to " + ", ".join(map(str, paths)))


def run_all(args: list[str]) -> None:
    """Run every study at its default settings, and write a page with all figures and tables."""
    from zoo.cli.arguments import Parser
    from zoo.cli.commands.reproduce import hardware

    parser = Parser("study --all", run_all.__doc__)
    parser.add_argument("--page", type=Path, default=Path("docs/gallery.md"),
                        help="Markdown file to write, default docs/gallery.md; images are "
                        "written to a folder of the same name")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/studies"),
                        help="folder of the results, default runs/studies")  # fmt: skip
    options = parser.parse_args(args)
    check_writable(options.page)
    sections = []
    started_all = time.perf_counter()
    images = options.page.parent / options.page.stem
    for name in NAMES:
        module = _import_study(name)
        settings, _ = _parse_settings(name, module, [])
        started = time.perf_counter()
        result = module.run(**settings)
        print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
        figure = module.plot(result)
        write_results(name, module, settings, result, figure, options.out / name)
        save_figure(figure, images / f"{name}.png", dpi=80)
        title = title_of(name)
        sections.append(
            f"## {name}\n\n{title}\n\n![{title}]({images.name}/{name}.png)\n\n"
            f"```bash\nzoo study {name}\n```\n\n```text\n{module.table(result)}\n```\n"
        )
    minutes = (time.perf_counter() - started_all) / 60
    head = GALLERY.format(day=date.today().isoformat(), hardware=hardware(), minutes=minutes)
    write_text(options.page, "\n".join([head, *sections]))
    print(f"written to {options.page}")


def write_results(
    name: str, module: Any, settings: dict[str, Any], result: Any, figure: Figure, folder: Path
) -> list[Path]:
    """Write the figure (PNG and SVG), the results (JSON) and the animation (GIF) of a study.

    Args:
        name: name of the study.
        module: module of the study.
        settings: arguments of ``run``.
        result: return value of ``run``.
        figure: return value of ``plot``.
        folder: folder to write to.

    Returns:
        Paths of the files.

    Raises:
        InputError: the folder cannot be written to.
    """
    from zoo.studies.base import to_jsonable

    table = module.table(result)
    paths = [folder / f"{name}.{suffix}" for suffix in ("png", "svg", "json")]
    save_figure(figure, paths[0], dpi=120)
    save_figure(figure, paths[1])
    content = {
        "study": name,
        "settings": to_jsonable(settings),
        "header": list(table.header),
        "rows": to_jsonable(list(table.rows)),
        "result": to_jsonable(result),
    }
    write_text(paths[2], json.dumps(content, ensure_ascii=False, allow_nan=False))
    if hasattr(module, "animate"):
        paths.append(folder / f"{name}.gif")
        with replacing(paths[-1]) as partial:
            module.animate(result, partial)
    return paths


# -- helpers ---------------------------------------------------------------------------------------


def _import_study(name: str) -> Any:
    check_choice("study", name, NAMES)
    return importlib.import_module(f"zoo.studies.{module_name(name)}")


def _parse_settings(name: str, module: Any, args: list[str]) -> tuple[dict[str, Any], Path | None]:
    """Return the arguments of ``run`` on the command line, and the value of ``--out``."""
    from jsonargparse import ArgumentError, ArgumentParser

    from zoo.cli.error_text import one_line

    prog = f"zoo study {name}"
    parser = ArgumentParser(prog=prog, description=title_of(name), exit_on_error=False)
    parser.add_argument("--out", type=Path | None, default=None,
                        help="folder of the results, default runs/studies/NAME")  # fmt: skip
    parser.add_function_arguments(module.run)
    options = [option for action in parser._actions for option in action.option_strings]
    try:
        settings = parser.parse_args(args).as_dict()
    except ArgumentError as error:
        raise InputError(f"study {name}: {one_line(str(error), options, {})}") from error
    out = settings.pop("out")
    return settings, out
