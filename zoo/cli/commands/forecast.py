"""``zoo forecast CKPT``: the future of time series, with dates and prediction intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo import plots
from zoo.cli.arguments import Parser
from zoo.cli.checkpoint_data import (
    add_model_option,
    find_checkpoint,
    load_model,
    make_data_module,
    run_folder_of,
)
from zoo.cli.files import save_figure
from zoo.core import registry
from zoo.core.checkpoints import read
from zoo.core.files import write_text
from zoo.core.quiet import silence_libraries
from zoo.errors import InputError, check_at_least
from zoo.evaluation.forecast import Earlier, Forecast, errors_needed, forecast_future
from zoo.models.sequences.forecasting import ForecastingTask

if TYPE_CHECKING:
    import pandas as pd

MAX_DRAWN = 8  # series in the figure
DIGITS = 7  # of float32


def forecast(args: list[str]) -> None:
    """Forecast the steps after the end of the data, and write and draw them.

    forecast.csv has a row for each step: its time, and for each series the forecast and the lower
    and upper end of its prediction interval, in the units of the data. Steps beyond the model's
    horizon are forecast by feeding its forecasts back.

    Intervals: for a model that predicts variances, they follow from the predicted variance; after
    its horizon, the variance of sampled futures that are fed back is added. For other models, they
    are quantiles of the forecast errors for each step ahead: on the validation split or, with
    --data.path, on the steps of the new table after the end of training. If these are too few, all
    steps after training are used.
    """
    options = _parse(args)
    silence_libraries()
    checkpoint = find_checkpoint(options.checkpoint)
    model = load_model(str(checkpoint), ForecastingTask, own_class=options.model)
    data = _make_data(checkpoint, options)
    lookback = int(model.hparams["lookback"])
    values = data.scaled_values
    if len(values) < lookback:
        raise InputError(
            f"{data.path}: {len(values)} steps are too few for the model's lookback of {lookback}"
        )
    steps = options.steps or int(model.hparams["horizon"])
    earlier, unread = _choose_earlier(checkpoint, data, options, (lookback, steps))
    future = forecast_future(model, values, steps, earlier, options.level)
    table = _make_table(data, future)
    folder = options.out or run_folder_of(checkpoint)
    write_text(folder / "forecast.csv", table.to_csv(index=False))
    figure_path = (options.out or folder / "figures") / "forecast.png"
    figure = _draw(data, future, options.level, type(model).__name__)
    save_figure(figure, figure_path, dpi=120)
    first, last = (str(table.iloc[row, 0]) for row in (0, -1))
    print(f"{type(model).__name__}: {steps} steps, {data.axis.name} {first} to {last}")
    print(f"intervals   {_describe_intervals(future, options.level, unread)}")
    print(f"table       {folder / 'forecast.csv'}")
    print(f"figure      {figure_path}{_describe_drawn(data)}")


def _parse(args: list[str]) -> Any:
    parser = Parser("forecast", forecast.__doc__)
    parser.add_argument(
        "checkpoint", metavar="CKPT", help="checkpoint of a forecasting model, or its run folder"
    )
    add_model_option(parser)
    parser.add_argument("--steps", type=int, metavar="N",
                        help="number of steps, default the model's horizon")  # fmt: skip
    parser.add_argument("--level", type=float, default=0.9, metavar="P",
                        help="probability of the prediction intervals, default 0.9")  # fmt: skip
    parser.add_argument("--data.path", dest="path", metavar="FILE",
                        help="table whose future is forecast, default the run's")  # fmt: skip
    parser.add_argument("--data.fill", dest="fill", metavar="HOW", help="how to fill gaps in FILE: "
                        "interpolate, previous or ignore; default: they are refused")  # fmt: skip
    parser.add_argument(
        "--data.root", dest="root", metavar="FOLDER", help="folder of the data, default the run's"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="folder of table and figure, default the run folder")  # fmt: skip
    options = parser.parse_args(args)
    check_at_least(1, **{"--steps": options.steps})
    if not 0 < options.level < 1:
        raise InputError(f"--level must be above 0 and below 1, got {options.level}")
    if options.fill is not None and options.path is None:
        raise InputError("--data.fill needs --data.path")
    return options


# -- data ----------------------------------------------------------------------------------------


def _make_data(checkpoint: Path, options: Any) -> Any:
    """Return the data module of the table whose future is forecast."""
    series_class = registry.import_class(registry.DATA["series"])
    if options.path is None:
        data = make_data_module(checkpoint, None, options.root)
        if isinstance(data, series_class):
            return data
        raise InputError(
            f"{type(data).__name__} has separate samples and no last step, from which a forecast "
            "could start: train the model on --data series"
        )
    state = _series_state(read(checkpoint))
    if state is None:
        raise InputError(
            f"checkpoint {checkpoint} does not contain the names and the scaling of series, by "
            f"which to read {options.path}: train the model on --data series"
        )
    known = {name: state["settings"][name] for name in series_class.learned_settings}
    data = series_class(options.path, fill=options.fill, **known)
    data.load_state_dict(state)
    return data


def _series_state(checkpoint: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of a series data module of any class in a checkpoint, or None."""
    for value in checkpoint.values():
        learned = value.get("learned") if isinstance(value, dict) else None
        if isinstance(learned, dict) and {"columns", "time", "std"} <= learned.keys():
            return value
    return None


def _choose_earlier(
    checkpoint: Path, data: Any, options: Any, sizes: tuple[int, int]
) -> tuple[Earlier, str]:
    """Return the forecasts whose errors are measured: the first choice with enough errors.

    Args:
        checkpoint: the checkpoint, whose training data are used if another table is too short.
        data: data module of the table whose future is forecast.
        options: options of the command.
        sizes: the model's lookback, and the number of steps to forecast.

    Returns:
        The forecasts, and the reason if the training data were needed but cannot be read.
    """
    choices, unread = _earlier_in(data), ""
    needed = errors_needed(options.level)
    if max(choice.count(*sizes) for choice in choices) < needed and not data.has_training_data:
        try:
            choices += _earlier_in_training_data(checkpoint, options)
        except InputError as error:  # the forecast itself does not need them
            unread = f"; the training data cannot be read: {error}"
    enough = (choice for choice in choices if choice.count(*sizes) >= needed)
    return next(enough, max(choices, key=lambda choice: choice.count(*sizes))), unread


def _earlier_in(data: Any) -> list[Earlier]:
    values, new = data.scaled_values, data.first_new_step()
    after = Earlier(values, torch.arange(new, len(values)), "after the end of training")
    if data.has_training_data:
        validation = torch.arange(*data.split_ranges["val"])
        return [Earlier(values, validation, "on the validation split"), after]
    return [after if new else Earlier(values, after.starts, f"in {data.path}")]


def _earlier_in_training_data(checkpoint: Path, options: Any) -> list[Earlier]:
    """Return forecasts in the training data.

    Raises:
        InputError: the training data cannot be read any more.
    """
    data = make_data_module(checkpoint, None, options.root)
    return [replace(choice, where=f"{choice.where} of {data.path}") for choice in _earlier_in(data)]


# -- output --------------------------------------------------------------------------------------


def _make_table(data: Any, future: Forecast) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {
        data.axis.name: data.axis.write(len(future.mean))[-len(future.mean) :]
    }
    known = bool(future.lower.isfinite().any())
    parts = {"": future.mean} | ({"_low": future.lower, "_high": future.upper} if known else {})
    originals = {suffix: data.to_original_units(part.cpu()) for suffix, part in parts.items()}
    for i, name in enumerate(data.series_names):
        for suffix, part in originals.items():
            numbers = part[:, i].tolist()
            columns[name + suffix] = [None if n != n else f"{n:.{DIGITS}g}" for n in numbers]
    return pd.DataFrame(columns)


def _draw(data: Any, future: Forecast, level: float, model_name: str) -> Any:
    import pandas as pd

    steps = len(future.mean)
    shown = min(len(data.raw_values), max(data.lookback, 2 * steps))
    times = data.axis.extended(steps)[-(shown + steps) :]
    if isinstance(times, pd.DatetimeIndex):
        times = times.tz_localize(None)
    names = data.series_names[:MAX_DRAWN]
    mean, lower, upper = (
        data.to_original_units(part.cpu())[:, :MAX_DRAWN]
        for part in (future.mean, future.lower, future.upper)
    )
    return plots.future_forecast(
        data.raw_values[-shown:, :MAX_DRAWN], mean, (lower, upper), times.to_numpy(), names, level,
        f"{model_name}: forecast of {steps} steps", data.axis.name,
    )  # fmt: skip


def _describe_intervals(future: Forecast, level: float, unread: str) -> str:
    """Return the method of the prediction intervals, or the reason for leaving them out.

    Args:
        future: the forecast.
        level: probability of the intervals.
        unread: reason why the training data were not used, or an empty string.
    """
    known = future.lower.isfinite().all(1)
    if known.all():
        return f"{level:.0%}, {future.method}"
    too_few = f"a {level:.0%} interval needs {errors_needed(level)}{unread}"
    if not known.any():
        return f"none: {future.method} are too few; {too_few}"
    return f"{level:.0%}, {future.method}; none after step {int(known.sum())}: {too_few}"


def _describe_drawn(data: Any) -> str:
    count = len(data.series_names)
    return f"  (the first {MAX_DRAWN} of {count} series)" if count > MAX_DRAWN else ""
