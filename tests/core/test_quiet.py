"""Messages of libraries."""

from __future__ import annotations

import warnings

import pytest

from zoo.core.quiet import silence_libraries


def test_warnings_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    silence_libraries()
    text = warnings.formatwarning("two\nlines", UserWarning, "file.py", 1)
    assert text == "warning: two lines\n"
