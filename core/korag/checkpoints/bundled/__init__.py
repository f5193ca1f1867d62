"""The bundled models: checkpoints as package data, one folder each, with a model card."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def shipped_models() -> dict[str, Path]:
    """Returns the folders of all bundled models by name."""
    return {path.parent.name: path.parent for path in sorted(_FOLDER.glob("*/config.json"))}
