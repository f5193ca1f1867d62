"""The small models that ship with KoRAG: checkpoints as package data, one folder each, with a model card."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def shipped_models() -> dict[str, Path]:
    """Returns the folder of every model in the package, by name."""
    return {path.parent.name: path.parent for path in sorted(_FOLDER.glob("*/config.json"))}
