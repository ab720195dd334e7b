"""Attention maps, position encodings, forecasts and text samples of sequence models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from callbacks.figures import FigureCallback, evaluation_mode, run_folder, writes_files
from zoo import plots
from zoo.errors import (
    InputError,
    check_at_least,
    check_fraction,
    check_integer,
    check_non_negative,
    writing,
)
from zoo.functional.tokenization import UnknownTokenError
from zoo.networks.attention import record_attention_weights
from zoo.networks.position_encoding import position_embeddings
from zoo.networks.sequence_network import SequenceNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_PROMPT_TOKENS = 8
Z90 = 1.6448536269514722  # ± Z90 standard deviations contain 90% of a normal distribution


class AttentionMaps(FigureCallback):
    """Draw the attention weights of every layer and head for one evaluation sample.

    For a model without attention, the callback warns and draws nothing.

    Args:
        max_tokens: number of tokens to show, starting from the first; default 24. Images are shown
            whole.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "attention_maps"

    def __init__(self, max_tokens: int = 24, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)
        check_at_least(1, max_tokens=max_tokens)
        self.max_tokens = max_tokens

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure | None:
        if not x.is_floating_point():
            x = _truncate(x, self.max_tokens)
        if y.ndim == 2 and not y.is_floating_point():
            y = _truncate(y, self.max_tokens)
        with record_attention_weights(model) as records:
            model(*model.forward_inputs((x, y.to(x.device))))
        maps = [
            plots.AttentionMap(
                layer_title(name), passes[0][0], *model.attention_labels(name, x[0], y[0])
            )
            for name, passes in records.items()
            if passes
        ]
        if not maps:
            rank_zero_warn(f"AttentionMaps: this {type(model).__name__} has no attention to show")
            return None
        return plots.attention_maps(maps, f"{type(model).__name__}: attention of each head")


class PositionSimilarity(FigureCallback):
    """Draw the cosine similarity of the position encodings that a network adds to its tokens.

    Relative encodings act on attention scores and add nothing to tokens: for them, the callback
    warns and draws nothing.

    Args:
        length: number of positions to show if the encoding has no maximum length, default 64.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "position_similarity"

    def __init__(self, length: int = 64, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)
        check_at_least(1, length=length)
        self.length = length

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure | None:
        networks = [m for m in model.modules() if isinstance(m, SequenceNetwork)]
        for network in networks:
            vectors = position_embeddings(network.position, self.length, model.hparams["dim"])
            if vectors is not None:
                title = f"{type(model).__name__}: {model.hparams['position']} position encoding"
                return plots.position_similarity(vectors, title)
        rank_zero_warn("PositionSimilarity: this position encoding adds nothing to the tokens")
        return None


class Forecasts(FigureCallback):
    """Draw forecasts and observations for the first, middle and last evaluation windows.

    If the model predicts variances, the central 90% interval is shaded.

    Args:
        num_samples: number of evaluation windows to choose from, starting from the first; default
            200.
        max_series: number of series to show, starting from the first; default 4.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "forecasts"
    needs = ("moments", "forecast")
    made_for = "a forecasting model"

    def __init__(
        self, num_samples: int = 200, max_series: int = 4, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        check_at_least(1, max_series=max_series)
        self.max_series = max_series

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        chosen = sorted({0, len(x) // 2, len(x) - 1})
        x, y = x[chosen], y[chosen]
        mean, variance = model.moments(x)
        shown = slice(self.max_series)
        half_width = None if variance is None else Z90 * variance.sqrt()
        if hasattr(self.data, "to_original_units"):
            if half_width is not None:
                half_width = half_width * self.data.series_std.to(half_width)
            x, y, mean = (self.data.to_original_units(values) for values in (x, y, mean))
        half_width = None if half_width is None else half_width[..., shown]
        names = getattr(self.data, "series_names", [])
        title = f"{type(model).__name__}: forecasts of {y.shape[1]} steps"
        return plots.forecasts(
            x[..., shown], y[..., shown], mean[..., shown], half_width, names[shown], title
        )


class TextSamples(Callback):
    """Generate text with a language model during training.

    The text is appended to ``samples.txt`` in the run folder and logged to TensorBoard and Weights
    & Biases.

    Args:
        prompt: beginning of the text; default the first 8 tokens of the first training batch.
        num_tokens: number of tokens to generate each time, default 300.
        every_n_steps: optimizer steps from one text to the next, default 500; the last step of
            training always has a text.
        temperature: divisor of the logits, default 0.8; 0 always takes the most likely token.
        top_k: sample from the k most likely tokens only, default all.
        top_p: sample from the fewest tokens whose probabilities sum to at least p, default all.
        seed: random seed of the sampling, default 0.

    Raises:
        InputError: the prompt has characters that the tokenizer does not know, or too many tokens.
    """

    def __init__(
        self,
        prompt: str | None = None,
        num_tokens: int = 300,
        every_n_steps: int = 500,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> None:
        check_at_least(1, num_tokens=num_tokens, every_n_steps=every_n_steps, top_k=top_k)
        check_non_negative(temperature=temperature)
        check_fraction(top_p=top_p)
        check_integer(seed=seed)
        self.prompt, self.num_tokens = prompt, num_tokens
        self.every_n_steps, self.seed = every_n_steps, seed
        self.sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        self._last_step = -1  # of the latest text
        self._prompt_tokens: Tensor | None = None  # (1, T)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if not hasattr(pl_module, "stream_text"):
            raise InputError(
                f"TextSamples needs a language model, got {type(pl_module).__name__}: leave the "
                "callback out"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._prompt_tokens is not None:
            return
        if self.prompt is None:
            self._prompt_tokens = batch[0][:1, :DEFAULT_PROMPT_TOKENS].clone()
            return
        try:
            tokens = pl_module.tokenizer.encode(self.prompt)
        except UnknownTokenError as error:
            raise InputError(f"TextSamples, prompt: {error}") from None
        if not 1 <= len(tokens) <= pl_module.length:
            raise InputError(
                f"TextSamples, prompt: must have 1 to {pl_module.length} tokens, got {len(tokens)}"
            )
        self._prompt_tokens = torch.tensor([tokens], device=pl_module.device)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, model: Any) -> None:
        """Generate a text, unless this step already has one, and write it to file and loggers."""
        step = trainer.global_step
        if self._prompt_tokens is None or step == self._last_step or not writes_files(trainer):
            return
        self._last_step = step
        generator = torch.Generator(model.device).manual_seed(self.seed)
        with evaluation_mode(model):
            tokens = model.generate(
                self._prompt_tokens, self.num_tokens, generator=generator, **self.sampling
            )
        text = model.tokenizer.decode(tokens[0].tolist())
        path = run_folder(trainer) / "samples.txt"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"── step {step:,} ──\n{text}\n\n")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_text("samples", ["step", "text"], [[step, text]])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("samples", text, step)


def layer_title(name: str) -> str:
    """Return the title of an attention layer, given its path in the model.

    ``network.layers.0.attention`` becomes *Layer 1*, ``decoder.layers.1.cross_attention`` becomes
    *Decoder layer 2, cross*; other paths are returned unchanged.
    """
    match = re.fullmatch(r"(\w+)\.layers\.(\d+)\.(attention|cross_attention)", name)
    if match is None:
        return name
    stack, index, kind = match.groups()
    title = f"layer {int(index) + 1}" if stack == "network" else f"{stack} layer {int(index) + 1}"
    return title.capitalize() + (", cross" if kind == "cross_attention" else "")


def _truncate(tokens: Tensor, max_tokens: int) -> Tensor:
    """Return the first tokens of a row (1, T), without padding (0) and ignored targets (< 0)."""
    count = int((tokens > 0).sum())
    return tokens[:, : max(1, min(count, max_tokens))]
