"""Forecaster: a sequence network over patches of the past, as in PatchTST."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least, check_choice, check_probability
from zoo.models.sequences.base import SequenceModel
from zoo.models.sequences.forecasting import ForecastingTask

WINDOW_NORMALIZATIONS = ("window", "last", "none")
EPSILON = 1e-5  # keeps standard deviations and variances above 0


class Forecaster(SequenceModel, ForecastingTask):
    """Forecaster with patches of the past as tokens, as in PatchTST.

    A bidirectional network processes the patches, and one linear map of all its outputs gives the
    forecast.

    Args:
        num_series: number of series, C.
        lookback: number of past steps, L.
        horizon: number of steps to forecast, H.
        patch_size: number of steps of a patch, default 16.
        stride: number of steps between the beginnings of neighboring patches, default 8. The last
            value is repeated where needed to fill the last patch.
        channel_independent: whether the series are forecast independently, all by the same network
            (default); otherwise a token contains the patches of all series.
        window_normalization: ``window`` (default) subtracts the mean of each window and divides by
            its standard deviation, ``last`` subtracts the last value, ``none`` does nothing; the
            forecast is transformed back.
        predict_variance: whether the variance of each value is predicted too, default False.
        head_dropout: dropout probability before the last linear map, default 0.
        **sequence: see :class:`~zoo.models.sequences.base.SequenceModel`.

    Shapes: (B, L, C) → (B, H, C).

    Raises:
        InputError: unknown window normalization; a patch longer than the past; numbers out of
            range.

    Sources: Nie et al., A time series is worth 64 words, 2023; Kim et al., Reversible instance
    normalization, 2022.
    """

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
        self.padding = (self.num_patches - 1) * stride + patch_size - lookback  # steps

    def build(self) -> None:
        hp = self.hparams
        width = 1 if hp["channel_independent"] else hp["num_series"]
        out_dim = hp["horizon"] * width * (2 if hp["predict_variance"] else 1)
        self.embedding = nn.Linear(self.patch_size * width, hp["dim"])
        self.network = self.make_network(self.num_patches, causal=False)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(hp["head_dropout"]),
            nn.Linear(self.num_patches * hp["dim"], out_dim),
        )

    def patches(self, x: Tensor) -> Tensor:
        """Return the patches as vectors, (N, L, W) → (N, patches, W · patch_size)."""
        x = torch.cat([x, x[:, -1:].expand(-1, self.padding, -1)], 1)
        return x.unfold(1, self.patch_size, self.stride).flatten(2)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        hp = self.hparams
        center, scale = self._window_statistics(x)
        past = (x - center) / scale
        if hp["channel_independent"]:
            past = past.mT.flatten(0, 1)[..., None]  # (B·C, L, 1): each series is a sample
        out = self.head(self.network(self.embedding(self.patches(past))))
        out = out.unflatten(-1, (-1, hp["horizon"], past.shape[-1]))  # (N, 1 or 2, H, W)
        if hp["channel_independent"]:
            out = out[..., 0].unflatten(0, (len(x), -1)).permute(0, 2, 3, 1)  # (B, 1 or 2, H, C)
        mean = center + scale * out[:, 0]
        if not hp["predict_variance"]:
            return mean, None
        return mean, scale.square() * (F.softplus(out[:, 1]) + EPSILON)

    def _window_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values by which each window is shifted and scaled, (B, 1, C) each."""
        normalization = self.hparams["window_normalization"]
        if normalization == "window":
            std, mean = torch.std_mean(x, 1, correction=0, keepdim=True)
            return mean, std + EPSILON
        center = x[:, -1:] if normalization == "last" else torch.zeros_like(x[:, :1])
        return center, torch.ones_like(center)
