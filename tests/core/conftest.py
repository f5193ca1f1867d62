"""Small checkpoints of every layout, each built once per session."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import BUILDERS, lora_base


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a layout, built at its first use; not to be changed."""
    root = tmp_path_factory.mktemp("checkpoints")

    def build(layout: str) -> Path:
        folder = root / layout
        if not folder.exists():
            BUILDERS[layout](folder)
        return folder

    return build


@pytest.fixture
def copied(built: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a layout's folder (and of an adapter's base), free to be changed."""

    def copy(layout: str) -> Path:
        folder = built(layout)
        for source in (folder, lora_base(folder)):
            if source.exists():
                shutil.copytree(source, tmp_path / source.name)
        return tmp_path / layout

    return copy
