"""Fixtures for tests of training."""

import importlib
from pathlib import Path
from typing import Any

import pytest


class _Modules:
    """The modules of `training.minis`, which is no part of the package; each is imported when it is first named."""

    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(f"training.minis.{name}")


@pytest.fixture
def minis(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return _Modules()
