"""LightningCLI as the zoo runs it: data linked to model, run folders, loggers, a closing table."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.model_summary import summarize
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from callbacks import Checkpoint, Interrupt, ProgressBar, TrainingInterrupted
from datamodules import DataError
from zoo.cli.arguments import CHECKPOINT_WORDS, LOGGERS, Invocation, refuse_unreached
from zoo.cli.error_text import one_line
from zoo.core import checkpoints, registry
from zoo.core.distributed import destroy_process_group, keep_freed_memory
from zoo.core.quiet import silence_libraries
from zoo.core.report import concatenate_batches, metrics_table, print_rank_zero, short_path
from zoo.core.task import Task
from zoo.errors import InputError
from zoo.networks.normalization import BatchOfOneError


@dataclass
class CheckpointSettings:
    """What is kept of a run: ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Args:
        monitor: metric that makes a checkpoint the best one; null keeps the last one alone.
        mode: ``min`` or ``max``.
        every_n_train_steps: writes ``last.ckpt`` after every so many steps instead of each epoch.
        upload: whether Weights & Biases gets the checkpoints as artifacts.
    """

    monitor: str | None = "val/loss"
    mode: str = "min"
    every_n_train_steps: int | None = None
    upload: bool = False


def run(invocation: Invocation) -> None:
    """Runs what the command line asks for."""
    silence_libraries()
    if not torch.cuda.is_available():
        # Lightning has torch look for a GPU's library in a way that, without one, costs each
        # optimiser step as much as a tiny model
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
        keep_freed_memory()
    try:
        ZooCLI(invocation)
        destroy_process_group()
    except (DataError, MisconfigurationException, BatchOfOneError) as error:
        raise InputError(str(error)) from error
    except TrainingInterrupted as stop:
        print_rank_zero(str(stop))
        destroy_process_group()
        sys.exit(130)


class MetricsFile(CSVLogger):
    """``metrics.csv`` and nothing beside it: ``config.yaml`` holds the settings."""

    def log_hyperparams(self, params: Any = None) -> None:
        pass


class NoProfiler(PassThroughProfiler):
    """Measures nothing, more cheaply than Lightning's own profiler that measures nothing.

    The loop enters it over forty times a step; that one makes a generator each time, this one
    hands out the same empty context.
    """

    nothing = contextlib.nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.nothing


class ZooParser(LightningArgumentParser):
    """A parser whose errors are one line, with the nearest names."""

    arguments: ClassVar[dict[str, set[str]]] = {}  # of the chosen model and data, for suggestions

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:  # a parser inside this one, which will say where it was
            super().error(message, ex)
        raise InputError(self.explain(message, ex)) from ex

    def explain(self, message: str, ex: Exception | None = None) -> str:
        """The message on one line."""
        parser = getattr(ex, "subcommand_parser", None) or self
        return one_line(message, parser._option_string_actions, self.arguments)


class ZooCLI(LightningCLI):
    """LightningCLI for the zoo's conventions.

    Args:
        invocation: see :func:`zoo.cli.arguments.expand`.
    """

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.run_dir = Path()
        self._checkpoint: dict[str, Any] = {}  # the one that ckpt_path names, until it is checked
        ZooParser.arguments = {
            key: registry.arguments_of(registry.import_class(path))
            for key, path in invocation.classes.items()
        }
        super().__init__(
            LightningModule,
            LightningDataModule,
            save_config_callback=None,  # a callback costs each step: see _save_config
            parser_class=ZooParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=invocation.args,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # it would put code paths into checkpoints
        )

    # -- options --------------------------------------------------------------------------------

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=0, help="of everything random")
        parser.add_argument("--name", type=str | None, default=None, help="of the run's folder")
        parser.add_argument(
            "--logger", type=list[str], default=["csv"], help=f"any of {', '.join(LOGGERS)}"
        )
        parser.add_argument(
            "--reference", type=dict | None, default=None, help="the figure to be reached"
        )
        parser.add_class_arguments(CheckpointSettings, "checkpoint")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for name in registry.PROPERTIES:
            parser.link_arguments(
                "data",
                f"model.init_args.{name}",
                compute_fn=self._property(name),
                apply_on="instantiate",
            )

    def _property(self, name: str) -> Callable[[Any], Any]:
        """Reads a property of the data for the model."""

        def read(data: Any) -> Any:
            model = registry.import_class(self._get(self.config, "model")["class_path"])
            if name not in registry.arguments_of(model):
                return None  # asked all the same, and not used
            return registry.data_property(data, name, model)

        return read

    def _parse_ckpt_path(self) -> None:
        """A checkpoint's hyper-parameters hold where the command line does not say otherwise."""
        config = self.config[self.config["subcommand"]]
        path = config.get("ckpt_path")
        if not path or path in CHECKPOINT_WORDS:
            return
        self._checkpoint = checkpoint = checkpoints.read(path)
        model = config["model"]
        written_by, wanted = checkpoint.get("class_path"), _canonical(model["class_path"])
        if written_by is not None and written_by != wanted:
            raise InputError(f"checkpoint {path} is of class {written_by}, not {wanted}")
        settings = checkpoint.get("hyper_parameters", {})
        for key, value in settings.items():
            explicit = f"--model.{key}" in self.invocation.given
            if key in model["init_args"] and not explicit:
                model["init_args"][key] = value

    def _set_seed(self) -> None:
        from lightning.pytorch import seed_everything

        seed_everything(self._get(self.config, "seed"), workers=True, verbose=False)

    def after_instantiate_classes(self) -> None:
        if self._checkpoint:
            path = self._get(self.config, "ckpt_path")
            checkpoints.check_fit(self.model, self._checkpoint["state_dict"], path)
            self._checkpoint = {}

    # -- objects --------------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, MisconfigurationException) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(self._parser(self.subcommand).explain(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._get(self.config_init, "trainer")
        if not self.model.automatic_optimization:
            refuse_unreached(config, type(self.model))
        fast = config.get("fast_dev_run")
        if not fast:
            self.run_dir = self._make_run_dir(config.get("default_root_dir") or "runs")
            kwargs["default_root_dir"] = str(self.run_dir)
            if config.get("logger") is None:
                kwargs["logger"] = [self._make_logger(n) for n in self._get(self.config, "logger")]
        # one line says the size; --trainer.enable_model_summary true shows every layer
        kwargs["enable_model_summary"] = bool(config.get("enable_model_summary"))
        kwargs["callbacks"] = [*self._make_callbacks(), *_as_list(config.get("callbacks"))]
        kwargs["profiler"] = config.get("profiler") or NoProfiler()
        plugins = _as_list(config.get("plugins"))
        kwargs["plugins"] = [*plugins, checkpoints.AtomicCheckpointIO()]
        return super().instantiate_trainer(**kwargs)

    def _make_run_dir(self, root: str) -> Path:
        """A new folder ``root/NAME/TIME``; made by the first process only."""
        name = self._get(self.config, "name") or type(self.model).__name__
        parent = Path(root) / name
        time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        if rank_zero_only.rank:
            return parent / time
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for suffix in ["", *(f"-{i}" for i in range(2, 1000))]:
                path = parent / (time + suffix)
                try:
                    path.mkdir()
                except FileExistsError:  # another run began in the same second
                    continue
                return path
        except OSError as error:
            raise InputError(
                f"cannot write the run's folder {parent}: {error.strerror}; "
                "name another with --trainer.default_root_dir"
            ) from error
        raise InputError(f"no free name for a run in {parent}")

    def _make_logger(self, kind: str) -> Logger:
        root, name, time = self.run_dir.parent.parent, self.run_dir.parent.name, self.run_dir.name
        try:
            if kind == "csv":
                return MetricsFile(root, name, time)
            if kind == "tensorboard":
                return TensorBoardLogger(root, name, time)
            project = os.environ.get("WANDB_PROJECT", "lightning-model-zoo")
            # absolute: its service process may have started in another folder
            return WandbLogger(f"{name}/{time}", self.run_dir.absolute(), project=project)
        except ModuleNotFoundError as error:
            raise InputError(f"--logger {kind} needs its package: pip install {kind}") from error

    def _make_callbacks(self) -> list[Callback]:
        config = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = [Interrupt()]
        if config.get("enable_progress_bar") is not False:
            callbacks.append(ProgressBar())
        if config.get("enable_checkpointing") is False or config.get("fast_dev_run"):
            return callbacks
        settings = self._get(self.config_init, "checkpoint")
        folder = str(self.run_dir / "checkpoints")
        # the best one first, so that the last one knows its newest score
        if settings.monitor and isinstance(self.model, Task):  # which promises val/loss
            callbacks.append(Checkpoint("best", settings.monitor, settings.mode, dirpath=folder))
        every = settings.every_n_train_steps
        callbacks.append(Checkpoint("last", every_n_train_steps=every, dirpath=folder))
        return callbacks

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the closing table says it with units
        return kwargs

    # -- runs -----------------------------------------------------------------------------------

    def _run_subcommand(self, subcommand: str) -> None:
        if self.trainer.is_global_zero and not self.trainer.fast_dev_run:
            self._save_config()
        try:
            super()._run_subcommand(subcommand)
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger) and self.trainer.is_global_zero:
                    logger.experiment.finish()  # else a second run in this process would go on it

    def _save_config(self) -> None:
        """Writes the complete settings to ``config.yaml`` and to every logger that takes them."""
        parser, config = self._parser(self.subcommand), self.config[self.subcommand]
        text = parser.dump(config, skip_unset=False)
        (self.run_dir / "config.yaml").write_text(text, encoding="utf-8")
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                summary = str(summarize(self.model, max_depth=3))
                settings = {"config": yaml.safe_load(text), "model_summary": summary}
                logger.log_hyperparams(settings)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```\n{text}\n```")

    def before_fit(self) -> None:
        weights = sum(p.numel() for p in self.model.parameters())
        data = type(self.datamodule).__name__ if self.datamodule else "its own data"
        device = self.trainer.strategy.root_device.type
        count = f" × {self.trainer.world_size}" if self.trainer.world_size > 1 else ""
        print_rank_zero(
            f"{type(self.model).__name__} on {data}: {weights:,} parameters, {device}{count}"
        )

    def after_fit(self) -> None:
        if self._get(self.config_init, "checkpoint").upload:
            self._upload_checkpoints()
        if self.invocation.test_after_fit and is_overridden("test_step", self.model):
            fast = self.trainer.fast_dev_run
            best = None if fast else self._best_checkpoint()
            self.trainer.test(self.model, self.datamodule, ckpt_path=best, verbose=False)
            self._close("test")
        else:
            self._close("val")

    def after_validate(self) -> None:
        self._close("val")

    def after_test(self) -> None:
        self._close("test")

    def predict(self, **kwargs: Any) -> None:
        """``predict`` of the Trainer; the result goes to ``predictions.pt`` in the run's folder."""
        batches = self.trainer.predict(**(kwargs | {"return_predictions": True}))
        if self.trainer.fast_dev_run:
            return
        rank = f"-rank{self.trainer.global_rank}" if self.trainer.world_size > 1 else ""
        path = self.run_dir / f"predictions{rank}.pt"
        torch.save(concatenate_batches(batches), path)
        print_rank_zero(f"predictions   {path}")

    def _best_checkpoint(self) -> str | None:
        """Path of the best checkpoint, else of the newest."""
        found = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, Checkpoint)]
        paths = {c.filename: c.best_model_path for c in found}
        return paths.get("best") or paths.get("last")

    def _upload_checkpoints(self) -> None:
        """Hands ``best.ckpt`` and ``last.ckpt`` to Weights & Biases as one artifact."""
        for logger in self.trainer.loggers if self.trainer.is_global_zero else []:
            if isinstance(logger, WandbLogger):
                import wandb

                artifact = wandb.Artifact(f"{self.run_dir.parent.name}-checkpoints", type="model")
                for path in sorted((self.run_dir / "checkpoints").glob("*.ckpt")):
                    artifact.add_file(str(path))
                logger.experiment.log_artifact(artifact)

    def _close(self, stage: str) -> None:
        """Prints the metrics of a stage, then where everything is."""
        metrics = {
            name.split("/", 1)[1]: float(value)
            for name, value in self.trainer.callback_metrics.items()
            if name.startswith(f"{stage}/")
        }
        task = self.model if isinstance(self.model, Task) else None
        notes, remarks = (task.describe_metrics(), task.remarks(metrics)) if task else ({}, [])
        print_rank_zero(metrics_table(stage, metrics, notes, remarks))
        if self.trainer.fast_dev_run:
            return
        best = self._best_checkpoint() if self.trainer.state.fn != "predict" else None
        if best:
            print_rank_zero(f"checkpoint  {short_path(best)}")
        figures = list((self.run_dir / "figures").glob("*.*"))
        if figures:
            print_rank_zero(f"pictures    {self.run_dir / 'figures'}  ({len(figures)} files)")
        if (texts := self.run_dir / "samples.txt").is_file():
            print_rank_zero(f"texts       {texts}")
        print_rank_zero(f"run         {self.run_dir}")


def _canonical(class_path: str) -> str:
    """Where a class is defined, by any path that leads to it."""
    cls = registry.import_class(class_path)
    return f"{cls.__module__}.{cls.__qualname__}"


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
