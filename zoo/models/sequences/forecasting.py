"""Forecasters: numbers in time, and what comes next."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.core.task import Task
from zoo.errors import InputError, check_at_least, check_choice, check_probability
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.models.sequences.base import SequenceModel

WINDOW_NORMALIZATIONS = ("window", "last", "none")


class ForecastingTask(Task):
    """What all forecasters share: the error, and that of repeating the last value beside it.

    Loss: the squared error, mean over samples, steps and series; −log N(y; mean, variance) for one
    that predicts variances.

    A subclass provides ``moments``.

    Args:
        **task: see :class:`~zoo.core.task.Task`.

    Batch: (x, y), (B, L, C) and (B, H, C).
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error, mean over steps and series, in the data's units²",
        "mae": "absolute error, mean over steps and series, in the data's units",
        "naive_mse": "squared error of repeating the last value",
        "nll": "−log N(y; mean, variance), nats per number",
        "inside": "fraction of numbers within the interval that should hold 90 %",
    }

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and, where it is predicted, variance of what follows, (B, H, C)."""
        raise NotImplementedError(f"{type(self).__name__} has no moments(x)")

    def forecast(self, x: Tensor) -> Tensor:
        """Mean of what follows, (B, L, C) → (B, H, C): no logging, no state, differentiable."""
        return self.moments(x)[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.forecast(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return tuple(batch[1].shape)

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        mean, variance = self.moments(x)
        if mean.shape != y.shape:
            raise ValueError(f"targets {tuple(y.shape)} for forecasts {tuple(mean.shape)}")
        mse = F.mse_loss(mean, y)
        parts = {"loss": mse, "mse": mse, "mae": F.l1_loss(mean, y)}
        if variance is not None:
            nll = -gaussian_log_prob(mean, 0.5 * variance.log(), y).mean() / y[0].numel()
            inside = (y - mean).abs() <= Z90 * variance.sqrt()
            parts |= {"loss": nll, "nll": nll, "inside": inside.to(y).mean()}
        return parts | {"naive_mse": F.mse_loss(x[:, -1:].expand_as(y), y)}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        mean, variance = self.moments(batch[0])
        return {"forecast": mean, **({} if variance is None else {"variance": variance})}


Z90 = 1.6448536269514722  # of the standard normal: 90 % lie within ±Z90


class DLinear(ForecastingTask):
    """ŷ = W_t trend(x) + W_s (x − trend(x)) for each series: two linear maps over time.

    The trend is a moving average whose ends repeat the first and the last value. A strong baseline
    that many transformers did not reach.

    Args:
        num_series: C.
        lookback, horizon: L and H, steps.
        kernel_size: steps of the moving average, odd, default 25.
        individual: whether each series has maps of its own, default no.
        **task: see :class:`~zoo.core.task.Task`.

    Shapes: (B, L, C) → (B, H, C).

    Raises:
        ValueError: an even kernel.

    Source: Zeng et al., Are transformers effective for time series forecasting?, 2023, section 4.
    """

    def __init__(
        self,
        num_series: int,
        lookback: int,
        horizon: int,
        kernel_size: int = 25,
        individual: bool = False,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(1, num_series=num_series, lookback=lookback, horizon=horizon)
        if kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {kernel_size}")
        self.kernel_size = kernel_size

    def build(self) -> None:
        hp = self.hparams
        maps = hp["num_series"] if hp["individual"] else 1
        lookback, horizon = hp["lookback"], hp["horizon"]
        # the initial forecast is the mean of the past
        self.weight = nn.Parameter(torch.full((2, maps, lookback, horizon), 1 / lookback))
        self.bias = nn.Parameter(torch.zeros(2, maps, 1, horizon))

    def trend(self, x: Tensor) -> Tensor:
        """Moving average over time, (B, C, L) → the same."""
        reach = self.kernel_size // 2
        return F.avg_pool1d(F.pad(x, (reach, reach), mode="replicate"), self.kernel_size, stride=1)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = x.mT
        trend = self.trend(x)
        parts = torch.stack([trend, x - trend]).transpose(1, 2)  # (2, C, B, L)
        return (parts @ self.weight + self.bias).sum(0).permute(1, 2, 0), None


class Forecaster(SequenceModel, ForecastingTask):
    """Patches of the past as tokens, an encoder, and a linear map of all of them to the future.

    Args:
        num_series: C.
        lookback, horizon: L and H, steps.
        patch_size, stride: steps of a patch and from one to the next, default 16 and 8. The last
            value is repeated so that the end has a patch too.
        channel_independent: whether each series is forecast by itself, by the same network (default); else
            a token holds the patches of all.
        window_normalization: ``window`` (default: mean and standard deviation of each window are taken away
            and given back to the forecast), ``last`` (the last value alone is) or ``none``.
        predict_variance: whether the spread of each number is predicted too, default no.
        head_dropout: probability before the last map, default 0.
        **sequence: see :class:`~zoo.models.sequences.base.SequenceModel`.

    Shapes: (B, L, C) → (B, H, C).

    Raises:
        ValueError: unknown normalisation; a patch longer than the past.

    Sources: Nie et al., A time series is worth 64 words, 2023; Kim et al., Reversible instance
    normalization, 2022.
    """

    smallest = 1e-5  # of a standard deviation

    def __init__(
        self,
        num_series: int,
        lookback: int,
        horizon: int,
        patch_size: int = 16,
        stride: int = 8,
        channel_independent: bool = True,
        window_normalization: str = "window",
        predict_variance: bool = False,
        head_dropout: float = 0.0,
        **sequence: Any,
    ) -> None:
        super().__init__(**sequence)
        check_at_least(1, num_series=num_series, horizon=horizon, patch_size=patch_size)
        check_at_least(1, stride=stride)
        check_choice("window_normalization", window_normalization, WINDOW_NORMALIZATIONS)
        check_probability(head_dropout=head_dropout)
        if patch_size > lookback:
            raise InputError(
                f"patch_size must not exceed lookback, got patch_size={patch_size} and "
                f"lookback={lookback}"
            )
        self.patch_size, self.stride = patch_size, stride
        self.num_patches = math.ceil((lookback - patch_size) / stride) + 1
        self.missing = (self.num_patches - 1) * stride + patch_size - lookback

    def build(self) -> None:
        hp = self.hparams
        width = 1 if hp["channel_independent"] else hp["num_series"]
        outputs = hp["horizon"] * width * (2 if hp["predict_variance"] else 1)
        self.embedding = nn.Linear(self.patch_size * width, hp["dim"])
        self.network = self.make_network(False, self.num_patches)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(hp["head_dropout"]),
            nn.Linear(self.num_patches * hp["dim"], outputs),
        )

    def patches(self, x: Tensor) -> Tensor:
        """(N, L, W) → (N, patches, patch_size · W)."""
        x = torch.cat([x, x[:, -1:].expand(-1, self.missing, -1)], 1)
        return x.unfold(1, self.patch_size, self.stride).flatten(2)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        hp = self.hparams
        center, scale = self._frame(x)
        past = (x - center) / scale
        if hp["channel_independent"]:
            past = past.mT.flatten(0, 1)[..., None]  # (B·C, L, 1)
        out = self.head(self.network(self.embedding(self.patches(past))))
        out = out.unflatten(-1, (-1, hp["horizon"], past.shape[-1]))  # (N, 1 or 2, H, W)
        if hp["channel_independent"]:
            out = out[..., 0].unflatten(0, (len(x), -1)).permute(0, 2, 3, 1)
        mean = center + scale * out[:, 0]
        if not hp["predict_variance"]:
            return mean, None
        return mean, scale.square() * (F.softplus(out[:, 1]) + self.smallest)

    def _frame(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and scale in which a window is seen, (B, 1, C)."""
        kind = self.hparams["window_normalization"]
        if kind == "window":
            std, mean = torch.std_mean(x, 1, correction=0, keepdim=True)
            return mean, std + self.smallest
        center = x[:, -1:] if kind == "last" else torch.zeros_like(x[:, :1])
        return center, torch.ones_like(center)
