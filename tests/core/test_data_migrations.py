"""Settings of data modules in runs of earlier versions."""

from __future__ import annotations

from typing import Any

import pytest

import datamodules
from zoo.core.migrations import migrate_data_settings


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Digits", {"seed": 1, "resident": None}, {"seed": 1, "on_device": None}),
        ("CSV", {"path": "t", "missing": "error"}, {"path": "t", "on_missing": "stop"}),
        ("CSV", {"missing": "drop"}, {"on_missing": "drop"}),
        ("Toy2D", {"samples": 9, "num_shapes": 2}, {"num_samples": 9, "num_classes": 2}),
        ("Shapes", {"samples": 9, "resident": True}, {"num_samples": 9, "on_device": True}),
        ("Series", {"steps": 50, "columns": None}, {"num_steps": 50, "columns": None}),
        ("Brownian", {"paths": 50, "step": 2.0}, {"num_paths": 50, "step_std": 2.0}),
        (
            "Multi30k",
            {"tokenizer": "bpe", "target_tokenizer": "words", "vocab_size": 600},
            {"tokenizer_type": "bpe", "target_tokenizer_type": "words", "max_vocab_size": 600},
        ),
        ("Digits", {"on_device": True}, {"on_device": True}),
    ],
)
def test_old_arguments_get_their_current_names(
    name: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert migrate_data_settings(old, getattr(datamodules, name)) == new
