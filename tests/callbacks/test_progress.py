"""The progress bar."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from callbacks import ProgressBar
from zoo import Autoencoder


class _Talkative(Autoencoder):
    """Prints in each training step."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.print("step", batch_idx, sep="-")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_model_prints_above_the_bar(is_shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(interval=0)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_model_summary=False, callbacks=[bar],
    )  # fmt: skip
    if not is_shown:
        bar.disable()
    model = _Talkative((4,), 2, hidden_dims=(3,))
    trainer.fit(model, DataLoader(TensorDataset(torch.rand(6, 4)), 3))
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("step")] == ["step-0", "step-1"]
    assert ("train 100%" in err) == is_shown
