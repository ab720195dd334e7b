"""LightningCLI for the zoo: recipes as defaults, data linked to models, run folders, loggers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.model_helpers import is_overridden

from callbacks import Checkpoint, Interrupt, ProgressBar, TrainingInterrupted
from callbacks.averaging import ends_with_average, stop_averaging
from callbacks.figures import defer_figures_to_test
from zoo.cli import resume, trainer_settings
from zoo.cli.arguments import CHECKPOINT_WORDS, LOGGERS, Invocation, refuse_trainer_flags
from zoo.cli.outputs import print_files, print_metrics, write_config, write_predictions
from zoo.cli.parser import CheckpointSettings, ZooParser
from zoo.cli.run_folder import make_logger, make_run_folder, upload_checkpoints
from zoo.core import checkpoints, registry
from zoo.core.create import data_property
from zoo.core.distributed import destroy_process_group
from zoo.core.finetuning import initialize_from
from zoo.core.migrations import migrate
from zoo.core.report import print_rank_zero
from zoo.core.signature import arguments_of
from zoo.core.speed import NullProfiler, keep_freed_memory, skip_nvml_check
from zoo.core.task import Task
from zoo.core.weights import match_compiled
from zoo.errors import InputError, check_choice


def run(invocation: Invocation) -> None:
    """Run a subcommand of LightningCLI: fit, validate, test or predict."""
    if not torch.cuda.is_available():
        skip_nvml_check()
        keep_freed_memory()
    try:
        ZooCLI(invocation)
        destroy_process_group()
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    except (ValueError, TypeError) as error:
        is_own = trainer_settings.is_from_lightning(error.__traceback__)
        if isinstance(error, InputError) or not is_own:
            raise
        raise InputError(str(error).replace("`", "")) from error
    except TrainingInterrupted as stop:
        print_rank_zero(str(stop))
        destroy_process_group()
        sys.exit(stop.exit_code)


class ZooCLI(LightningCLI):
    """LightningCLI with the zoo's conventions.

    Args:
        invocation: the parsed command line; see :func:`zoo.cli.arguments.expand`.
    """

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.run_folder = Path()
        self.resumed: resume.ResumedRun | None = None
        self._averaged = ""  # checkpoint of stochastic weight averaging
        self._checkpoint: dict[str, Any] = {}  # contents of ckpt_path until its weights are checked
        self._restored: Any = None  # the data module that has loaded its state from ckpt_path
        ZooParser.arguments = {
            key: arguments_of(registry.import_class(path))
            for key, path in invocation.classes.items()
        }
        super().__init__(
            LightningModule,
            LightningDataModule,
            save_config_callback=None,  # a callback costs time in each step: see _save_config
            parser_class=ZooParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=[*trainer_settings.full_callback_names(invocation.args), *self._seed_of_data()],
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # it would put code paths into checkpoints
        )

    def _seed_of_data(self) -> list[str]:
        """Return the option that gives the run's seed to the data, if they have one."""
        seed = self.invocation.data_seed
        has_seed = "seed" in ZooParser.arguments.get("data", set())
        return [f"--data.seed={seed}"] if has_seed and seed is not None else []

    # -- options --------------------------------------------------------------------------------

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=0, help="random seed of the run")
        parser.add_argument(
            "--name", type=str | None, default=None, help="name of the run, a folder in runs/"
        )
        parser.add_argument(
            "--logger", type=list[str], default=["csv"], help=f"any of {', '.join(LOGGERS)}"
        )
        parser.add_argument(
            "--reference",
            type=dict | None,
            default=None,
            help="published value to reach: metric, value, source, budget",
        )
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="checkpoint whose weights training starts from, in all layers that match",
        )
        parser.add_class_arguments(CheckpointSettings, "checkpoint")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link arguments of the model to the data module's properties of the same names."""
        known = ZooParser.arguments.get("model", set(registry.PROPERTIES))
        for name in registry.PROPERTIES:
            if name in known:
                target = f"model.init_args.{name}"
                read = self._property_reader(name)
                parser.link_arguments("data", target, compute_fn=read, apply_on="instantiate")

    def _property_reader(self, name: str) -> Callable[[Any], Any]:
        """Return a function that reads a property of the data module for the model."""

        def read(data: Any) -> Any:
            self._restore_data(data)
            model = registry.import_class(self._get(self.config, "model")["class_path"])
            return data_property(data, name, model)

        return read

    def parse_arguments(self, parser: ArgumentParser, args: Any) -> None:
        """Parse the command line; the recipe's settings are the defaults."""
        self._subcommand_parsers[self.invocation.subcommand].set_defaults(self._recipe_defaults())
        super().parse_arguments(parser, args)
        config = self.config[self.invocation.subcommand]
        for section in ("model", "data"):
            trainer_settings.refuse_null(section, config.get(section))

    def _recipe_defaults(self) -> dict[str, Any]:
        recipe = dict(self.invocation.recipe)
        trainer = dict(recipe.pop("trainer", {}))
        if "--trainer.max_epochs" in self.invocation.given:  # replaces the recipe's length
            trainer.pop("max_steps", None)
        checkpoint = recipe.pop("checkpoint", {})
        return {
            **recipe,
            **{f"trainer.{name}": value for name, value in trainer.items()},
            **{f"checkpoint.{name}": value for name, value in checkpoint.items()},
        }

    def _parse_ckpt_path(self) -> None:
        """Take hyper-parameters from the checkpoint unless the command line sets them."""
        config = self.config[self.config["subcommand"]]
        if self.config["subcommand"] == "fit" and not config.get("ckpt_path"):
            config["ckpt_path"] = resume.requeued_checkpoint(config)
        path = config.get("ckpt_path")
        if not path:
            return
        if path in CHECKPOINT_WORDS:
            raise trainer_settings.refuse_word(path, resume.runs_of(config))
        checkpoint = checkpoints.read(path)
        model = config["model"]
        cls = registry.import_class(model["class_path"])
        if "class_path" in checkpoint:
            written_by = checkpoints.find_class(checkpoint, path)
            if written_by is not cls:
                raise InputError(
                    f"checkpoint {path} contains the model {written_by.__name__}, but --model is "
                    f"{cls.__name__}: choose the model that the checkpoint contains"
                )
        self._checkpoint = checkpoint = migrate(checkpoint, cls)
        if self.config["subcommand"] == "fit":
            with resume.faults_explained(path):
                self.resumed = resume.resumed_run(path, checkpoint, config, self.invocation.given)
        for key, value in checkpoints.hyper_parameters(checkpoint, path).items():
            options = {f"--model.{key}", f"--model.init_args.{key}"}
            if key in model["init_args"] and not options & self.invocation.given:
                model["init_args"][key] = value

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed")
        if not 0 <= seed < 2**32:  # the range of NumPy
            raise InputError(f"--seed must be at least 0 and below 2³², got {seed}")
        seed_everything(seed, workers=True, verbose=False)

    # -- objects --------------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except InputError:
            raise
        except (ValueError, MisconfigurationException) as error:
            raise InputError(self._parser(self.subcommand).explain(str(error))) from error

    def _restore_data(self, data: Any) -> None:
        """Load the data module's state from the checkpoint before anything is read by it."""
        path = self._get(self.config, "ckpt_path")
        state = checkpoints.data_state(self._checkpoint, type(data), path)
        if state is not None and data is not self._restored:
            data.load_state_dict(state)
            self._restored = data

    def after_instantiate_classes(self) -> None:
        if self._checkpoint:
            self._restore_data(self.datamodule)
            path = self._get(self.config, "ckpt_path")
            weights = match_compiled(self._checkpoint["state_dict"], self.model)
            checkpoints.check_fit(self.model, weights, path)
            self._checkpoint = {}
        elif init_from := self._get(self.config, "init_from"):
            if self.subcommand != "fit":
                raise InputError(
                    f"--init_from starts training from other weights; use --ckpt_path with "
                    f"{self.subcommand}"
                )
            print_rank_zero(initialize_from(self.model, init_from))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._get(self.config_init, "trainer")
        trainer_settings.check_trainer_settings(config, self.subcommand)
        if not self.model.automatic_optimization:
            refuse_trainer_flags(config, type(self.model))
        if not config.get("fast_dev_run"):
            own = self.resumed.folder if self.resumed else None
            root = config.get("default_root_dir") or "runs"
            name = self._get(self.config, "name")
            name = type(self.model).__name__ if name is None else name
            self.run_folder = own or make_run_folder(root, name)
            kwargs["default_root_dir"] = str(self.run_folder)
            if config.get("logger") is None:
                kinds = self._get(self.config, "logger")
                resumed = self.resumed if own else None
                kwargs["logger"] = [make_logger(k, self.run_folder, resumed) for k in kinds]
        # before_fit prints the size; --trainer.enable_model_summary true shows every layer
        kwargs["enable_model_summary"] = bool(config.get("enable_model_summary"))
        others = _as_list(config.get("callbacks"))
        # Interrupt is last: its checkpoint contains what the other callbacks did in that step
        kwargs["callbacks"] = [*self._make_callbacks(), *others, Interrupt()]
        kwargs["profiler"] = config.get("profiler") or NullProfiler()
        plugins = _as_list(config.get("plugins"))
        kwargs["plugins"] = [*plugins, checkpoints.AtomicCheckpointIO()]
        return super().instantiate_trainer(**kwargs)

    def _make_callbacks(self) -> list[Callback]:
        config = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = []
        if config.get("enable_progress_bar") is not False:
            callbacks.append(ProgressBar())
        if config.get("enable_checkpointing") is False or config.get("fast_dev_run"):
            return callbacks
        settings = self._get(self.config_init, "checkpoint")
        if settings.mode is not None:
            check_choice("--checkpoint.mode", settings.mode, ("min", "max"))
        folder = str(self.run_folder / "checkpoints")
        # "best" comes first, so that "last" stores its latest score
        if settings.monitor and isinstance(self.model, Task):  # every Task logs val/loss
            callbacks.append(Checkpoint("best", settings.monitor, settings.mode, dirpath=folder))
        every = settings.every_n_train_steps
        callbacks.append(Checkpoint("last", every_n_train_steps=every, dirpath=folder))
        return callbacks

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # _print_results shows the metrics with their units
        return kwargs

    # -- runs -----------------------------------------------------------------------------------

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            if self.resumed:
                print_rank_zero(self.resumed.describe())
            if self.resumed and self.resumed.finished:
                self._test_finished_run(self.resumed.checkpoint)
                return
            checkpoint = self.resumed.checkpoint if self.resumed else None
            with self._saved_config(), resume.faults_explained(checkpoint):
                super()._run_subcommand(subcommand)
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger) and self.trainer.is_global_zero:
                    logger.experiment.finish()  # else the next run in this process continues it

    @contextmanager
    def _saved_config(self) -> Iterator[None]:
        """Save the settings; if a resumed run refuses them, restore its former files."""
        if not self.trainer.is_global_zero or self.trainer.fast_dev_run:
            yield
            return
        with resume.files_restored_if_refused(self.run_folder, self.trainer.loggers):
            self._save_config()
            yield

    def _save_config(self) -> None:
        """Write the complete settings to ``config.yaml`` and to the loggers that take them."""
        parser, config = self._parser(self.subcommand), self.config[self.subcommand].clone()
        if self.resumed and self.resumed.folder:
            config["ckpt_path"] = None  # the file describes the whole run
        text = parser.dump(config, skip_unset=False)
        write_config(text, self.run_folder, self.model, self.trainer.loggers)

    def before_fit(self) -> None:
        if self.invocation.test_after_fit and is_overridden("test_step", self.model):
            defer_figures_to_test(self.trainer)
        weights = sum(p.numel() for p in self.model.parameters())
        data = type(self.datamodule).__name__ if self.datamodule else "its own data"
        device = self.trainer.strategy.root_device.type
        count = f" × {self.trainer.world_size}" if self.trainer.world_size > 1 else ""
        print_rank_zero(
            f"{type(self.model).__name__} on {data}: {weights:,} parameters, {device}{count}"
        )

    def after_fit(self) -> None:
        stop_averaging(self.trainer)
        if ends_with_average(self.trainer) and not self.trainer.fast_dev_run:
            self._averaged = str(self.run_folder / "checkpoints" / "averaged.ckpt")
            self.trainer.save_checkpoint(self._averaged, weights_only=True)
        if self._get(self.config_init, "checkpoint").upload and self.trainer.is_global_zero:
            upload_checkpoints(self.run_folder, self.trainer.loggers)
        if self.invocation.test_after_fit and is_overridden("test_step", self.model):
            best = None if self.trainer.fast_dev_run else self._best_checkpoint()
            self.trainer.test(self.model, self.datamodule, ckpt_path=best, verbose=False)
            self._print_results("test")
        else:
            self._print_results("val")

    def _test_finished_run(self, checkpoint: Path) -> None:
        """Test the best checkpoint of a run that has nothing left to train."""
        if self.invocation.test_after_fit and is_overridden("test_step", self.model):
            best = checkpoint.with_name("best.ckpt")
            path = best if best.is_file() else checkpoint
            resume.restore_position(self.trainer, checkpoints.read(checkpoint))
            self.trainer.test(self.model, self.datamodule, ckpt_path=path, verbose=False)
            self._print_results("test")

    def _announce_new_model(self) -> None:
        """Say that the following metrics or predictions are those of an untrained model."""
        if not self._get(self.config_init, "ckpt_path"):
            print_rank_zero("no --ckpt_path was given: these are results of a new, untrained model")

    before_validate = before_test = before_predict = _announce_new_model

    def after_validate(self) -> None:
        self._print_results("val")

    def after_test(self) -> None:
        self._print_results("test")

    def predict(self, **kwargs: Any) -> None:
        """Write ``predictions.pt`` and ``predictions.csv`` to the run folder.

        The first contains every output as a tensor, the second one row per named sample.
        Each process writes the samples that it has predicted.
        """
        batches = self.trainer.predict(**(kwargs | {"return_predictions": True}))
        if not self.trainer.fast_dev_run:
            write_predictions(self.trainer, batches, self.run_folder)

    def _best_checkpoint(self) -> str | None:
        """Return the path of the averaged or the best checkpoint, else of the last one."""
        if self._averaged:
            return self._averaged
        found = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, Checkpoint)]
        paths = {c.filename: c.best_model_path for c in found}
        return paths.get("best") or paths.get("last")

    def _print_results(self, stage: str) -> None:
        """Print the metrics of a stage, then the paths of the run's files."""
        print_metrics(self.trainer, stage)
        if not self.trainer.fast_dev_run:
            is_fit = self.subcommand == "fit"
            evaluated = self._get(self.config_init, "ckpt_path")
            print_files(self.run_folder, self._best_checkpoint() if is_fit else evaluated)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
