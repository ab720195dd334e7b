"""What sequence models attend to, write and foresee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from callbacks.figures import FigureCallback, evaluation_mode, run_dir
from zoo import plots
from zoo.errors import InputError
from zoo.functional.tokenization import UnknownTokenError
from zoo.networks.attention import recorded_weights
from zoo.networks.position_encoding import position_vectors
from zoo.networks.sequence_network import SequenceNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROMPT = 8  # tokens
Z90 = 1.6448536269514722  # 90 % of a normal distribution lie within ±Z90 standard deviations


class AttentionMaps(FigureCallback):
    """Which tokens attend to which, for every layer and head, on one evaluation input.

    A model without attention gets a warning and no picture.

    Args:
        max_tokens: of the input, its first ones; default 24. Images are shown whole.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "attention_maps"

    def __init__(self, max_tokens: int = 24, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)
        self.max_tokens = max_tokens

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure | None:
        if not x.is_floating_point():
            x = _shortened(x, self.max_tokens)
        if y.ndim == 2 and not y.is_floating_point():
            y = _shortened(y, self.max_tokens)
        with recorded_weights(model) as records:
            model.run_for_inspection(x, y.to(x.device))
        maps = [
            plots.AttentionMap(
                _short(name), passes[0][0], *model.attention_labels(name, x[0], y[0])
            )
            for name, passes in records.items()
            if passes
        ]
        if not maps:
            rank_zero_warn(f"AttentionMaps: this {type(model).__name__} has no attention to show")
            return None
        return plots.attention_maps(maps, f"{type(model).__name__}: attention of each head")


class PositionSimilarity(FigureCallback):
    """Cosine similarity of what positions add to tokens, for each network that adds something.

    Relative schemes add nothing: they act on scores, which gets a warning and no picture.

    Args:
        length: positions to show where there is no end to them, default 64.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "position_similarity"

    def __init__(self, length: int = 64, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)
        self.length = length

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure | None:
        networks = [m for m in model.modules() if isinstance(m, SequenceNetwork)]
        for network in networks:
            vectors = position_vectors(network.position, self.length, model.hparams["dim"])
            if vectors is not None:
                title = f"{type(model).__name__}: {model.hparams['position']} positions"
                return plots.position_similarity(vectors, title)
        rank_zero_warn("PositionSimilarity: these positions add nothing to the tokens")
        return None


class Forecasts(FigureCallback):
    """Forecasts beside what came, on the first, a middle and the last of the windows it keeps.

    Where variances are predicted, the interval that should hold 90 % is shaded.

    Args:
        num_samples: evaluation windows to keep, default 200.
        max_series: series to show, the first ones; default 4.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "forecasts"

    def __init__(
        self, num_samples: int = 200, max_series: int = 4, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        self.max_series = max_series

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        chosen = sorted({0, len(x) // 2, len(x) - 1})
        x, y = x[chosen], y[chosen]
        mean, variance = model.moments(x)
        shown = slice(self.max_series)
        spread = None if variance is None else Z90 * variance.sqrt()[..., shown]
        names = getattr(self.data, "series_names", [])
        title = f"{type(model).__name__}: {y.shape[1]} steps ahead"
        return plots.forecasts(
            x[..., shown], y[..., shown], mean[..., shown], spread, names[shown], title
        )


class TextSamples(Callback):
    """Text that a language model writes as training goes on, in ``samples.txt`` of the run.

    TensorBoard and Weights & Biases get it too.

    Args:
        prompt: what it goes on with; default the first tokens of the first training batch.
        tokens: to write each time, default 300.
        every_n_steps: default 500; the end of training always.
        temperature, top_k, top_p: see :func:`zoo.models.sequences.generation.sample_next_token`; default 0.8, all,
            all.
        seed: of the choices, default 0.

    Raises:
        InputError: a prompt with characters that the model does not know, or too many.
    """

    def __init__(
        self,
        prompt: str | None = None,
        tokens: int = 300,
        every_n_steps: int = 500,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.prompt, self.tokens = prompt, tokens
        self.every_n_steps, self.seed = every_n_steps, seed
        self.choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        self._last = -1
        self._start: Tensor | None = None  # tokens of the prompt, (1, T)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._start is not None:
            return
        self._start = batch[0][:1, :PROMPT].clone()
        if self.prompt is not None:
            try:
                numbers = pl_module.tokenizer.encode(self.prompt)
            except UnknownTokenError as error:
                raise InputError(f"TextSamples, prompt: {error}") from None
            if not 1 <= len(numbers) <= pl_module.length:
                raise InputError(
                    f"TextSamples, prompt: 1 to {pl_module.length} tokens, got {len(numbers)}"
                )
            self._start = torch.tensor([numbers], device=pl_module.device)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, model: Any) -> None:
        step = trainer.global_step
        if self._start is None or step == self._last:
            return
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        self._last = step
        generator = torch.Generator(model.device).manual_seed(self.seed)
        with evaluation_mode(model):
            tokens = model.generate(self._start, self.tokens, generator=generator, **self.choice)
        text = model.tokenizer.decode(tokens[0].tolist())
        path = run_dir(trainer) / "samples.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"── step {step:,} ──\n{text}\n\n")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_text("samples", ["step", "text"], [[step, text]])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("samples", text, step)


def _short(name: str) -> str:
    """*network.layers.0.attention* as *network 0*, *decoder.layers.1.cross_attention* as *decoder
    1 cross*."""
    parts = name.replace("layers.", "").replace("_attention", "").split(".")
    return " ".join(part for part in parts if part != "attention")


def _shortened(tokens: Tensor, most: int) -> Tensor:
    """The first tokens of a row (1, T), without padding or targets that do not count."""
    count = int((tokens > 0).sum())
    return tokens[:, : max(1, min(count, most))]
