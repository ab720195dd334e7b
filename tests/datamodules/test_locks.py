"""Processes that prepare the same data at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from datamodules import MNIST
from datamodules.locks import preparing
from tests.conftest import ENVIRONMENT
from tests.official_files import write_planetoid

LOAD = """
import sys
from datamodules import Planetoid
data = Planetoid(root=sys.argv[1])
data.prepare_data()
print(data.graph.num_nodes)
"""


def test_one_process_waits_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    monkeypatch.setattr(MNIST, "_open", lambda self, train, download: opened.set())
    thread = threading.Thread(target=MNIST(root=str(tmp_path)).prepare_data)
    with preparing(tmp_path):
        thread.start()
        assert not opened.wait(0.3)
    thread.join(timeout=60)
    assert opened.is_set()


def test_runs_that_start_together_on_a_fresh_machine(tmp_path: Path) -> None:
    write_planetoid(tmp_path)
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    runs = [
        subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert {run.communicate()[0] for run in runs} == {"544\n"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_needs_no_lock(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with preparing(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with preparing(tmp_path / "data"):
        assert (tmp_path / "data").is_file()
