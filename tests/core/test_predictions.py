"""Predictions as tables."""

from __future__ import annotations

import pytest
import torch

from zoo.core.predictions import prediction_table


class Model:
    """A model that is not one of the zoo's."""


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        (torch.float32, "0.9"),
        (torch.float64, "0.9"),
        (torch.bfloat16, "0.8984375"),
        (torch.int64, "0"),
        (torch.bool, "True"),
    ],
)
def test_numbers_are_written_with_the_digits_of_their_precision(
    dtype: torch.dtype, written: str
) -> None:
    outputs = {"y": torch.full((2,), 0.9, dtype=torch.float64).to(dtype)}
    table = prediction_table(Model(), outputs, None, None)
    assert table is not None
    assert table.to_csv(index=False) == f"sample,y\n0,{written}\n1,{written}\n"


def test_outputs_with_several_values_have_a_column_for_each() -> None:
    outputs = {"code": torch.tensor([[0.1, 0.2], [0.3, 0.4]]), "picture": torch.zeros(2, 3, 4, 4)}
    table = prediction_table(Model(), outputs, None, None)
    assert table is not None
    assert table.to_csv(index=False) == "sample,code_1,code_2\n0,0.1,0.2\n1,0.3,0.4\n"


def test_outputs_that_do_not_fit_into_a_table() -> None:
    assert prediction_table(Model(), {"picture": torch.zeros(2, 3, 4, 4)}, None, None) is None
