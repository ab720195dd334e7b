"""Files of graph data sets run no code when they are read."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import ModelNet, Planetoid, TUDataset
from tests.official_files import write_planetoid, write_tudataset
from zoo.errors import DataError


class Touch:
    """A pickled object that creates the file ``owned`` when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("owned"),)


PLANETOID, TU = "Planetoid/Cora", "TUDataset/MUTAG"
FILES = [
    (Planetoid, f"{PLANETOID}/raw/ind.cora.{name}") for name in ("x", "ty", "ally", "graph")
] + [
    (data, f"{folder}/processed/{name}.pt")
    for data, folder in ((Planetoid, PLANETOID), (TUDataset, TU), (ModelNet, "ModelNet10"))
    for name in ("pre_transform", "pre_filter", "data")
]


@pytest.mark.parametrize(("data", "name"), FILES, ids=[name for _, name in FILES])
def test_a_strangers_graph_files_run_no_code(
    data: Callable[..., Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_planetoid(tmp_path)
    write_tudataset(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pt":
        torch.save(Touch(), path)
    else:
        path.write_bytes(pickle.dumps(Touch()))
    module = data(root=tmp_path)
    with pytest.raises(DataError, match="contains Python objects, which could run code") as error:
        module.setup("fit")
    assert name in str(error.value)
    assert not Path("owned").exists()


def test_a_linked_folder_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_planetoid(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    torch.save(Touch(), tmp_path / "elsewhere" / "pre_filter.pt")
    (tmp_path / PLANETOID / "processed").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="delete the folder"):
        Planetoid(root=tmp_path).prepare_data()
    assert not Path("owned").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_any_protocol_are_read_twice(tmp_path: Path, protocol: int) -> None:
    write_planetoid(tmp_path)
    for path in (tmp_path / PLANETOID / "raw").glob("ind.cora.*"):
        if path.suffix != ".index":
            path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()), protocol))
    first = Planetoid(root=tmp_path).graph  # reads the raw files
    assert torch.equal(Planetoid(root=tmp_path).graph.x, first.x)  # reads the processed ones
